"""The oracles accuse every broken controller of what it breaks, and the real ones of nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from petset.cluster.assemble import local
from petset.cluster.chaos.oracles import judge_all
from petset.cluster.control.controller import Controller
from tests.mutants.life import lived
from tests.mutants.mutations import MUTANTS, mutated

pytestmark = pytest.mark.looptime


async def test_the_real_controllers_keep_every_promise() -> None:
    verdicts = {verdict.oracle: verdict for verdict in judge_all(await lived())}
    assert [violation.what for verdict in verdicts.values() for violation in verdict.violations] == []
    idle = [name for name, verdict in verdicts.items() if verdict.judged == 0]
    assert idle == ["leftovers"], "an oracle that judged nothing has proved nothing; these machines are fakes"


@pytest.mark.parametrize("name", MUTANTS)
async def test_a_broken_controller_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS[name]
    real: Callable[..., tuple[Controller, ...]] = local.all_controllers

    def broken(*arguments: Any, **options: Any) -> tuple[Controller, ...]:
        return mutated(real(*arguments, **options), mutant)

    monkeypatch.setattr(local, "all_controllers", broken)
    caught = {
        verdict.oracle: verdict.broken for verdict in judge_all(await lived(disks=mutant.disks, silence=mutant.silence))
    }
    assert caught[mutant.oracle], f"only {[each for each, broken in caught.items() if broken]} noticed"
    assert caught[mutant.oracle][0].evidence, "an accusation needs evidence"

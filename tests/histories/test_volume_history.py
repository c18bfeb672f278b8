"""Random histories of volumes in a whole cluster, in virtual time; volume_history.py says what must hold.

`PETSET_VOLUME_HISTORIES=500` explores further than the default number of seeds.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.histories.volume_history import removed_at_once, volume_history

pytestmark = pytest.mark.looptime

FILE = "test_volume_history.py"
HISTORIES = int(os.environ.get("PETSET_VOLUME_HISTORIES", "8"))
STEPS = 80


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_history(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "to_thread", removed_at_once)
    async with volume_history(seed, tmp_path) as it:
        try:
            for _ in range(STEPS):
                await it.step()
            await it.settle()
        except AssertionError as error:
            replay = f"PETSET_VOLUME_HISTORIES={seed + 1} pytest 'tests/histories/{FILE}::test_history[{seed}]'"
            raise AssertionError("\n".join([str(error), *it.log[-60:], f"replay: {replay}"])) from error

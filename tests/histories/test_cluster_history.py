"""Random histories of a StatefulSet in a whole cluster: real API, runner, scheduler and kubelets, in virtual time.

Users scale, update, roll back, delete, fail and mislabel; the controllers die between any two writes, meet conflicts,
lose answers and see late; kubelets die and machines reboot. After every step each action of the controller must have
been right (cluster_promises.py); then the world rests, and the set must reach its spec.

`PETSET_CLUSTER_HISTORIES=500` explores further than the default number of seeds.
"""

from __future__ import annotations

import os

import pytest

from tests.histories.cluster_history import History, history

pytestmark = pytest.mark.looptime

FILE = "test_cluster_history.py"
HISTORIES = int(os.environ.get("PETSET_CLUSTER_HISTORIES", "40"))
STEPS = 60


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_history(seed: int) -> None:
    async with history(seed) as it:
        try:
            await _live(it)
        except AssertionError as error:
            replay = f"PETSET_CLUSTER_HISTORIES={seed + 1} pytest 'tests/histories/{FILE}::test_history[{seed}]'"
            raise AssertionError("\n".join([str(error), *it.promises.log[-60:], f"replay: {replay}"])) from error


async def _live(it: History) -> None:
    for _ in range(STEPS):
        await it.step()
    await it.settle()

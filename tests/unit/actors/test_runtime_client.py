"""What the storage makes of a machine that does not answer."""

from __future__ import annotations

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError

from petset.actors.runtime_client import RemoteMachines, RemoteRuntime
from petset.cluster.errors import Unavailable


@pytest.mark.parametrize(
    ("cause", "is_sure"),
    [
        pytest.param(ActorDiedError(), True, id="dead-with-its-processes"),
        pytest.param(None, True, id="not-there"),
        pytest.param(ActorUnavailableError("connection reset", None), False, id="out-of-reach-and-alive"),
    ],
)
async def test_a_disk_is_taken_away_when_nobody_can_hold_it(
    cause: Exception | None, is_sure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: RemoteRuntime, disk: str) -> None:
        raise Unavailable("node-1 does not answer") from cause

    monkeypatch.setattr(RemoteRuntime, "revoke_disk", fail)
    if is_sure:
        await RemoteMachines().revoke_disk("node-1", "disk-1")
    else:
        with pytest.raises(Unavailable):
            await RemoteMachines().revoke_disk("node-1", "disk-1")

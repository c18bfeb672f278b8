"""How long a command waits for a cluster that does not come up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from petset.cluster.cli import bring_up
from petset.cluster.cli.bring_up import UpOptions, running_cluster
from petset.cluster.cli.launch import LaunchFailed

DEATH = "api-server died (ModuleNotFoundError: no module): clients wait"


class ScriptedLaunch:
    """Says what it was given, and then nothing more."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self._messages = messages
        self.is_stopped = False

    def next_message(self, wait_seconds: float) -> dict[str, Any] | None:
        assert self._messages, "the command went on waiting"
        return self._messages.pop(0)

    def stop(self) -> None:
        self.is_stopped = True


def test_a_component_that_dies_of_one_cause_again_and_again_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = ScriptedLaunch([{"phase": "ray"}, *({"note": DEATH} for _ in range(bring_up.SAME_DEATHS))])
    monkeypatch.setattr(bring_up.Launch, "start", lambda folder, options: launch)
    told: list[str] = []
    with (
        pytest.raises(LaunchFailed, match="ModuleNotFoundError.*the files in .* say why"),
        running_cluster(tmp_path, "one", UpOptions(), told.append),
    ):
        pytest.fail("it came up")
    assert told == ["Ray runs", DEATH]
    assert launch.is_stopped

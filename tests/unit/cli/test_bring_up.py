"""How long a command waits for a cluster that does not come up, and how Ctrl-C ends one that is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import click
import pytest
from click.testing import CliRunner

from petset.cluster.cli import bring_up, lifecycle
from petset.cluster.cli.bring_up import Running, UpOptions, running_cluster
from petset.cluster.cli.launch import Launch, LaunchFailed
from petset.cluster.settings import ClusterSettings

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


def test_ctrl_c_at_the_moment_a_cluster_is_announced_is_its_ordinary_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = ScriptedLaunch([])
    echo = click.echo

    @contextmanager
    def running(*_: object) -> Iterator[Running]:
        yield Running(cast(Launch, launch), ClusterSettings("one", str(tmp_path)))

    def echo_and_interrupt(text: str, *, err: bool = False) -> None:
        echo(text, err=err)
        if "Ready at" in text:
            raise KeyboardInterrupt

    monkeypatch.setattr(lifecycle, "running_cluster", running)
    monkeypatch.setattr(click, "echo", echo_and_interrupt)
    result = CliRunner().invoke(lifecycle.up, ["one"], env={"PETSET_HOME": str(tmp_path)})
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "stopping cluster one")

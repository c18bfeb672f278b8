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
from petset.cluster.cli.reader import ApiReader, NoAnswer, Node
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


def test_a_start_that_takes_too_long_says_what_it_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowLaunch(ScriptedLaunch):
        def next_message(self, wait_seconds: float) -> dict[str, Any] | None:
            message = super().next_message(wait_seconds)
            if not self._messages:
                monkeypatch.setattr(bring_up, "READY_SECONDS", 0.0)
            return message

    launch = SlowLaunch([{"phase": "ray"}, {"phase": "api-server"}, {}])
    monkeypatch.setattr(bring_up.Launch, "start", lambda folder, options: launch)
    monkeypatch.setattr(bring_up, "SILENCE_SECONDS", 0.0)
    told: list[str] = []
    with (
        pytest.raises(LaunchFailed, match="still waiting for the controllers; the files in .* say why"),
        running_cluster(tmp_path, "one", UpOptions(), told.append),
    ):
        pytest.fail("it came up")
    assert told == [
        "waiting for Ray (0 s)", "Ray runs",
        "waiting for the API server (0 s)", "the API server answers",
        "waiting for the controllers (0 s)",
        "stopping what has started",
    ]  # fmt: skip
    assert launch.is_stopped


class ScriptedReader:
    """`leases`: when each node's was renewed; None: the server does not answer."""

    def __init__(self, leases: dict[str, float] | None, ready: tuple[str, ...]) -> None:
        self._leases, self._ready = leases, ready

    def lease_times(self) -> dict[str, float]:
        if self._leases is None:
            raise NoAnswer("timed out")
        return self._leases

    def nodes(self) -> list[Node]:
        return [Node(name, name in self._ready) for name in self._leases or ()]


@pytest.mark.parametrize(
    ("leases", "ready", "awaited"),
    [
        pytest.param({"node-1": 10, "node-2": 11}, ("node-1", "node-2"), "", id="all are Ready"),
        pytest.param(
            {"node-1": 10, "node-2": 9}, ("node-1", "node-2"), "the kubelet of node-2", id="a Ready of the last run"
        ),
        pytest.param(
            {"node-1": 10}, (), "the kubelet of node-2, node-1 to be Ready", id="one unknown and one not Ready"
        ),
        pytest.param(None, (), "an answer of the API server (timed out)", id="no answer"),
    ],
)
def test_the_nodes_that_are_awaited_are_named(
    tmp_path: Path, leases: dict[str, float] | None, ready: tuple[str, ...], awaited: str
) -> None:
    settings = ClusterSettings("one", str(tmp_path), node_count=2)
    reader = cast(ApiReader, ScriptedReader(leases, ready))
    assert bring_up.awaited_nodes(reader, settings, 10.0) == awaited


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

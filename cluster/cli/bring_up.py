"""From nothing to a cluster whose nodes are all Ready, with progress on the way.

    Launch ── phases ──▶ "ready": every actor runs ── nodes over HTTPS ──▶ all Ready

Whatever goes wrong or interrupts ends the launch: a cluster is up as a whole or not at all. What takes long is named
while it does (SILENCE_SECONDS), and again when READY_SECONDS have passed.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from petset.cluster.cli.launch import Launch, LaunchFailed
from petset.cluster.cli.reader import ApiReader, NoAnswer
from petset.cluster.settings import ClusterSettings

READY_SECONDS = 120.0
SILENCE_SECONDS = 15.0
"""After so long without a word of progress, say what is being waited for."""
SAME_DEATHS = 4
"""How often a component may die of the same cause before the cluster counts as broken: waiting helps no more then."""
_POLL_SECONDS = 0.05

Progress = Callable[[str], None]
"""Is told one line of text at each step."""


@dataclass(frozen=True)
class _Step:
    """A phase of the supervisor's (actors/link.py), before it is reached and when it is."""

    awaited: str
    reached: str


_STEPS = {
    "ray": _Step("Ray", "Ray runs"),
    "api-server": _Step("the API server", "the API server answers"),
    "controller": _Step("the controllers", "the controllers run"),
    "nodes": _Step("the node machines and their kubelets", "the node machines and their kubelets run"),
    "ready": _Step("the last components", "every component runs"),
}
"""In their order."""


@dataclass(frozen=True)
class Running:
    """A cluster that is up. It stops with the process behind `launch` unless that is detached."""

    launch: Launch
    settings: ClusterSettings


@dataclass(frozen=True)
class UpOptions:
    """What `petset up` may be told. `changes`: field of ClusterSettings -> value; None means: as it was before.

    `network` may also be `auto`; None: as it was before, or `auto`.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    network: str | None = None

    def arguments(self) -> list[str]:
        """As options of the supervisor."""
        changes = {name: value for name, value in self.changes.items() if value is not None}
        network = [f"--network={self.network}"] if self.network else []
        return [f"--changes={json.dumps(changes)}", *network]


@contextmanager
def running_cluster(home: Path, name: str, options: UpOptions, progress: Progress) -> Iterator[Running]:
    """A cluster whose nodes are all Ready; stopped with the block, unless detached in it.

    Raises SettingsError for a name that cannot be, LaunchFailed for everything else, ClusterStopped when somebody
    stops it meanwhile.
    """
    folder = ClusterSettings(name, str(home)).folder
    since_seconds = time.time()
    launch = Launch.start(folder, options.arguments())
    waiting = _Waiting(progress, folder.log)
    try:
        _wait_for_actors(launch, waiting)
        settings = folder.read_settings()
        _wait_for_nodes(launch, settings, waiting, since_seconds=since_seconds)
        yield Running(launch, settings)
    finally:
        launch.stop()


class _Waiting:
    """Time that passes, and what the user hears meanwhile."""

    def __init__(self, progress: Progress, log: Path) -> None:
        self.log = log
        self._progress = progress
        self._started_at = self._told_at = time.monotonic()

    def tell(self, text: str) -> None:
        self._told_at = time.monotonic()
        self._progress(text)

    def go_on(self, awaited: str) -> None:
        """Say what is awaited when nothing was said for long. Raises LaunchFailed when it has been long enough."""
        now = time.monotonic()
        if now - self._started_at >= READY_SECONDS:
            text = f"not up after {READY_SECONDS:.0f} s, still waiting for {awaited}; the files in {self.log} say why"
            self.tell("stopping what has started")
            raise LaunchFailed(text)
        if now - self._told_at >= SILENCE_SECONDS:
            self.tell(f"waiting for {awaited} ({now - self._started_at:.0f} s)")


def _wait_for_actors(launch: Launch, waiting: _Waiting) -> None:
    told: Counter[str] = Counter()
    to_come = dict(_STEPS)
    while "ready" in to_come:
        waiting.go_on(next(iter(to_come.values())).awaited)
        message = launch.next_message(wait_seconds=1.0) or {}
        if note := message.get("note"):
            told[note] += 1
            if told[note] == 1:
                waiting.tell(note)
            elif told[note] == SAME_DEATHS:
                raise LaunchFailed(f"{note}; the files in {waiting.log} say why")
        if step := to_come.pop(message.get("phase", ""), None):
            waiting.tell(step.reached)


def _wait_for_nodes(launch: Launch, settings: ClusterSettings, waiting: _Waiting, *, since_seconds: float) -> None:
    reader = ApiReader(settings)
    try:
        while awaited := awaited_nodes(reader, settings, since_seconds):
            waiting.go_on(awaited)
            launch.next_message(wait_seconds=_POLL_SECONDS)
    finally:
        reader.close()


def awaited_nodes(reader: ApiReader, settings: ClusterSettings, since_seconds: float) -> str:
    """What is missing until all nodes are Ready by the word of a kubelet of this run (after a restart, the store knows
    the last run's); "" for nothing."""
    try:
        renewed = reader.lease_times()
        ready = {node.name: node.ready for node in reader.nodes()}
    except NoAnswer as error:
        return f"an answer of the API server ({error})"
    silent = [name for name in settings.node_names if renewed.get(name, 0.0) < since_seconds]
    unready = [name for name in settings.node_names if name not in silent and not ready.get(name)]
    heard = [f"the kubelet of {name}" for name in silent] + [f"{name} to be Ready" for name in unready]
    return ", ".join(heard)

"""From nothing to a cluster whose nodes are all Ready, with progress on the way.

    Launch ── phases ──▶ "ready": every actor runs ── nodes over HTTPS ──▶ all Ready

Whatever goes wrong or interrupts ends the launch: a cluster is up as a whole or not at all.
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
SAME_DEATHS = 4
"""How often a component may die of the same cause before the cluster counts as broken: waiting helps no more then."""
_POLL_SECONDS = 0.05

Progress = Callable[[str], None]
"""Is told one line of text at each step."""

_STEPS = {
    "ray": "Ray runs",
    "api-server": "the API server answers",
    "controller": "the controllers run",
    "nodes": "the node machines and their kubelets run",
    "ready": "every component runs",
}


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
    try:
        deadline = time.monotonic() + READY_SECONDS
        _wait_for_actors(launch, progress, deadline, folder.log)
        settings = folder.read_settings()
        _wait_for_nodes(launch, settings, since_seconds=since_seconds, deadline=deadline)
        yield Running(launch, settings)
    finally:
        launch.stop()


def _wait_for_actors(launch: Launch, progress: Progress, deadline: float, log: Path) -> None:
    told: Counter[str] = Counter()
    while time.monotonic() < deadline:
        message = launch.next_message(wait_seconds=1.0) or {}
        if note := message.get("note"):
            told[note] += 1
            if told[note] == 1:
                progress(note)
            elif told[note] == SAME_DEATHS:
                raise LaunchFailed(f"{note}; the files in {log} say why")
        if phase := message.get("phase"):
            progress(_STEPS.get(phase, phase))
        if phase == "ready":
            return
    raise LaunchFailed(f"not up after {READY_SECONDS:.0f} s; the files in {log} say why")


def _wait_for_nodes(launch: Launch, settings: ClusterSettings, *, since_seconds: float, deadline: float) -> None:
    reader = ApiReader(settings)
    try:
        while time.monotonic() < deadline:
            if _ready_nodes(reader, since_seconds).issuperset(settings.node_names):
                return
            launch.next_message(wait_seconds=_POLL_SECONDS)
    finally:
        reader.close()
    raise LaunchFailed(f"not every node is Ready after {READY_SECONDS:.0f} s; see {settings.folder.log}")


def _ready_nodes(reader: ApiReader, since_seconds: float) -> set[str]:
    """Nodes that are Ready, by the word of a kubelet of this run: after a restart, the store knows the last run's."""
    try:
        renewed = reader.lease_times()
        return {node.name for node in reader.nodes() if node.ready and renewed.get(node.name, 0.0) >= since_seconds}
    except NoAnswer:
        return set()

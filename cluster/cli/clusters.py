"""The clusters under $PETSET_HOME: which there are, in what state, and how a running one is stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from petset.cluster import lock
from petset.cluster.cli.reader import ApiReader, NoAnswer
from petset.cluster.pki import ca_certificate
from petset.cluster.settings import ClusterFolder, ClusterSettings, SettingsError
from petset.cluster.trees import remove_tree

STOP_SECONDS = 30.0
KILL_SECONDS = 10.0
_POLL_SECONDS = 0.05


class ClusterError(Exception):
    """A command cannot do what it was asked; the message says what to do."""


@dataclass(frozen=True)
class Overview:
    """One line of `petset ls`."""

    name: str
    status: str
    nodes: str
    port: int
    version: str
    age_seconds: float
    time_scale: float = 1.0
    ray_nodes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Further Ray nodes, and which nodes they hold."""


def existing_cluster(home: Path, name: str) -> ClusterFolder:
    """The folder of a cluster that was started once. Raises ClusterError."""
    try:
        folder = ClusterSettings(name, str(home)).folder
    except SettingsError as error:
        raise ClusterError(str(error)) from error
    if not folder.settings.exists():
        raise ClusterError(f"there is no cluster {name} in {home}; `petset ls` lists them, `petset up {name}` makes it")
    return folder


def read_settings(folder: ClusterFolder) -> ClusterSettings:
    """Raises ClusterError when the file is gone or damaged."""
    try:
        return folder.read_settings()
    except (OSError, ValueError) as error:
        raise ClusterError(str(error)) from error


def all_clusters(home: Path) -> list[ClusterFolder]:
    """Every cluster of this home, by name."""
    if not home.is_dir():
        return []
    return [ClusterFolder(path) for path in sorted(home.iterdir()) if (path / "settings.json").exists()]


def overview(folder: ClusterFolder, now_seconds: float) -> Overview:
    """The state of one cluster. Raises ClusterError when its settings are damaged."""
    settings = read_settings(folder)
    status, nodes, version = "stopped", f"-/{settings.node_count}", "-"
    if lock.holder(folder.lock) is not None:
        status = "starting"
        try:
            reader = ApiReader(settings)
            ready = sum(node.ready for node in reader.nodes())
            version = reader.version()
            nodes = f"{ready}/{settings.node_count}"
            status = "running" if ready >= settings.node_count else "not ready"
            reader.close()
        except NoAnswer:
            pass  # on its way up or down
    age_seconds = now_seconds - _born(folder)
    return Overview(
        settings.name, status, nodes, settings.port, version, age_seconds,
        settings.time_scale, settings.nodes_on_ray_nodes,
    )  # fmt: skip


def stop(folder: ClusterFolder, note: Callable[[str], None]) -> bool:
    """Stop a cluster and wait for its end; False when it was not running. Raises ClusterError.

    The process in the lock file is only signalled while it holds the lock, so it is the supervisor.
    """
    process_id = lock.holder(folder.lock)
    if process_id is None:
        return False
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        if number == signal.SIGKILL:
            note(f"it does not stop; killing its supervisor, process {process_id}")
        _signal(process_id, number)
        if _is_released(folder, process_id, seconds):
            return True
    raise ClusterError(f"process {process_id} does not end; see {folder.log / 'supervisor.log'}")


def purge(folder: ClusterFolder) -> None:
    """Remove everything that a stopped cluster keeps. Raises ClusterError when it runs (again)."""
    descriptor = lock.acquire(folder.lock)
    if descriptor is None:
        raise ClusterError(f"cluster {folder.root.name} is running again; nothing was removed")
    try:
        with suppress(ClusterError):  # of a cluster whose settings are damaged, nobody knows the run folder
            read_settings(folder).remove_run_folder()
        remove_tree(folder.root)
    except OSError as error:
        raise ClusterError(f"cannot remove {folder.root}: {error}") from error
    finally:
        os.close(descriptor)


def _signal(process_id: int, number: signal.Signals) -> None:
    try:
        os.kill(process_id, number)
    except ProcessLookupError:
        return  # it ended just now
    except PermissionError as error:
        raise ClusterError(f"the cluster belongs to another user (process {process_id})") from error


def _is_released(folder: ClusterFolder, process_id: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if lock.holder(folder.lock) != process_id:
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _born(folder: ClusterFolder) -> float:
    """When the cluster was made: its authority is made once."""
    made_once = ca_certificate(folder)
    return (made_once if made_once.exists() else folder.settings).stat().st_mtime

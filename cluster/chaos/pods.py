"""Finding pods on the machines, by the machines' own lists, and the processes that belong to them.

A container's processes are its first one, all descendants of that (orphans fall to it), and whatever else is in its
process namespace where it has one of its own: commands that were started from outside. On the loopback network such
commands are not found.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil

from petset.cluster.api.cri import ContainerStatus, SandboxStatus
from petset.cluster.chaos.errors import NoSuchTarget
from petset.cluster.chaos.faults import Fault
from petset.cluster.chaos.world import World

STOP_SECONDS = 5.0
_LOOK_SECONDS = 0.002


@dataclass(frozen=True)
class PodPlace:
    """A pod on a machine."""

    node: str
    sandbox: SandboxStatus

    @property
    def key(self) -> tuple[str, str]:
        return self.sandbox.namespace, self.sandbox.name

    @property
    def running(self) -> tuple[ContainerStatus, ...]:
        return tuple(each for each in self.sandbox.containers if each.state == "running")


async def all_places(world: World) -> list[PodPlace]:
    """Every sandbox of every machine."""
    lists = await asyncio.gather(*(world.sandboxes(node) for node in world.node_names))
    return [PodPlace(node, each) for node, found in zip(world.node_names, lists, strict=True) for each in found]


async def find_pod(world: World, namespace: str, name: str, *, node: str | None = None) -> PodPlace:
    """The newest pod of that name (on that node) with a process. Raises NoSuchTarget.

    After a forced deletion there may be two; `node` says which one is meant.
    """
    places = [
        each for each in await all_places(world) if (each.sandbox.namespace, each.sandbox.name) == (namespace, name)
    ]
    on_node = [each for each in places if node in (None, each.node)]
    running = [each for each in on_node if each.running]
    if not running:
        where = f"on {node}" if node else "on any machine"
        nothing = "runs no process" if on_node else "is not"
        raise NoSuchTarget(f"pod {namespace}/{name} {nothing} {where}")
    return max(running, key=lambda place: place.sandbox.created_at)


async def pod_of(world: World, fault: Fault) -> PodPlace:
    """The pod that a fault names. Raises NoSuchTarget."""
    return await find_pod(world, fault["namespace"], fault["pod"], node=fault["node"])


def first_processes(containers: Iterable[ContainerStatus]) -> list[psutil.Process]:
    """Those that still live. Their identity is checked at every use: a number that was given anew is not meant."""
    found = []
    for container in containers:
        try:
            found.append(psutil.Process(container.pid))
        except psutil.NoSuchProcess:
            continue
    return found


def processes_of(first: Sequence[psutil.Process]) -> list[psutil.Process]:
    """The first processes and all that belong to them, parents before children."""
    found = dict.fromkeys(first)
    for process in first:
        try:
            found |= dict.fromkeys(process.children(recursive=True))
        except psutil.NoSuchProcess:
            continue
    spaces = {space for process in first if (space := process_namespace(process.pid))} - {
        process_namespace(os.getpid())
    }
    if spaces:
        found |= dict.fromkeys(each for each in psutil.process_iter() if process_namespace(each.pid) in spaces)
    return [*found]


def is_frozen(process: psutil.Process) -> bool:
    """Stopped by SIGSTOP. A process that is gone is not."""
    return status_of(process) == psutil.STATUS_STOPPED


def status_of(process: psutil.Process) -> str:
    """As psutil names it; one that is gone counts as a zombie, which is dead too."""
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return str(psutil.STATUS_ZOMBIE)


def wait_until_frozen(processes: Iterable[psutil.Process]) -> None:
    """A signal is heeded when its process gets a turn. Blocks, STOP_SECONDS at the most: a dead disk may hold it up."""
    _wait_for((psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE), processes)


def wait_until_ended(processes: Iterable[psutil.Process]) -> None:
    """The same of processes that were killed."""
    _wait_for((psutil.STATUS_ZOMBIE,), processes)


def _wait_for(statuses: Sequence[str], processes: Iterable[psutil.Process]) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        while time.monotonic() < deadline and status_of(process) not in statuses:
            time.sleep(_LOOK_SECONDS)


def process_namespace(pid: int) -> str:
    """Which PID namespace a process is in; "" when it is gone or another user's."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""

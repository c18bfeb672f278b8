"""One further raylet of the private Ray: a Ray node, with everything that lives on it.

    the supervisor's thread ══▶ raylet ──▶ agents, idle workers           ══▶ the right dies with the left: the kernel
                                      └══▶ actors ══▶ guards, warm parents, pods          sees to it (lifeline.py)

What the kernel does not end with the raylet, `kill` and `bury` do, so that a next life never meets the last one.

Ray has no public call for it but `ray start`, whose process of 60 MiB would stay beside every raylet; what that command
calls is called here (Ray 2.60), and nowhere else.

All of its listeners are on 127.0.0.1 (ray_environment.py).
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil
import ray
from ray._private.node import Node
from ray._private.parameter import RayParams

from petset.actors.private_ray import OBJECT_STORE_BYTES, children_by_name
from petset.cluster.chaos.freezing import freeze_all, send_signal
from petset.cluster.chaos.pods import is_frozen, wait_until_ended

_REAP_SECONDS = 10.0
_GUARD = "petset.cluster.node.warm_parent"


@dataclass(frozen=True)
class Raylet:
    """A raylet that is registered with its Ray; `agents` are its helpers, which would linger when it is killed."""

    node_id: str
    process: subprocess.Popen[bytes]
    agents: Sequence[psutil.Process]

    @property
    def process_id(self) -> int:
        return self.process.pid

    async def death(self) -> None:
        """Wait until the raylet is dead, reaped or not."""
        try:
            descriptor = os.pidfd_open(self.process_id)
        except ProcessLookupError:
            return
        loop, died = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(descriptor, died.set)
        try:
            await died.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def everything(self) -> list[psutil.Process]:
        """The raylet and all that it, or anything on it, has started: parents before children."""
        try:
            first = psutil.Process(self.process_id)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    @property
    def is_frozen(self) -> bool:
        return any(is_frozen(each) for each in self.everything()[:1])

    def freeze(self) -> list[psutil.Process]:
        """Stop everything where it stands (SIGSTOP), but for what is stopped already. Blocks. Raises CannotHere.

        The guards of the nodes go on waiting: when the cluster is killed, they end what stands still.
        """
        return freeze_all(lambda: [each for each in self.everything() if not _is_guard(each)])

    def kill(self) -> None:
        """End everything at once (SIGKILL), stopped or not, and wait for it. Blocks."""
        found = self.everything()
        for process in found:
            send_signal(process, signal.SIGKILL)
        self._wait_for_the_end(found)

    def bury(self) -> None:
        """After its death: end its agents; what else was on it, the kernel has ended. Blocks."""
        for process in self.agents:
            send_signal(process, signal.SIGKILL)
        self._wait_for_the_end(self.agents)

    def _wait_for_the_end(self, killed: Sequence[psutil.Process]) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_REAP_SECONDS)  # as long as it is a zombie, Ray's idle workers stay
        wait_until_ended(killed)


def start_raylet(name: str, worker_count: int) -> Raylet:
    """Start a Ray node and wait until its Ray knows it. Blocks for a second or two.

    Its thread must live for as long as the raylet is to. Leaves nothing behind when it raises.
    """
    before = _raylets()
    try:
        node = Node(_parameters(name, worker_count), head=False, shutdown_at_exit=False, spawn_reaper=True)
        [started] = node.all_processes["raylet"]
        agents = psutil.Process(started.process.pid).children()
    except BaseException:
        for process in _raylets() - before:
            send_signal(process, signal.SIGKILL)
        raise
    return Raylet(node.node_id, started.process, agents)


def _is_guard(process: psutil.Process) -> bool:
    """The first of the two processes that run the module (node/warm_parent.py)."""
    try:
        parent = process.parent()
        return _GUARD in process.cmdline() and parent is not None and _GUARD not in parent.cmdline()
    except psutil.NoSuchProcess:
        return False


def _raylets() -> set[psutil.Process]:
    return {process for name, process in children_by_name() if name == "raylet"}


def _parameters(name: str, worker_count: int) -> RayParams:
    """What `ray start` would fill in, of the Ray of this process; it chooses free ports."""
    address = ray.get_runtime_context().gcs_address
    parameters = RayParams(
        gcs_address=address,
        redis_address=address,
        node_name=name,
        num_cpus=worker_count,
        num_gpus=0,
        object_store_memory=OBJECT_STORE_BYTES,
        min_worker_port=0,
        max_worker_port=0,
        node_manager_port=0,
        dashboard_agent_listen_port=None,
    )
    parameters.update_if_absent(include_log_monitor=False)
    return parameters

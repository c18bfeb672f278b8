"""node-N: the machine. Its methods are the `Runtime` protocol, one to one, as its kubelet calls them over Ray.

The machine lives and dies with this actor: its warm parent is started from the actor's event-loop thread, so the
kernel kills every pod when that thread ends, however it ends. Calls that come before the machine has booted wait.

Told to stop, it first gives its pods a moment to end by themselves (SIGTERM, then DRAIN_SECONDS), as a machine that
is shut down does.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from petset.actors.lifeline import Lifeline
from petset.actors.part import Part
from petset.actors.shell import Shell
from petset.actors.stream_gate import StreamGate, StreamTicket
from petset.cluster.api.cri import (
    ContainerSpec,
    ContainerStatus,
    ExecResult,
    Image,
    MachineUsage,
    SandboxSpec,
    SandboxStatus,
    StreamRequest,
    Volume,
)
from petset.cluster.settings import ClusterSettings

if TYPE_CHECKING:
    from petset.cluster.node.machine import Machine

DRAIN_SECONDS = 2.0


class NodeShell(Shell):
    """Machine number 1, 2, … of the cluster."""

    def __init__(self, settings: ClusterSettings, actor_name: str, lifeline: Lifeline, node_number: int) -> None:
        super().__init__(settings, actor_name, lifeline)
        self._node_number = node_number
        self._service_proxy = Part()
        self._gate = StreamGate(settings.run_folder, actor_name)
        self._booted: asyncio.Future[Machine] = asyncio.get_running_loop().create_future()

    async def run(self, ready: asyncio.Event) -> None:
        from petset.cluster.assemble.network import node_network
        from petset.cluster.clock import SystemClock
        from petset.cluster.node import kernel
        from petset.cluster.node.added_images import LiveCatalogue
        from petset.cluster.node.machine import Machine

        folder = self.settings.folder
        network = node_network(self.settings, self._node_number)
        kernel.become_subreaper()  # of what outlives the container runtime; Ray's workers have no children of their own
        machine = Machine(
            self.actor_name,
            folder=folder.node(self.actor_name),
            volumes=folder.volumes,
            network=network,
            catalogue=LiveCatalogue(folder.images),
            clock=SystemClock(),
            disk_faults=self.settings.disk_faults,
        )
        async with machine, self._gate.open():
            self._booted.set_result(machine)
            ready.set()
            # Later than the rest: the machine does not need it to boot.
            from petset.cluster.assemble.service_proxy import run_service_proxy

            try:
                await self._service_proxy.run(
                    partial(
                        run_service_proxy,
                        self.settings,
                        network,
                        node_name=self.actor_name,
                        node_number=self._node_number,
                        troubles=self.watch_troubles,
                    )
                )
            finally:
                await drain(machine, DRAIN_SECONDS)

    async def pull_image(self, reference: str) -> Image:
        return await (await self._machine()).pull_image(reference)

    async def run_sandbox(self, spec: SandboxSpec) -> SandboxStatus:
        return await (await self._machine()).run_sandbox(spec)

    async def update_volumes(self, sandbox_uid: str, volumes: tuple[Volume, ...]) -> None:
        await (await self._machine()).update_volumes(sandbox_uid, volumes)

    async def volume_bytes(self, sandbox_uid: str, names: tuple[str, ...]) -> Mapping[str, int]:
        return await (await self._machine()).volume_bytes(sandbox_uid, names)

    async def start_container(self, sandbox_uid: str, spec: ContainerSpec) -> ContainerStatus:
        return await (await self._machine()).start_container(sandbox_uid, spec)

    async def signal_container(self, container_id: str, signal: int) -> None:
        await (await self._machine()).signal_container(container_id, signal)

    async def remove_sandbox(self, sandbox_uid: str) -> None:
        await (await self._machine()).remove_sandbox(sandbox_uid)

    async def list_sandboxes(self) -> list[SandboxStatus]:
        return await (await self._machine()).list_sandboxes()

    async def next_change(self, seen: int) -> int:
        return await (await self._machine()).next_change(seen)

    async def measure(self) -> MachineUsage:
        return await (await self._machine()).measure()

    async def run_command(self, container_id: str, command: tuple[str, ...], timeout_seconds: float) -> ExecResult:
        return await (await self._machine()).run_command(container_id, command, timeout_seconds)

    async def kill_service_proxy(self) -> None:
        self._service_proxy.kill()

    async def hold_service_proxy(self, reason: str) -> None:
        self._service_proxy.hold_down(reason)

    async def let_service_proxy(self, reason: str) -> None:
        self._service_proxy.let_up(reason)

    async def revoke_disk(self, disk: str) -> None:
        """The storage takes a network disk away; no part of `Runtime` (node/attacher.py)."""
        await (await self._machine()).disks.revoke(disk)

    async def inject_disk_fault(self, key: str, volume: str, kind: str, delay_ms: float) -> str:
        """Trouble a volume by its unique name until `key` is healed; why that cannot be, "" when it is done."""
        from petset.cluster.node.disk_watch import DiskFault
        from petset.cluster.node.disks import DiskFaultRefused

        try:
            (await self._machine()).disks.inject(key, volume, DiskFault(kind, delay_ms))
        except DiskFaultRefused as refused:
            return str(refused)
        return ""

    async def heal_disk_fault(self, key: str) -> None:
        (await self._machine()).disks.heal(key)

    async def leftovers(self) -> dict[str, list[dict[str, Any]]]:
        """What is on the machine and belongs to no pod; for the fault gate, no part of `Runtime`."""
        return await (await self._machine()).leftovers()

    async def open_stream(self, request: StreamRequest) -> StreamTicket:
        """The stream itself cannot cross Ray: its ticket does (stream_gate.py)."""
        machine = await self._machine()
        return self._gate.offer(await machine.open_stream(request))

    async def _machine(self) -> Machine:
        return await asyncio.shield(self._booted)


async def drain(runtime: Machine, grace_seconds: float) -> None:
    """Ask every running container to end (SIGTERM) and wait for it, `grace_seconds` at the most."""
    seen = await runtime.next_change(-1)
    for container_id in await _running(runtime):
        await runtime.signal_container(container_id, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(grace_seconds):
            while await _running(runtime):
                seen = await runtime.next_change(seen)


async def _running(runtime: Machine) -> list[str]:
    sandboxes = await runtime.list_sandboxes()
    return [each.id for sandbox in sandboxes for each in sandbox.containers if each.state == "running"]

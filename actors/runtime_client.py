"""`RemoteRuntime`: a kubelet's view of its node, which is another actor. Each call is one Ray call.

The node actor is found by its name, and again after it died: the supervisor makes it anew under that name. A call
that the node's death cut off may or may not have happened, which is what `Unavailable` says (not definite); errors
of the runtime itself (`ImageNotFound`, `RuntimeFailure`, …) arrive as they were raised.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError

from petset.actors.stream_gate import StreamTicket, fetch_stream
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
from petset.cluster.errors import ApiError, Unavailable


class RemoteMachines:
    """All machines of the cluster, as the storage reaches them (`Machines` of node/attacher.py).

    A machine that is not there has no processes: the kernel ended them with it. One that Ray cannot reach for the
    moment lives on, and so do its processes.
    """

    async def revoke_disk(self, node: str, disk: str) -> None:
        try:
            await RemoteRuntime(node).revoke_disk(disk)
        except Unavailable as error:
            if isinstance(error.__cause__, ActorUnavailableError):
                raise


class RemoteRuntime:
    """The `Runtime` protocol over a named actor (see NodeShell for the other end)."""

    def __init__(self, actor_name: str) -> None:
        self._actor_name = actor_name
        self._handles: list[ActorHandle[Any]] = []
        """The handle in use, or nothing before the first call and after a death."""

    async def pull_image(self, reference: str) -> Image:
        answer: Image = await self._call("pull_image", reference)
        return answer

    async def run_sandbox(self, spec: SandboxSpec) -> SandboxStatus:
        answer: SandboxStatus = await self._call("run_sandbox", spec)
        return answer

    async def update_volumes(self, sandbox_uid: str, volumes: tuple[Volume, ...]) -> None:
        await self._call("update_volumes", sandbox_uid, volumes)

    async def volume_bytes(self, sandbox_uid: str, names: tuple[str, ...]) -> Mapping[str, int]:
        answer: Mapping[str, int] = await self._call("volume_bytes", sandbox_uid, names)
        return answer

    async def start_container(self, sandbox_uid: str, spec: ContainerSpec) -> ContainerStatus:
        answer: ContainerStatus = await self._call("start_container", sandbox_uid, spec)
        return answer

    async def signal_container(self, container_id: str, signal: int) -> None:
        await self._call("signal_container", container_id, signal)

    async def remove_sandbox(self, sandbox_uid: str) -> None:
        await self._call("remove_sandbox", sandbox_uid)

    async def list_sandboxes(self) -> list[SandboxStatus]:
        answer: list[SandboxStatus] = await self._call("list_sandboxes")
        return answer

    async def next_change(self, seen: int) -> int:
        answer: int = await self._call("next_change", seen)
        return answer

    async def measure(self) -> MachineUsage:
        answer: MachineUsage = await self._call("measure")
        return answer

    async def run_command(self, container_id: str, command: tuple[str, ...], timeout_seconds: float) -> ExecResult:
        answer: ExecResult = await self._call("run_command", container_id, command, timeout_seconds)
        return answer

    async def open_stream(self, request: StreamRequest) -> socket.socket:
        ticket: StreamTicket = await self._call("open_stream", request)
        return await fetch_stream(ticket)

    async def revoke_disk(self, disk: str) -> None:
        """No part of the protocol: the storage's side of the machine."""
        await self._call("revoke_disk", disk)

    async def _call(self, method: str, *arguments: Any) -> Any:
        handle = self._resolve()
        try:
            return await getattr(handle, method).remote(*arguments)
        except RayActorError as error:
            if handle in self._handles:
                self._handles.remove(handle)
            raise Unavailable(f"node {self._actor_name} does not answer") from error
        except RayTaskError as error:
            if isinstance(error.cause, ApiError):
                raise error.cause from None
            raise

    def _resolve(self) -> ActorHandle[Any]:
        if self._handles:
            return self._handles[0]
        try:
            handle = ray.get_actor(self._actor_name)
        except ValueError as error:
            raise Unavailable(f"node {self._actor_name} is not there") from error
        self._handles.append(handle)
        return handle

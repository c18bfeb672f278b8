"""The two things a kubelet needs from outside: its machine (`Runtime`) and its nerve endings (`Prober`).

`node.machine.Machine` implements `Runtime` with real processes, reached over Ray calls; tests use a fake that moves
in virtual time. Both pass the same contract suite (tests/contract/test_runtime.py).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Protocol

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


class Runtime(Protocol):
    """A node's container runtime. Every call may raise `RuntimeFailure`; repeating a call is safe."""

    async def pull_image(self, reference: str) -> Image:
        """Resolve an image reference to a program. Raises ImageNotFound."""

    async def run_sandbox(self, spec: SandboxSpec) -> SandboxStatus:
        """Prepare a pod's place: address, volumes, files. An existing sandbox of that uid is answered as it is."""

    async def update_volumes(self, sandbox_uid: str, volumes: tuple[Volume, ...]) -> None:
        """Make these volumes of kind `files` show what they say now; each changes in one step. Others stay."""

    async def volume_bytes(self, sandbox_uid: str, names: tuple[str, ...]) -> Mapping[str, int]:
        """How much is stored in these emptyDirs of a sandbox."""

    async def start_container(self, sandbox_uid: str, spec: ContainerSpec) -> ContainerStatus:
        """Start a container. The same name and attempt a second time answers the one that is there."""

    async def signal_container(self, container_id: str, signal: int) -> None:
        """Send a signal to the container's first process; SIGKILL ends its whole process tree. Gone: no error."""

    async def remove_sandbox(self, sandbox_uid: str) -> None:
        """Kill what still runs in the sandbox, then free its address, folders and logs. Gone: no error.

        Persistent disks stay.
        """

    async def list_sandboxes(self) -> list[SandboxStatus]:
        """Everything on this machine, in order of creation."""

    async def next_change(self, seen: int) -> int:
        """Wait until something changed after the change numbered `seen`, and answer the newest number.

        Numbers grow by one with every exit of a container; ask with 0 first. What is done by a call is no change: the
        caller knows by the answer. A number from before the machine's restart (larger than the newest) is answered at
        once.
        """

    async def measure(self) -> MachineUsage:
        """What the machine and each running container use now."""

    async def run_command(self, container_id: str, command: tuple[str, ...], timeout_seconds: float) -> ExecResult:
        """Run a command inside a running container and wait for its end (exit code 124 after the timeout)."""

    async def open_stream(self, request: StreamRequest) -> socket.socket:
        """A connected stream socket on which the node does what is asked, in frames (streaming/frames.py).

        The node ends it with a Status frame; whoever closes it before that ends a command, leaves a container alone.
        Raises RuntimeFailure when the container does not run (exec, attach), NotFound when there is no such log.
        """


class Prober(Protocol):
    """Network probes, made from the node that the pod runs on."""

    async def http_get(self, url: str, headers: dict[str, str], timeout_seconds: float) -> tuple[int, str]:
        """(status code, first 10 KiB of the body). Raises OSError or TimeoutError when nobody answers."""

    async def tcp_connect(self, host: str, port: int, timeout_seconds: float) -> None:
        """Open and close a connection. Raises OSError or TimeoutError."""

    async def grpc_health(self, host: str, port: int, service: str, timeout_seconds: float) -> tuple[int, str]:
        """Ask grpc.health.v1: (0, the service's status, e.g. `SERVING`), or (another gRPC status code, its message).

        Raises OSError or TimeoutError when nobody answers, or not in gRPC.
        """

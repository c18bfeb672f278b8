"""The `Network` protocol: the only maker of sockets above it.

Whatever must live on a certain machine's network (a kubelet's connection to the API server, its probes, a service
proxy's listener) asks the Network for a socket made there. On the `loopback` network (loopback.py) all machines share
the host's stack and a pod is an address in 127/8; on the `namespaces` network (namespaces.py) each node and pod has a
stack of its own.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class PodNetwork:
    """A pod's place on the network: its address, and what its processes need to know to live on it.

    `environment` is handed to programs that cannot be given a stack of their own (loopback: which address to bind).
    `namespaces` are what its processes must enter before anything else (`net`, `uts`, `ipc` -> path), good until the
    pod is detached. A pod that has some also gets a root and a process tree of its own. `shared_memory` is a folder in
    memory that all its containers see as /dev/shm, as long as it is attached; without, whoever runs them makes one.
    """

    address: str
    environment: dict[str, str] = field(default_factory=dict)
    namespaces: Mapping[str, str] = field(default_factory=dict)
    shared_memory: str = ""


class Network(Protocol):
    """Sockets and pod addresses on one emulated machine."""

    @property
    def node_address(self) -> str:
        """The machine's own address (a pod's hostIP)."""

    async def attach_pod(self, key: str) -> PodNetwork:
        """Connect the pod `namespace/name`, with the address it had before while that is free.

        Asked twice it answers the same. Raises LookupError when no address is free, OSError when the kernel refuses.
        """

    async def detach_pod(self, key: str) -> None:
        """Disconnect the pod and take its address back; unknown keys are no error."""

    def host_pod(self) -> PodNetwork:
        """What a pod with `hostNetwork` lives on: the machine itself."""

    def close(self) -> None:
        """Let go of everything, pods included; nothing may be asked afterwards."""

    def make_socket(self, host: str, *, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """A non-blocking socket on this machine's network, of the family that `host` needs. Raises OSError."""

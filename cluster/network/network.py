"""The `Network` protocol: the only maker of sockets above it.

Whatever must live on a certain machine's network (a kubelet's connection to the API server, its probes, a service
proxy's listener) asks the Network for a socket made there. On the `loopback` network all machines share the host's
stack and a pod is an address in 127/8; on the `namespaces` network each node and pod has a stack of its own.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class PodNetwork:
    """A pod's place on the network: its address, and what its processes need to know to live on it.

    `environment` is handed to programs that cannot be given a stack of their own (loopback: which address to bind).
    """

    address: str
    environment: dict[str, str] = field(default_factory=dict)


class Network(Protocol):
    """Sockets and pod addresses on one emulated machine."""

    @property
    def node_address(self) -> str:
        """The machine's own address (a pod's hostIP)."""

    def attach_pod(self, key: str) -> PodNetwork:
        """Give the pod `namespace/name` an address: the one it had before, while that is free."""

    def detach_pod(self, key: str) -> None:
        """Take the address back; unknown keys are no error."""

    def make_socket(self, host: str, *, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """A non-blocking socket on this machine's network, of the family that `host` needs."""

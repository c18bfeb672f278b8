"""All machines on the host's own stack: a pod is one address of 127/8 (see addresses.py).

Works everywhere that Linux does, without privileges. What it cannot do:

- keep a pod's programs from binding 0.0.0.0 or another pod's address: they learn theirs from the environment
  (`PET_BIND`) and must listen there themselves;
- ports below 1024, unless the host allows them;
- cut two machines apart: they share a stack. A program that does not bind its own address before it connects is seen
  as 127.0.0.1 by its peer.
"""

from __future__ import annotations

import socket

from petset.cluster.network.addresses import AddressPlan, PodAddresses
from petset.cluster.network.network import PodNetwork


class LoopbackNetwork:
    """The `Network` of machine number 1, 2, … of a cluster. At most 253 pods at a time."""

    def __init__(self, plan: AddressPlan, node_number: int) -> None:
        self._node_address = plan.node_address(node_number)
        self._addresses = PodAddresses(plan.pod_range(node_number))

    @property
    def node_address(self) -> str:
        return self._node_address

    async def attach_pod(self, key: str) -> PodNetwork:
        address = self._addresses.take(key)
        return PodNetwork(address, environment={"PET_BIND": address})

    async def detach_pod(self, key: str) -> None:
        self._addresses.release(key)

    def host_pod(self) -> PodNetwork:
        """The machine's address, and not all addresses of the stack."""
        return PodNetwork(self._node_address, environment={"PET_BIND": self._node_address})

    def close(self) -> None:
        """It holds nothing."""

    def make_socket(self, host: str, *, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
        made.setblocking(False)
        return made

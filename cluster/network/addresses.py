"""Which address belongs to whom, by arithmetic alone.

A cluster on the loopback network owns one of 64 *slots* of 127/8, so that clusters live side by side:

    slot s:  127.(64+s).N.0/24    node N's pods; the node itself is 127.(64+s).0.N
             127.(128+s).0.0/16   services: .0.1 the API server, .0.10 cluster DNS, the rest by allocation

On a network of its own every cluster has the addresses that Kubernetes users know (OWN_PLAN):

    10.244.N.0/24   node N's pods, .1 the node's bridge      172.18.0.N        node N itself
    10.96.0.0/12    services                                 172.18.255.254    the control plane
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

LOOPBACK_SLOTS = 64
MAX_NODES = 250


@dataclass(frozen=True)
class AddressPlan:
    """The cluster's ranges: `pods` is split into one /24 per node, `services` holds every cluster IP."""

    pods: IPv4Network
    services: IPv4Network
    nodes: IPv4Network

    def pod_range(self, node_number: int) -> IPv4Network:
        """The /24 of node 1, 2, …; its podCIDR."""
        return IPv4Network((int(self.pods.network_address) + node_number * 256, 24))

    def node_address(self, node_number: int) -> str:
        return str(self.nodes.network_address + node_number)

    @property
    def control_plane_address(self) -> str:
        """Where the API server is on the nodes' own network; on the loopback network it is at 127.0.0.1 instead."""
        return str(self.nodes.broadcast_address - 1)

    @property
    def controller_address(self) -> str:
        """Where the controllers' connections to the API server come from, so that they can be told from others."""
        return str(self.nodes.broadcast_address - 2)

    @property
    def dns_client_address(self) -> str:
        """The same of cluster DNS; its own clients know it as `dns_address`."""
        return str(self.nodes.broadcast_address - 3)

    @property
    def api_address(self) -> str:
        """The cluster IP of the `kubernetes` service."""
        return str(self.services.network_address + 1)

    @property
    def dns_address(self) -> str:
        """The cluster IP of the `kube-dns` service."""
        return str(self.services.network_address + 10)


OWN_PLAN = AddressPlan(
    pods=IPv4Network("10.244.0.0/16"), services=IPv4Network("10.96.0.0/12"), nodes=IPv4Network("172.18.0.0/16")
)


def loopback_plan(slot: int) -> AddressPlan:
    """The plan of one slot. Raises ValueError for a slot that does not exist."""
    if not 0 <= slot < LOOPBACK_SLOTS:
        raise ValueError(f"loopback slot {slot} is not between 0 and {LOOPBACK_SLOTS - 1}")
    return AddressPlan(
        pods=IPv4Network(f"127.{64 + slot}.0.0/16"),
        services=IPv4Network(f"127.{128 + slot}.0.0/16"),
        nodes=IPv4Network(f"127.{64 + slot}.0.0/24"),
    )


class PodAddresses:
    """The free and taken addresses of one node's range: lowest free first, and a returning pod gets its old one.

    Remembers the last address of at most as many pods as the range has addresses; the longest gone is forgotten.
    """

    def __init__(self, pods: IPv4Network) -> None:
        self._free = [str(address) for address in list(pods.hosts())[1:]]
        self._taken: dict[str, str] = {}
        self._last: dict[str, str] = {}
        self._capacity = len(self._free)

    def take(self, key: str) -> str:
        """The address of this pod, the same until it is released. Raises LookupError when none is left."""
        if key in self._taken:
            return self._taken[key]
        if not self._free:
            raise LookupError(f"all {self._capacity} pod addresses of this node are in use")
        wanted = self._last.get(key)
        address = wanted if wanted in self._free else self._first_unremembered()
        self._free.remove(address)
        self._taken[key] = address
        return address

    def release(self, key: str) -> None:
        """Free the pod's address, keeping in mind that it was this pod's."""
        address = self._taken.pop(key, None)
        if address is None:
            return
        insort(self._free, address, key=lambda text: int(IPv4Address(text)))
        self._last.pop(key, None)
        self._last[key] = address
        while len(self._last) > self._capacity:
            del self._last[next(iter(self._last))]

    def _first_unremembered(self) -> str:
        remembered = set(self._last.values())
        return next((address for address in self._free if address not in remembered), self._free[0])

"""Cutting and healing a cluster's network: the cables of fabric.py, and packets on their way.

    cut_node      the node's cable is unplugged: its pods run on and reach each other, nothing else does
    drop          packets from one address (or range) to another vanish, all or a share of them; one way only
    cut_nodes     two nodes and their pods lose each other; the control plane sees both

What is dropped is dropped where it would arrive, in the namespace of the destination's node. Connections through a
cluster IP come from the proxy of the client's node: they are cut by that node's address. Calls block for some
milliseconds; not for a thread with a running event loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from ipaddress import IPv4Network
from pathlib import Path

from petset.cluster.network import syscalls
from petset.cluster.network.addresses import MAX_NODES, AddressPlan
from petset.cluster.network.fabric import index_of, node_cable, node_namespace
from petset.cluster.network.firewall import Firewall
from petset.cluster.network.netlink import open_routes


class Faults:
    """The faults of one fabric, from within its enclosure. Healing what is whole is no error."""

    def __init__(self, plan: AddressPlan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder

    def cut_node(self, number: int) -> None:
        """Unplug node N from the fabric. Raises LookupError for a node that does not exist."""
        self._set_cable(number, "down")

    def heal_node(self, number: int) -> None:
        """Plug it in again."""
        self._set_cable(number, "up")

    def drop(self, source: str, destination: str, *, share: float = 1.0) -> None:
        """Drop packets between addresses or ranges (10.244.1.2, 10.244.1.0/24), `share` (0 to 1) of them.

        Raises ValueError for an address that is no node's or pod's, OSError where the kernel cannot (petset doctor).
        """
        if not 0.0 < share <= 1.0:
            raise ValueError(f"share {share}: more than 0, and at most 1")
        with self._firewall_of(destination) as firewall:
            firewall.drop(IPv4Network(source), IPv4Network(destination), share)

    def heal(self, source: str, destination: str) -> None:
        """Let packets pass again, as `drop` was told."""
        with self._firewall_of(destination) as firewall:
            firewall.take_back(IPv4Network(source), IPv4Network(destination))

    def cut_nodes(self, first: int, second: int) -> None:
        """Two nodes and all their pods no longer reach each other."""
        for source, destination in self._between(first, second):
            self.drop(source, destination)

    def heal_nodes(self, first: int, second: int) -> None:
        for source, destination in self._between(first, second):
            self.heal(source, destination)

    def heal_all(self) -> None:
        """No cable is unplugged and no packet dropped any more."""
        for number in range(1, MAX_NODES + 1):
            if not node_namespace(self._folder, number).exists():
                return
            self.heal_node(number)
            with self._firewall(number) as firewall:
                firewall.take_back_all()

    def _set_cable(self, number: int, state: str) -> None:
        with open_routes() as control_plane:
            control_plane.link("set", index=index_of(control_plane, node_cable(number)), state=state)

    def _between(self, first: int, second: int) -> Iterator[tuple[str, str]]:
        for here, there in ((first, second), (second, first)):
            for source in self._ranges(here):
                for destination in self._ranges(there):
                    yield source, destination

    def _ranges(self, number: int) -> tuple[str, str]:
        return self._plan.node_address(number), str(self._plan.pod_range(number))

    def _firewall_of(self, destination: str) -> AbstractContextManager[Firewall]:
        return self._firewall(self._node_of(IPv4Network(destination)))

    @contextmanager
    def _firewall(self, number: int) -> Iterator[Firewall]:
        with syscalls.visiting(str(node_namespace(self._folder, number))), Firewall() as firewall:
            yield firewall

    def _node_of(self, network: IPv4Network) -> int:
        for number in range(1, MAX_NODES + 1):
            is_here = network.subnet_of(self._plan.pod_range(number))
            if is_here or network == IPv4Network(self._plan.node_address(number)):
                return number
        raise ValueError(f"{network} is not an address of a node or its pods")

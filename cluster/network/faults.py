"""Cutting, losing, slowing and healing a cluster's network, for whoever lives in its enclosure.

    faults = Faults(settings.addresses, settings.fabric)
    faults.cut("10.244.1.2", "10.244.2.2")                        two pods lose each other
    faults.cut("10.244.1.2", faults.api_server, one_way=True)     its requests are lost, whatever comes back arrives
    faults.cut(faults.node(1), faults.node(2))                    two nodes with their pods
    faults.cut(faults.node(1), EVERYTHING)                        its own pods still reach each other
    faults.cut_node(1)                                            the same, by unplugging its cable
    faults.drop(faults.node(1), faults.dns, share=0.3)            30 % of its questions are lost
    faults.limit("10.244.1.2", EVERYTHING, kbit_per_second=512)   what this pod sends
    faults.delay("10.244.1.2", "10.244.2.2", delay_ms=50, jitter_ms=10)

An *endpoint* is an address, a range (10.244.1.0/24), or several of them. `drop`, `limit` and `delay` are one way, from
source to destination. Every fault is healed by the method `heal_…` with the same endpoints; `heal_all` heals the rest,
those of an earlier process too: the kernel alone remembers. Faults of different kinds between the same endpoints add
up and are healed one by one; one of the same kind replaces the one before.

What is dropped is dropped where it would arrive, what waits waits where it leaves (crossings.py). So a limit and a
delay do not hold within one node, except towards single pods; they end when that pod does. Connections through a
cluster IP come from the client's node where a relay carries them: they are cut by that node's address, or by the
cluster IP itself. Controllers and DNS ask the API server from addresses of their own (addresses.py).

Calls block, some milliseconds for each node concerned; not for a thread with a running event loop. All of them raise
ValueError for an endpoint that is none, LookupError for a node or pod that is not there, and OSError, with the reason,
where the kernel cannot (petset doctor).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

from pyroute2 import IPRoute

from petset.cluster.network import shaping, syscalls
from petset.cluster.network.addresses import MAX_NODES, AddressPlan
from petset.cluster.network.crossings import CONTROL_PLANE, EVERYTHING, Exit, Packets, arrivals, departures
from petset.cluster.network.fabric import UPLINK, index_of, node_cable, node_namespace
from petset.cluster.network.firewall import forget_rules, open_firewall
from petset.cluster.network.netlink import open_routes
from petset.cluster.network.pod_stack import pod_cable

__all__ = ["EVERYTHING", "Endpoint", "Faults"]

Endpoint = str | Sequence[str]

_Shaping = Callable[[IPRoute, shaping.Line], None]

_CUT, _LOSS = "cut", "loss"
_BYTES_PER_KBIT = 125
_MAX_KBIT_PER_SECOND = 10_000_000
_SHAPED = re.compile(r"eth0|(node-|pod)\d+")


class Faults:
    """The faults of one fabric, from within its enclosure. Healing what is whole is no error."""

    def __init__(self, plan: AddressPlan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder

    # -- endpoints ------------------------------------------------------------------------------------------------

    def node(self, number: int) -> tuple[str, ...]:
        """Node N and all its pods. Raises LookupError."""
        if not node_namespace(self._folder, number).exists():
            raise LookupError(f"no node {number}")
        return self._plan.node_address(number), str(self._plan.pod_range(number))

    @property
    def api_server(self) -> tuple[str, ...]:
        """Its own address and its cluster IP."""
        return self._plan.control_plane_address, self._plan.api_address

    @property
    def dns(self) -> tuple[str, ...]:
        """Cluster DNS, as pods and nodes ask it."""
        return (self._plan.dns_address,)

    # -- faults ---------------------------------------------------------------------------------------------------

    def cut_node(self, number: int) -> None:
        """Unplug node N from the fabric; the kernel takes up to a second to notice when it is plugged in again."""
        self._set_cable(number, "down")

    def heal_node(self, number: int) -> None:
        self._set_cable(number, "up")

    def cut(self, first: Endpoint, second: Endpoint, *, one_way: bool = False) -> None:
        """Drop everything from the first to the second and, unless one_way, back."""
        for source, destination in _ways(first, second, one_way):
            self._drop(_CUT, source, destination, 1.0)

    def heal_cut(self, first: Endpoint, second: Endpoint, *, one_way: bool = False) -> None:
        for source, destination in _ways(first, second, one_way):
            self._let_pass(_CUT, source, destination)

    def drop(self, source: Endpoint, destination: Endpoint, *, share: float = 1.0) -> None:
        """Drop a random `share` (more than 0, at most 1) of the packets."""
        if not 0.0 < share <= 1.0:
            raise ValueError(f"share {share}: more than 0, and at most 1")
        self._drop(_LOSS, source, destination, share)

    def heal_drop(self, source: Endpoint, destination: Endpoint) -> None:
        self._let_pass(_LOSS, source, destination)

    def limit(self, source: Endpoint, destination: Endpoint, *, kbit_per_second: int) -> None:
        """At most so much, for all of it together where it leaves by one interface; what is too much waits."""
        if not 0 < kbit_per_second <= _MAX_KBIT_PER_SECOND:
            raise ValueError(f"{kbit_per_second} kbit/s: more than 0, and at most {_MAX_KBIT_PER_SECOND}")
        rate = kbit_per_second * _BYTES_PER_KBIT
        self._shape(source, destination, lambda routes, line: shaping.limit(routes, line, rate))

    def heal_limit(self, source: Endpoint, destination: Endpoint) -> None:
        self._unshape(source, destination, shaping.take_back_limit)

    def delay(self, source: Endpoint, destination: Endpoint, *, delay_ms: float, jitter_ms: float = 0.0) -> None:
        """Every packet comes later by delay_ms, give or take jitter_ms."""
        if not 0.0 <= jitter_ms <= delay_ms or not delay_ms:
            raise ValueError(f"delay {delay_ms} ms, jitter {jitter_ms} ms: more than 0, and the jitter not above it")

        def slow_down(routes: IPRoute, line: shaping.Line) -> None:
            shaping.delay(routes, line, delay_ms=delay_ms, jitter_ms=jitter_ms)

        self._shape(source, destination, slow_down)

    def heal_delay(self, source: Endpoint, destination: Endpoint) -> None:
        self._unshape(source, destination, shaping.take_back_delay)

    def heal(self, source: Endpoint, destination: Endpoint) -> None:
        """Every kind of fault from source to destination, one way; cables apart."""
        for kind in (_CUT, _LOSS):
            self._let_pass(kind, source, destination)
        self._unshape(source, destination, shaping.remove)

    def heal_all(self) -> None:
        """Every cable is plugged in, and packets pass at once."""
        nodes = self._node_count()
        for number in range(1, nodes + 1):
            self.heal_node(number)
        for place in range(nodes + 1):
            with self._at(place):
                forget_rules()
                names = {name: index for index, name in socket.if_nameindex() if _SHAPED.fullmatch(name)}
                with open_routes() as routes:
                    shaping.remove_all(routes, names.values())

    # -- how ------------------------------------------------------------------------------------------------------

    def _drop(self, kind: str, source: Endpoint, destination: Endpoint, share: float) -> None:
        for place, packets in self._arrivals(source, destination).items():
            with self._at(place), open_firewall(kind) as firewall:
                firewall.drop(packets, share)

    def _let_pass(self, kind: str, source: Endpoint, destination: Endpoint) -> None:
        for place, packets in self._arrivals(source, destination).items():
            with self._at(place), open_firewall(kind) as firewall:
                firewall.take_back(packets)

    def _arrivals(self, source: Endpoint, destination: Endpoint) -> dict[int, list[Packets]]:
        found: dict[int, list[Packets]] = {}
        for place, packets in arrivals(self._plan, self._node_count(), _networks(source), _networks(destination)):
            found.setdefault(place, []).append(packets)
        return found

    def _shape(self, source: Endpoint, destination: Endpoint, what: _Shaping) -> None:
        exits = self._departures(source, destination)
        if not exits:
            raise ValueError(f"packets from {source} to {destination} pass no place where they could wait")
        for exit_, pairs in exits.items():
            with self._at(exit_.place), open_routes() as routes:
                what(routes, shaping.Line(index_of(routes, _interface(exit_)), tuple(pairs)))

    def _unshape(self, source: Endpoint, destination: Endpoint, what: _Shaping) -> None:
        for exit_, pairs in self._departures(source, destination).items():
            with self._at(exit_.place), open_routes() as routes:
                for index in routes.link_lookup(ifname=_interface(exit_)):  # a pod's may be gone
                    what(routes, shaping.Line(index, tuple(pairs)))

    def _departures(self, source: Endpoint, destination: Endpoint) -> dict[Exit, list[shaping.Pair]]:
        return departures(self._plan, self._node_count(), _networks(source), _networks(destination))

    def _set_cable(self, number: int, state: str) -> None:
        with open_routes() as control_plane:
            control_plane.link("set", index=index_of(control_plane, node_cable(number)), state=state)

    def _node_count(self) -> int:
        present = (node_namespace(self._folder, number).exists() for number in range(1, MAX_NODES + 1))
        return next((count for count, there in enumerate(present) if not there), MAX_NODES)

    @contextmanager
    def _at(self, place: int) -> Iterator[None]:
        """In the network namespace of a node, or of the control plane, which is ours."""
        where = "/proc/thread-self/ns/net" if place == CONTROL_PLANE else str(node_namespace(self._folder, place))
        with syscalls.visiting(where):
            yield


def _interface(exit_: Exit) -> str:
    match exit_.kind:
        case "node":
            return node_cable(exit_.number)
        case "pod":
            return pod_cable(exit_.number)
        case _:
            return UPLINK


def _ways(first: Endpoint, second: Endpoint, one_way: bool) -> Iterable[tuple[Endpoint, Endpoint]]:
    return [(first, second)] if one_way else [(first, second), (second, first)]


def _networks(endpoint: Endpoint) -> tuple[IPv4Network, ...]:
    """Raises ValueError for what is no address or range."""
    return tuple(IPv4Network(each) for each in ([endpoint] if isinstance(endpoint, str) else endpoint))

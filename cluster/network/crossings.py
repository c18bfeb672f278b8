"""Where packets between two endpoints of a cluster can be met, by arithmetic alone (fabric.py has the cables).

An *endpoint* is some addresses or ranges: a pod's one, a node's and its pods', the control plane's, EVERYTHING.

- `arrivals`: where they arrive. A packet meets exactly one of them, so that a share of packets can be dropped:
  at its node a pod's or the node's own, at the control plane its own, cluster IPs at the node that uses them.
- `departures`: the interface that they leave by, where a queue can be put in front: a node's `eth0`, the control
  plane's end of a node's cable, and between pods of one node the destination's cable (which is named one by one).

What lies inside an endpoint is spared when the other one is EVERYTHING: a node's own pods still reach each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from petset.cluster.network.addresses import AddressPlan

EVERYTHING = "0.0.0.0/0"
CONTROL_PLANE = 0
"""The place that is no node; nodes are 1, 2, …"""

Networks = Sequence[IPv4Network]


@dataclass(frozen=True)
class Packets:
    """From one range of addresses, less some, to another; `hooks`: where in a namespace they are looked for."""

    source: IPv4Network
    destination: IPv4Network
    not_from: tuple[IPv4Network, ...] = ()
    hooks: tuple[str, ...] = ("forward", "input", "output")


@dataclass(frozen=True)
class Exit:
    """An interface of a place, `node` N's cable (the control plane's end) or `pod` X's or the `uplink`."""

    place: int
    kind: str
    number: int = 0


@dataclass(frozen=True)
class _Own:
    """Addresses that packets of a place arrive at, and where there."""

    place: int
    network: IPv4Network
    hooks: tuple[str, ...]


def arrivals(plan: AddressPlan, nodes: int, sources: Networks, destinations: Networks) -> Iterator[tuple[int, Packets]]:
    """Every place, and the packets to look for there. Raises ValueError for a destination that is nowhere."""
    for destination in destinations:
        found = False
        for own in _everybodys(plan, nodes, destination):
            piece = _overlap(own.network, destination)
            if piece is None:
                continue
            found = True
            if piece != destination and any(piece.subnet_of(source) for source in sources):
                continue
            for source in sources:
                if own.hooks != ("prerouting",) or _lives_at(plan, own.place, source):
                    spared = tuple(destinations) if str(source) == EVERYTHING else ()
                    yield own.place, Packets(source, piece, spared, own.hooks)
        if not found:
            raise ValueError(f"{destination} is not an address of this cluster")


def departures(
    plan: AddressPlan, nodes: int, sources: Networks, destinations: Networks
) -> dict[Exit, list[tuple[IPv4Network, IPv4Network]]]:
    """Every interface, and the pairs (source, destination) to look for there."""
    found: dict[Exit, list[tuple[IPv4Network, IPv4Network]]] = {}
    for source in sources:
        for destination in destinations:
            for exit_, piece in _exits(plan, nodes, source, destination):
                found.setdefault(exit_, []).append((piece, destination))
    return found


def _exits(
    plan: AddressPlan, nodes: int, source: IPv4Network, destination: IPv4Network
) -> Iterator[tuple[Exit, IPv4Network]]:
    for own in (plan.control_plane_address, plan.dns_address):
        if piece := _overlap(source, IPv4Network(own)):
            for number in range(1, nodes + 1):
                if any(_overlap(place, destination) for place in _of_node(plan, number)):
                    yield Exit(CONTROL_PLANE, "node", number), piece
    for number in range(1, nodes + 1):
        for place in _of_node(plan, number):
            piece = _overlap(source, place)
            if piece is None:
                continue
            if not any(destination.subnet_of(here) for here in _of_node(plan, number)):
                yield Exit(number, "uplink"), piece
            elif destination.prefixlen == 32 and destination.subnet_of(plan.pod_range(number)):
                yield Exit(number, "pod", int(destination.network_address) % 256), piece


def _everybodys(plan: AddressPlan, nodes: int, destination: IPv4Network) -> Iterable[_Own]:
    for address in (plan.control_plane_address, plan.controller_address, plan.dns_client_address):
        yield _Own(CONTROL_PLANE, IPv4Network(address), ("input",))
    if destination == IPv4Network(plan.dns_address):
        yield _Own(CONTROL_PLANE, destination, ("input",))
        return
    for number in range(1, nodes + 1):
        yield _Own(number, IPv4Network(plan.node_address(number)), ("input",))
        yield _Own(number, plan.pod_range(number), ("forward", "input", "output"))
        yield _Own(number, plan.services, ("prerouting",))


def _of_node(plan: AddressPlan, number: int) -> tuple[IPv4Network, IPv4Network]:
    return IPv4Network(plan.node_address(number)), plan.pod_range(number)


def _lives_at(plan: AddressPlan, place: int, source: IPv4Network) -> bool:
    return any(_overlap(source, own) for own in _of_node(plan, place))


def _overlap(first: IPv4Network, second: IPv4Network) -> IPv4Network | None:
    if first.subnet_of(second):
        return first
    return second if second.subnet_of(first) else None

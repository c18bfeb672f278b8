"""Where packets are met, by the addresses of a cluster of three nodes."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv4Network

import pytest

from petset.cluster.network.addresses import OWN_PLAN
from petset.cluster.network.crossings import EVERYTHING, Exit, Packets, arrivals, departures

NODES = 3
POD, NEIGHBOUR, THERE = "10.244.1.2", "10.244.1.3", "10.244.2.2"
NODE = ("172.18.0.1", "10.244.1.0/24")
CONTROL_PLANE, DNS, SERVICE = "172.18.255.254", "10.96.0.10", "10.96.0.1"


def networks(*texts: str) -> tuple[IPv4Network, ...]:
    return tuple(map(IPv4Network, texts))


def met(source: str, destination: str, rules: list[tuple[int, Packets]]) -> Counter[int]:
    """At which places a packet is looked for, and how often."""
    here, there = IPv4Address(source), IPv4Address(destination)
    return Counter(
        place
        for place, rule in rules
        if here in rule.source and there in rule.destination and not any(here in spared for spared in rule.not_from)
    )


@pytest.mark.parametrize(
    ("sources", "destinations", "packet", "places"),
    [
        pytest.param((POD,), (THERE,), (POD, THERE), {2}, id="a pod's packets at their destination's node"),
        pytest.param((POD,), (THERE,), (THERE, POD), set(), id="not those of the other way"),
        pytest.param((POD,), (THERE,), (NEIGHBOUR, THERE), set(), id="not those of others"),
        pytest.param((POD,), (CONTROL_PLANE,), (POD, CONTROL_PLANE), {0}, id="at the control plane"),
        pytest.param((CONTROL_PLANE,), (POD,), (CONTROL_PLANE, POD), {1}, id="from the control plane"),
        pytest.param((POD,), (DNS,), (POD, DNS), {0}, id="DNS is at the control plane, though a cluster IP"),
        pytest.param((POD,), (SERVICE,), (POD, SERVICE), {1}, id="a cluster IP at its user's node"),
        pytest.param((POD,), (EVERYTHING,), (POD, NEIGHBOUR), {1}, id="everything: a neighbour"),
        pytest.param((POD,), (EVERYTHING,), (POD, THERE), {2}, id="everything: a pod elsewhere"),
        pytest.param((POD,), (EVERYTHING,), (POD, "172.18.0.3"), {3}, id="everything: a node"),
        pytest.param((POD,), (EVERYTHING,), (POD, CONTROL_PLANE), {0}, id="everything: the control plane"),
        pytest.param((POD,), (EVERYTHING,), (POD, DNS), {1}, id="everything: DNS"),
        pytest.param(NODE, (EVERYTHING,), (POD, NEIGHBOUR), set(), id="a node's own pods reach each other"),
        pytest.param(NODE, (EVERYTHING,), (POD, THERE), {2}, id="a node's pods reach nobody else"),
        pytest.param((EVERYTHING,), NODE, (NEIGHBOUR, POD), set(), id="and are reached by each other"),
        pytest.param((EVERYTHING,), NODE, (THERE, POD), {1}, id="and by nobody else"),
        pytest.param(NODE, NODE, (POD, NEIGHBOUR), {1}, id="a node's pods from each other, when said so"),
    ],
)
def test_a_packet_is_met_once(
    sources: tuple[str, ...], destinations: tuple[str, ...], packet: tuple[str, str], places: set[int]
) -> None:
    rules = list(arrivals(OWN_PLAN, NODES, networks(*sources), networks(*destinations)))
    assert met(*packet, rules) == dict.fromkeys(places, 1)


@pytest.mark.parametrize("destination", ["192.0.2.1", "10.244.4.1", "172.18.0.4", "127.0.0.1"])
def test_who_is_nowhere_is_told(destination: str) -> None:
    with pytest.raises(ValueError, match=destination):
        list(arrivals(OWN_PLAN, NODES, networks(POD), networks(destination)))


@pytest.mark.parametrize(
    ("sources", "destinations", "exits"),
    [
        pytest.param((POD,), (THERE,), {Exit(1, "uplink")}, id="to another node by its node's uplink"),
        pytest.param((POD,), (NEIGHBOUR,), {Exit(1, "pod", 3)}, id="to a neighbour by that one's cable"),
        pytest.param((POD,), (CONTROL_PLANE,), {Exit(1, "uplink")}, id="to the control plane"),
        pytest.param((CONTROL_PLANE,), (THERE,), {Exit(0, "node", 2)}, id="from the control plane by the node's cable"),
        pytest.param((CONTROL_PLANE,), (EVERYTHING,), {Exit(0, "node", n) for n in (1, 2, 3)}, id="and by all cables"),
        pytest.param(NODE, (EVERYTHING,), {Exit(1, "uplink")}, id="a whole node"),
        pytest.param(
            (EVERYTHING,), (POD,),
            {Exit(0, "node", 1), Exit(1, "pod", 2), Exit(2, "uplink"), Exit(3, "uplink")},
            id="from everybody, each by an exit of his own",
        ),
        pytest.param((POD,), ("10.244.1.0/24",), set(), id="nowhere within one node"),
    ],
)  # fmt: skip
def test_packets_leave_by_one_interface(
    sources: tuple[str, ...], destinations: tuple[str, ...], exits: set[Exit]
) -> None:
    assert set(departures(OWN_PLAN, NODES, networks(*sources), networks(*destinations))) == exits

"""The loopback network: pod addresses by node and name, plain sockets."""

from __future__ import annotations

import socket

import pytest

from petset.cluster.network.addresses import loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork

PLAN = loopback_plan(63)


def test_a_pod_gets_an_address_of_its_nodes_range_and_is_told_to_bind_it() -> None:
    place = LoopbackNetwork(PLAN, 2).attach_pod("default/pet-0")
    assert place.address == "127.127.2.2"
    assert place.environment == {"PET_BIND": "127.127.2.2"}


def test_a_pod_has_one_address() -> None:
    network = LoopbackNetwork(PLAN, 1)
    assert network.attach_pod("default/pet-0") == network.attach_pod("default/pet-0")
    assert network.attach_pod("default/pet-1") != network.attach_pod("default/pet-0")


def test_a_returning_pod_finds_its_old_address() -> None:
    network = LoopbackNetwork(PLAN, 1)
    addresses = [network.attach_pod(f"default/pet-{number}").address for number in range(3)]
    for number in range(3):
        network.detach_pod(f"default/pet-{number}")
    assert network.attach_pod("default/pet-1").address == addresses[1]


def test_detaching_a_stranger_is_no_error() -> None:
    LoopbackNetwork(PLAN, 1).detach_pod("default/nobody")


def test_a_full_range_is_a_lookup_error() -> None:
    network = LoopbackNetwork(PLAN, 1)
    for number in range(253):
        network.attach_pod(f"default/pet-{number}")
    with pytest.raises(LookupError, match="253"):
        network.attach_pod("default/one-too-many")


def test_the_node_has_an_address_of_its_own() -> None:
    assert LoopbackNetwork(PLAN, 3).node_address == "127.127.0.3"


@pytest.mark.parametrize(
    ("host", "family"), [("127.127.0.3", socket.AF_INET), ("::1", socket.AF_INET6)], ids=["IPv4", "IPv6"]
)
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
def test_sockets_fit_the_host_and_do_not_block(
    host: str, family: socket.AddressFamily, kind: socket.SocketKind
) -> None:
    with LoopbackNetwork(PLAN, 1).make_socket(host, kind=kind) as made:
        assert (made.family, made.type, made.getblocking()) == (family, kind, False)

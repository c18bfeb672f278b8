"""What every `Network` promises (cluster/network/network.py), on the loopback and in namespaces of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from petset.cluster.network.addresses import OWN_PLAN, AddressPlan, loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.network.network import Network
from tests.inside import needs_namespaces, own_network

LOOPBACK = loopback_plan(63)
NETWORKS: dict[str, tuple[AddressPlan, Callable[[int], Network]]] = {
    "loopback": (LOOPBACK, lambda number: LoopbackNetwork(LOOPBACK, number)),
    "namespaces": (OWN_PLAN, own_network),
}


class Site:
    """Machines 1 and 2 of one cluster; what is attached through it is detached at the end."""

    def __init__(self, kind: str) -> None:
        self.plan, make = NETWORKS[kind]
        self.machines = {number: make(number) for number in (1, 2)}
        self._attached: list[tuple[Network, str]] = []

    async def attach(self, key: str, machine: int = 1) -> str:
        network = self.machines[machine]
        self._attached.append((network, key))
        return (await network.attach_pod(key)).address

    async def detach_all(self) -> None:
        for network, key in self._attached:
            await network.detach_pod(key)

    async def close(self) -> None:
        await self.detach_all()
        for network in self.machines.values():
            network.close()


@pytest.fixture(params=["loopback", pytest.param("namespaces", marks=needs_namespaces)])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    site = Site(request.param)
    yield site
    await site.close()


async def test_the_first_pod_has_the_first_address_of_its_nodes_range(site: Site) -> None:
    assert await site.attach("default/pet-0", machine=2) == str(site.plan.pod_range(2).network_address + 2)


async def test_a_pod_has_one_address(site: Site) -> None:
    first, again, other = [await site.attach(f"default/pet-{number}") for number in (0, 0, 1)]
    assert first == again != other


async def test_pods_attached_at_once_have_an_address_each(site: Site) -> None:
    addresses = await asyncio.gather(*(site.attach(f"default/pet-{number}") for number in range(5)))
    assert len(set(addresses)) == 5


async def test_a_returning_pod_finds_its_old_address(site: Site) -> None:
    addresses = [await site.attach(f"default/pet-{number}") for number in range(3)]
    await site.detach_all()
    assert await site.attach("default/pet-1") == addresses[1]


async def test_an_address_that_is_free_again_may_be_another_pods(site: Site) -> None:
    network = site.machines[1]
    for number in range(3):
        place = await network.attach_pod("default/pet-0")
        assert place.address == str(site.plan.pod_range(1).network_address + 2), f"round {number}"
        await network.detach_pod("default/pet-0")


async def test_detaching_a_stranger_is_no_error(site: Site) -> None:
    await site.machines[1].detach_pod("default/nobody")


async def test_a_caller_that_gives_up_leaves_nothing_half_attached(site: Site) -> None:
    impatient = asyncio.create_task(site.machines[1].attach_pod("default/pet-0"))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    assert await site.attach("default/pet-0") == str(site.plan.pod_range(1).network_address + 2)


async def test_a_host_pod_is_at_the_machines_address(site: Site) -> None:
    machine = site.machines[2]
    assert machine.host_pod().address == machine.node_address == site.plan.node_address(2)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
async def test_a_machine_can_bind_its_own_address_and_every_cluster_ip(site: Site, kind: socket.SocketKind) -> None:
    machine = site.machines[1]
    for address in (machine.node_address, site.plan.api_address, str(site.plan.services.network_address + 77)):
        with machine.make_socket(address, kind=kind) as made:
            made.bind((address, 0))
            assert made.getsockname()[0] == address


async def test_machines_reach_each_other(site: Site) -> None:
    here, there = site.machines[1], site.machines[2]
    with there.make_socket(there.node_address) as listener, here.make_socket(there.node_address) as caller:
        listener.bind((there.node_address, 0))
        listener.listen()
        async with asyncio.timeout(5):
            await asyncio.get_running_loop().sock_connect(caller, listener.getsockname())


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)], ids=["IPv4", "IPv6"]
)
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
async def test_sockets_fit_the_host_and_do_not_block(
    site: Site, host: str, family: socket.AddressFamily, kind: socket.SocketKind
) -> None:
    with site.machines[1].make_socket(host, kind=kind) as made:
        assert (made.family, made.type, made.getblocking()) == (family, kind, False)


async def test_a_full_range_is_a_lookup_error(site: Site) -> None:
    if site.plan is OWN_PLAN:
        pytest.skip("253 pods are for the leak test")
    for number in range(253):
        await site.attach(f"default/pet-{number}")
    with pytest.raises(LookupError, match="253"):
        await site.attach("default/one-too-many")

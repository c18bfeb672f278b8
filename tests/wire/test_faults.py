"""Cables cut and packets dropped between real sockets, in namespaces."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from petset.cluster.network import syscalls
from petset.cluster.network.addresses import OWN_PLAN
from petset.cluster.network.faults import EVERYTHING, Faults
from petset.cluster.network.kernel import probe
from petset.cluster.network.namespaces import NamespacesNetwork
from tests.inside import FABRIC, needs_namespaces, own_network

pytestmark = needs_namespaces

HERE, NEIGHBOUR, THERE = "10.244.1.2", "10.244.1.3", "10.244.2.2"
QUIET_SECONDS = 0.3
"""How long silence counts as a loss: far more than any packet takes here."""
DATAGRAMS = 300
REFUSALS = {feature.name: feature.refusal for feature in probe().features}


class Site:
    """Two pods on node 1, one on node 2; each echoes datagrams on port 7."""

    def __init__(self) -> None:
        self.faults = Faults(OWN_PLAN, Path(os.environ[FABRIC]))
        self._networks: dict[int, NamespacesNetwork] = {}
        self._places: dict[str, str] = {}
        self._echoes: list[asyncio.DatagramTransport] = []

    async def start(self) -> None:
        for number, count in ((1, 2), (2, 1)):
            network = self._networks[number] = own_network(number)
            for pod in range(count):
                place = await network.attach_pod(f"default/pet-{pod}")
                self._places[place.address] = place.namespaces["net"]
        self._places["control plane"] = "/proc/thread-self/ns/net"
        for address in (HERE, NEIGHBOUR, THERE):
            made = self.socket(address)
            made.bind((address, 7))
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(_Echo, sock=made)
            self._echoes.append(transport)

    async def close(self) -> None:
        await self.do(self.faults.heal_all)
        for transport in self._echoes:
            transport.close()
        for network in self._networks.values():
            network.close()

    async def do(self, fault: object, *arguments: object, **more: object) -> None:
        assert callable(fault)
        await asyncio.to_thread(fault, *arguments, **more)

    def socket(self, where: str) -> socket.socket:
        with syscalls.visiting(self._places[where]):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        return made

    async def reaches(self, source: str, destination: str) -> bool:
        """Whether a datagram and its echo get through."""
        return await self.share(source, destination, 1) == 1.0

    def listener(self, where: str, address: str) -> socket.socket:
        made = self.socket(where)
        made.bind((address, 0))
        return made

    async def seconds(self, source: str, destination: str, count: int = 50) -> float:
        """How long datagrams of 1,000 bytes are under way to another place, all sent at once."""
        address = OWN_PLAN.control_plane_address if destination == "control plane" else destination
        with self.listener(destination, address) as there, self.socket(source) as line:
            line.connect(there.getsockname())
            started = time.monotonic()
            for _ in range(count):
                line.send(bytes(972))  # and 28 bytes of headers
            async with asyncio.timeout(10):
                for _ in range(count):
                    await asyncio.get_running_loop().sock_recv(there, 2000)
            return time.monotonic() - started

    async def soon_reaches(self, source: str, destination: str) -> bool:
        """The same, within some tries: the kernel takes up to a second to notice a cable that is plugged in."""
        for _ in range(20):
            if await self.reaches(source, destination):
                return True
        return False

    async def share(self, source: str, destination: str, count: int) -> float:
        """How many datagrams come back."""
        loop = asyncio.get_running_loop()
        with self.socket(source) as line:
            line.connect((destination, 7))
            counting = asyncio.create_task(_count(line, count))
            for number in range(count):
                await loop.sock_sendall(line, str(number).encode())
                await asyncio.sleep(0)  # let the others keep up: lost means dropped on the way
            return await counting / count


async def _count(line: socket.socket, most: int) -> int:
    """How many datagrams arrive before it is quiet."""
    received = 0
    with contextlib.suppress(TimeoutError, OSError):
        while received < most:
            async with asyncio.timeout(QUIET_SECONDS):
                await asyncio.get_running_loop().sock_recv(line, 100)
            received += 1
    return received


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.transport.sendto(data, address)  # type: ignore[attr-defined]  # asyncio hands a DatagramTransport


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.start()
    yield site
    await site.close()


async def test_a_node_that_is_cut_off_keeps_its_own_pods_together_until_it_is_healed(site: Site) -> None:
    await site.do(site.faults.cut_node, 1)
    assert await site.reaches(HERE, NEIGHBOUR)
    assert not await site.reaches(HERE, THERE)
    assert not await site.reaches("control plane", HERE)
    assert await site.reaches("control plane", THERE)
    await site.do(site.faults.heal_node, 1)
    assert await site.soon_reaches(HERE, THERE)
    assert await site.soon_reaches("control plane", HERE)


@pytest.mark.parametrize("other", [NEIGHBOUR, THERE], ids=["on one node", "on two nodes"])
async def test_two_pods_that_are_cut_apart_reach_everybody_else(site: Site, other: str) -> None:
    third = THERE if other == NEIGHBOUR else NEIGHBOUR
    await site.do(site.faults.cut, HERE, other)
    assert not await site.reaches(HERE, other)
    assert await site.reaches(HERE, third)
    assert await site.reaches(third, other)
    assert await site.reaches("control plane", other)
    await site.do(site.faults.heal_cut, HERE, other)
    assert await site.reaches(HERE, other)


@pytest.mark.parametrize("sender", [NEIGHBOUR, THERE, "control plane"])
async def test_a_one_way_cut_lets_the_other_way_pass(site: Site, sender: str) -> None:
    """Datagrams from the other side arrive, their echoes do not."""
    other = OWN_PLAN.control_plane_address if sender == "control plane" else sender
    await site.do(site.faults.cut, HERE, other, one_way=True)
    loop = asyncio.get_running_loop()
    with site.socket(HERE) as listener, site.socket(sender) as line:
        listener.bind((HERE, 9))
        line.connect((HERE, 9))
        line.send(b"hello")
        async with asyncio.timeout(5):
            data, peer = await loop.sock_recvfrom(listener, 100)
        assert (data, peer[0]) == (b"hello", other)
        listener.sendto(b"lost", peer)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(QUIET_SECONDS):
                await loop.sock_recv(line, 100)


async def test_two_nodes_that_are_cut_apart_both_see_the_control_plane(site: Site) -> None:
    nodes = site.faults.node(1), site.faults.node(2)
    await site.do(site.faults.cut, *nodes)
    assert not await site.reaches(HERE, THERE)
    assert await site.reaches(HERE, NEIGHBOUR)
    assert await site.reaches("control plane", HERE)
    assert await site.reaches("control plane", THERE)
    await site.do(site.faults.heal_cut, *nodes)
    assert await site.reaches(HERE, THERE)


async def test_a_node_cut_from_everything_keeps_its_own_pods_together(site: Site) -> None:
    await site.do(site.faults.cut, EVERYTHING, site.faults.node(1))
    assert await site.reaches(HERE, NEIGHBOUR)
    assert not await site.reaches(HERE, THERE)
    assert not await site.reaches("control plane", HERE)
    await site.do(site.faults.heal_cut, EVERYTHING, site.faults.node(1))
    assert await site.reaches(HERE, THERE)
    assert await site.reaches("control plane", HERE)


@pytest.mark.parametrize("whose", ["node", "pod"])
async def test_the_control_plane_is_an_endpoint(site: Site, whose: str) -> None:
    end = site.faults.node(1) if whose == "node" else HERE
    await site.do(site.faults.cut, end, site.faults.api_server)
    assert not await site.reaches("control plane", HERE)
    assert await site.reaches("control plane", NEIGHBOUR) == (whose == "pod")
    assert await site.reaches("control plane", THERE)
    assert await site.reaches(HERE, THERE)


async def test_dns_is_cut_without_the_rest_of_the_control_plane(site: Site) -> None:
    with site.listener("control plane", OWN_PLAN.dns_address) as dns, site.socket(HERE) as line:
        line.connect(dns.getsockname())
        loop = asyncio.get_running_loop()
        for cut in (site.faults.cut, site.faults.heal_cut):
            await site.do(cut, HERE, site.faults.dns)
            line.send(cut.__name__.encode())
        async with asyncio.timeout(5):
            assert await loop.sock_recv(dns, 100) == b"heal_cut"
        assert await site.reaches("control plane", HERE)


async def test_a_cluster_ip_is_an_endpoint(site: Site) -> None:
    """Its packets are dropped on the client's node, whoever would carry them on."""
    network = own_network(1)
    with network.make_socket("10.96.0.1", kind=socket.SOCK_DGRAM) as service, site.socket(HERE) as line:
        service.bind(("10.96.0.1", 0))
        line.connect(service.getsockname())
        for cut in (site.faults.cut, site.faults.heal_cut):
            await site.do(cut, HERE, "10.96.0.1")
            line.send(cut.__name__.encode())
        async with asyncio.timeout(5):
            assert await asyncio.get_running_loop().sock_recv(service, 100) == b"heal_cut"
    network.close()


@pytest.mark.parametrize(
    ("other", "share", "least", "most"),
    [
        pytest.param(NEIGHBOUR, 0.5, 0.35, 0.65, id="half of them on one node"),
        pytest.param(THERE, 0.1, 0.8, 0.99, id="a tenth between two nodes"),
        pytest.param(EVERYTHING, 0.5, 0.35, 0.65, id="half of them to everybody"),
    ],
)
async def test_a_share_of_packets_is_lost_once(site: Site, other: str, share: float, least: float, most: float) -> None:
    to = THERE if other == EVERYTHING else other
    await site.do(site.faults.drop, HERE, other, share=share)
    assert least < await site.share(HERE, to, DATAGRAMS) < most
    await site.do(site.faults.drop, HERE, other, share=1.0)
    assert not await site.reaches(HERE, to)
    await site.do(site.faults.heal_drop, HERE, other)
    assert await site.share(HERE, to, DATAGRAMS) == 1.0


async def test_faults_of_two_kinds_are_healed_one_by_one(site: Site) -> None:
    await site.do(site.faults.drop, HERE, THERE, share=1.0)
    await site.do(site.faults.cut, HERE, THERE)
    await site.do(site.faults.heal_cut, HERE, THERE)
    assert not await site.reaches(HERE, THERE)
    await site.do(site.faults.heal_drop, HERE, THERE)
    assert await site.reaches(HERE, THERE)


@pytest.mark.parametrize("other", [NEIGHBOUR, THERE], ids=["on one node", "on two nodes"])
async def test_a_limited_line_is_slow_one_way_and_only_it(site: Site, other: str) -> None:
    """50 datagrams of 1,000 bytes take 0.4 s at 1,000 kbit/s."""
    third = THERE if other == NEIGHBOUR else NEIGHBOUR
    await site.do(site.faults.limit, HERE, other, kbit_per_second=1000)
    assert await site.seconds(HERE, other) > 0.35
    assert await site.seconds(HERE, third) < 0.3
    assert await site.seconds(other, HERE) < 0.3
    await site.do(site.faults.limit, HERE, other, kbit_per_second=1_000_000)
    assert await site.seconds(HERE, other) < 0.3
    await site.do(site.faults.limit, HERE, other, kbit_per_second=1000)
    await site.do(site.faults.heal_limit, HERE, other)
    assert await site.seconds(HERE, other) < 0.3


async def test_what_a_node_sends_is_limited_as_a_whole_and_so_is_the_control_plane(site: Site) -> None:
    await site.do(site.faults.limit, site.faults.node(1), EVERYTHING, kbit_per_second=1000)
    assert await site.seconds(HERE, THERE) > 0.35
    await site.do(site.faults.heal, site.faults.node(1), EVERYTHING)
    assert await site.seconds(HERE, THERE) < 0.3
    await site.do(site.faults.limit, site.faults.api_server, THERE, kbit_per_second=1000)
    assert await site.seconds("control plane", THERE) > 0.35
    assert await site.seconds("control plane", HERE) < 0.3


async def test_packets_come_later_or_the_kernel_says_why_not(site: Site) -> None:
    if refusal := REFUSALS["netem"]:
        with pytest.raises(OSError, match="built without netem"):
            await site.do(site.faults.delay, HERE, THERE, delay_ms=80)
        assert "built without netem" in refusal
    else:
        await site.do(site.faults.limit, HERE, THERE, kbit_per_second=1_000_000)
        await site.do(site.faults.delay, HERE, THERE, delay_ms=80)
        assert await site.seconds(HERE, THERE, count=1) >= 0.08
        await site.do(site.faults.heal_delay, HERE, THERE)
    assert await site.seconds(HERE, THERE, count=1) < 0.08


async def test_everything_is_healed_at_once_also_by_somebody_else(site: Site) -> None:
    await site.do(site.faults.cut_node, 2)
    await site.do(site.faults.cut, HERE, NEIGHBOUR)
    await site.do(site.faults.drop, HERE, site.faults.api_server, share=1.0)
    await site.do(site.faults.limit, HERE, NEIGHBOUR, kbit_per_second=100)
    await site.do(Faults(OWN_PLAN, Path(os.environ[FABRIC])).heal_all)
    assert await site.seconds(HERE, NEIGHBOUR) < 0.3
    assert await site.soon_reaches(HERE, THERE)
    assert await site.reaches("control plane", HERE)


async def test_healing_what_is_whole_is_no_error(site: Site) -> None:
    for heal in (site.faults.heal_cut, site.faults.heal_drop, site.faults.heal_limit, site.faults.heal_delay):
        await site.do(heal, HERE, THERE)
    await site.do(site.faults.heal_limit, HERE, "10.244.1.99")
    await site.do(site.faults.heal_node, 1)


@pytest.mark.parametrize(
    ("fault", "arguments", "error"),
    [
        pytest.param("cut", (HERE, "192.0.2.1"), ValueError, id="not of this cluster"),
        pytest.param("cut", (HERE, "10.244.77.1"), ValueError, id="of a node that is not there"),
        pytest.param("cut", (HERE, "pet-0"), ValueError, id="not an address"),
        pytest.param("cut_node", (77,), LookupError, id="no such cable"),
        pytest.param("node", (77,), LookupError, id="no such node"),
        pytest.param("limit", (HERE, "10.244.1.99"), LookupError, id="no such pod"),
        pytest.param("limit", (HERE, "10.244.1.0/24"), ValueError, id="a range within one node"),
    ],
)
async def test_what_is_no_endpoint_is_refused(
    site: Site, fault: str, arguments: tuple[object, ...], error: type[Exception]
) -> None:
    more = {"kbit_per_second": 100} if fault == "limit" else {}
    with pytest.raises(error):
        await site.do(getattr(site.faults, fault), *arguments, **more)


async def test_a_cut_takes_milliseconds(site: Site) -> None:
    await site.do(site.faults.cut, HERE, THERE)
    started = time.monotonic()
    await site.do(site.faults.cut, HERE, NEIGHBOUR)
    assert time.monotonic() - started < 1.0

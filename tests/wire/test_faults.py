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
from petset.cluster.network.faults import Faults
from petset.cluster.network.namespaces import NamespacesNetwork
from tests.inside import FABRIC, needs_namespaces, own_network

pytestmark = needs_namespaces

HERE, NEIGHBOUR, THERE = "10.244.1.2", "10.244.1.3", "10.244.2.2"
QUIET_SECONDS = 0.3
"""How long silence counts as a loss: far more than any packet takes here."""
DATAGRAMS = 400


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
    await site.do(site.faults.drop, HERE, other)
    assert not await site.reaches(HERE, other)
    assert await site.reaches(HERE, third)
    assert await site.reaches(third, other)
    assert await site.reaches("control plane", other)
    await site.do(site.faults.heal, HERE, other)
    assert await site.reaches(HERE, other)


async def test_a_cut_is_one_way(site: Site) -> None:
    """Datagrams from the other side arrive, their echoes do not."""
    await site.do(site.faults.drop, HERE, THERE)
    loop = asyncio.get_running_loop()
    with site.socket(HERE) as listener, site.socket(THERE) as sender:
        listener.bind((HERE, 9))
        sender.connect((HERE, 9))
        sender.send(b"hello")
        async with asyncio.timeout(5):
            data, peer = await loop.sock_recvfrom(listener, 100)
        assert (data, peer[0]) == (b"hello", THERE)
        listener.sendto(b"lost", peer)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(QUIET_SECONDS):
                await loop.sock_recv(sender, 100)


async def test_two_nodes_that_are_cut_apart_both_see_the_control_plane(site: Site) -> None:
    await site.do(site.faults.cut_nodes, 1, 2)
    assert not await site.reaches(HERE, THERE)
    assert await site.reaches(HERE, NEIGHBOUR)
    assert await site.reaches("control plane", HERE)
    assert await site.reaches("control plane", THERE)
    await site.do(site.faults.heal_nodes, 1, 2)
    assert await site.reaches(HERE, THERE)


@pytest.mark.parametrize(("share", "least", "most"), [(0.5, 0.3, 0.7), (0.1, 0.75, 0.99)])
async def test_a_share_of_packets_is_lost(site: Site, share: float, least: float, most: float) -> None:
    await site.do(site.faults.drop, HERE, THERE, share=share)
    assert least < await site.share(HERE, THERE, DATAGRAMS) < most
    await site.do(site.faults.drop, HERE, THERE, share=1.0)
    assert not await site.reaches(HERE, THERE)
    await site.do(site.faults.heal, HERE, THERE)
    assert await site.share(HERE, THERE, DATAGRAMS) == 1.0


async def test_everything_is_healed_at_once(site: Site) -> None:
    await site.do(site.faults.cut_node, 2)
    await site.do(site.faults.drop, HERE, NEIGHBOUR)
    await site.do(site.faults.heal_all)
    assert await site.reaches(HERE, NEIGHBOUR)
    assert await site.soon_reaches(HERE, THERE)


async def test_healing_what_is_whole_is_no_error(site: Site) -> None:
    await site.do(site.faults.heal, HERE, THERE)
    await site.do(site.faults.heal_node, 1)


@pytest.mark.parametrize("address", ["192.0.2.1", "10.244.77.1", "10.96.0.1"])
async def test_only_nodes_and_pods_can_be_cut(site: Site, address: str) -> None:
    with pytest.raises((ValueError, OSError)):
        await site.do(site.faults.drop, HERE, address)


async def test_a_cut_takes_milliseconds(site: Site) -> None:
    await site.do(site.faults.drop, HERE, THERE)
    started = time.monotonic()
    await site.do(site.faults.drop, HERE, NEIGHBOUR)
    assert time.monotonic() - started < 1.0

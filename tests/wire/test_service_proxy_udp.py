"""UDP through the relay of the service proxy: its bounds. The rest: tests/contract/test_service_proxy.py."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any, cast

from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.node.service_sockets import ServiceSockets
from petset.cluster.node.service_table import Backends, Endpoint, Frontend
from petset.cluster.node.service_udp import UdpFrontend
from tests.wire.service_kit import (
    PATIENCE_SECONDS,
    PLAN,
    PODS,
    UDP_PORT,
    until,
)


class Echo(asyncio.DatagramProtocol):
    """Answers every datagram with its own address and the datagram."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        own = self.transport.get_extra_info("sockname")[0]
        self.transport.sendto(f"{own} ".encode() + data, addr)


@asynccontextmanager
async def udp_pods(*addresses: str) -> AsyncIterator[dict[str, asyncio.DatagramTransport]]:
    loop = asyncio.get_running_loop()
    made = {
        address: (await loop.create_datagram_endpoint(Echo, local_addr=(address, UDP_PORT)))[0] for address in addresses
    }
    try:
        yield made
    finally:
        for transport in made.values():
            transport.close()


async def say(client: socket.socket, text: str) -> str:
    """What a datagram is answered with; "" when the port is closed."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await loop.sock_sendall(client, text.encode())
            return (await loop.sock_recv(client, 100)).decode()
    except ConnectionRefusedError:
        return ""


def udp_client(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.connect((address, UDP_PORT))
    return made


@asynccontextmanager
async def udp_frontend(*addresses: str, **limits: Any) -> AsyncIterator[str]:
    frontend = Frontend(str(PLAN.services[9 * 256 + 2]), UDP_PORT, "UDP")
    network = LoopbackNetwork(PLAN, 1)
    with ExitStack() as resources:
        bound = ServiceSockets(network, PLAN).bind(frontend, resources)
        backends = Backends(tuple(Endpoint(address, UDP_PORT) for address in addresses))
        made = UdpFrontend(bound, backends, network, turn=0, **limits)
        try:
            yield frontend.address
        finally:
            await made.close()


async def test_a_silent_udp_flow_ends() -> None:
    async with udp_pods(*PODS[:2]), udp_frontend(*PODS[:2], flow_seconds=0.02) as address:
        with udp_client(address) as client:
            first = await say(client, "a")

            async def started_anew() -> bool:
                await asyncio.sleep(0.05)
                return await say(client, "a") != first

            await until(started_anew)


async def test_udp_flows_are_bounded_and_the_oldest_goes() -> None:
    async with udp_pods(*PODS[:2]), udp_frontend(*PODS[:2], max_flows=1) as address:
        with udp_client(address) as one, udp_client(address) as two:
            first = await say(one, "a")
            assert await say(two, "a") != first
            assert await say(one, "a") == first, "a new flow, and the first endpoint's turn again"


async def test_a_udp_endpoint_that_died_costs_a_datagram_and_not_the_frontend() -> None:
    async with udp_frontend(*PODS[:2]) as address:
        with udp_client(address) as client:
            async with udp_pods(PODS[1]):

                async def reached() -> bool:
                    client.send(b"x")
                    await asyncio.sleep(0.02)
                    with suppress(BlockingIOError):
                        return client.recv(100).decode() == f"{PODS[1]} x"
                    return False

                await until(reached)

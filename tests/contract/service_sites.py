"""Nodes with pods and service proxies, of each kind that there is: what the contract of service proxies stands on.

Site ── pod(node) ──▶ a server on a pod's own address, TCP and UDP        ── proxies ──▶ one ServiceProxy per node
     └─ client sockets in a pod, on a node                                 API in the same process
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.assemble.service_proxy import kernel_or_relays, make_service_proxy, relays
from petset.cluster.network import syscalls
from petset.cluster.network.addresses import OWN_PLAN, AddressPlan, loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.network.network import Network
from petset.cluster.node.service_forwarding import ForwardingMaker
from tests.apis import new_api
from tests.inside import FABRIC, own_network

SLOT = 61
"""A slot that no cluster takes before 61 others: relays share their ports with relays of the same slot."""
PORT = 18080
PATIENCE_SECONDS = 10.0
RESEND_SECONDS = 0.3

SocketMaker = Callable[[socket.SocketKind], socket.socket]


@dataclass(frozen=True)
class Pod:
    """A server that greets a TCP client with its own and the client's address and then echoes until the client's end
    of stream, and answers datagrams with its address. `make_socket`: a client inside of the pod."""

    address: str
    node: str
    make_socket: SocketMaker


class Echo(asyncio.DatagramProtocol):
    """Answers every datagram with the server's address and the datagram."""

    def __init__(self, address: str) -> None:
        self._address = address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(f"{self._address} ".encode() + data, addr)


class Site:
    """Nodes 1 to 3, until the stack closes."""

    def __init__(self, kind: str, stack: AsyncExitStack) -> None:
        self.kind = kind
        self._stack = stack
        self._has_namespaces = "namespaces" in kind
        self.plan: AddressPlan = OWN_PLAN if self._has_namespaces else loopback_plan(SLOT)
        self._networks: dict[int, Network] = {}
        self._pod_count = 0

    async def network(self, number: int) -> Network:
        if number not in self._networks:
            made = own_network(number) if self._has_namespaces else LoopbackNetwork(self.plan, number)
            self._networks[number] = made
            self._stack.callback(made.close)
        return self._networks[number]

    async def node_socket(self, number: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        return (await self.network(number)).make_socket("127.0.0.1", kind=kind)

    async def pod(self, number: int = 1) -> Pod:
        """A running pod on a node."""
        network = await self.network(number)
        self._pod_count += 1
        key = f"default/pod-{self._pod_count}"
        place = await network.attach_pod(key)
        self._stack.push_async_callback(network.detach_pod, key)

        def make_socket(kind: socket.SocketKind) -> socket.socket:
            if not place.namespaces:
                return network.make_socket("127.0.0.1", kind=kind)
            with syscalls.visiting(place.namespaces["net"]):
                made = socket.socket(socket.AF_INET, kind)
            made.setblocking(False)
            return made

        made = Pod(place.address, f"node-{number}", make_socket)
        await self._serve(made)
        return made

    async def _serve(self, pod: Pod) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                writer.write(f"{pod.address} {writer.get_extra_info('peername')[0]}\n".encode())
                while chunk := await reader.read(1 << 16):
                    if chunk == b"slam":
                        writer.get_extra_info("socket").setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
                        )
                        break
                    writer.write(chunk)
                    await writer.drain()
                else:
                    writer.write(b"bye")
            writer.close()

        stream, datagrams = pod.make_socket(socket.SOCK_STREAM), pod.make_socket(socket.SOCK_DGRAM)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for bound in (stream, datagrams):
            bound.bind((pod.address, PORT))
        server = await asyncio.start_server(serve, sock=stream)
        self._stack.callback(server.close)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: Echo(pod.address), sock=datagrams)
        self._stack.callback(transport.close)

    async def answer(self, *objects: Object, nodes: tuple[int, ...] = (1,)) -> tuple[LoopbackClient, str]:
        """A client, and the cluster IP of the service `web`, with a proxy per node in step."""
        client = LoopbackClient(await new_api(addresses=self.plan))
        for obj in objects:
            await client.create(obj)
        for number in nodes:
            await self._stack.enter_async_context(self.proxy(client, number))
        return client, (await client.get("Service", "web", "default"))["spec"]["clusterIP"]

    @asynccontextmanager
    async def proxy(self, client: LoopbackClient, number: int) -> AsyncIterator[None]:
        network = await self.network(number)
        made = make_service_proxy(
            client, node_name=f"node-{number}", network=network, make_forwarding=self._forwarding(network, number)
        )
        task = asyncio.create_task(made.run(), name=f"proxy {number}")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await made.synced.wait()
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            if "kernel" in self.kind:
                self._clear(number)

    @contextmanager
    def bridge_calls(self, number: int, value: str) -> Iterator[None]:
        """Whether the bridges of a node show netfilter what they carry from port to port ("1"), or not ("0")."""
        switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
        with syscalls.visiting(str(_namespace(number))):
            before = switch.read_text()
            switch.write_text(value)
        try:
            yield
        finally:
            with syscalls.visiting(str(_namespace(number))):
                switch.write_text(before)

    def _forwarding(self, network: Network, number: int) -> ForwardingMaker:
        if "relay" in self.kind:
            return relays(network, self.plan)
        pods = self.plan.pod_range(number)
        return kernel_or_relays(network, self.plan, namespace=_namespace(number), pods=pods)

    def _clear(self, number: int) -> None:
        """Rules outlive their proxy: the next test's begins without them."""
        from concurrent.futures import ThreadPoolExecutor

        from petset.cluster.network.service_rules import ServiceRules

        def open_anew() -> None:
            with (
                syscalls.visiting(str(_namespace(number))),
                ServiceRules.open(services=self.plan.services, pods=self.plan.pod_range(number)),
            ):
                pass

        with ThreadPoolExecutor(1) as thread:  # netlink must not be used on a thread with a running event loop
            thread.submit(open_anew).result()


def _namespace(number: int) -> Path:
    return Path(os.environ[FABRIC]) / f"node-{number}"


async def greeting(client: socket.socket, address: str, port: int = PORT) -> list[str]:
    """The server's and the client's address as the server of a new connection sees them; [] when it is refused."""
    loop = asyncio.get_running_loop()
    with client:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await loop.sock_connect(client, (address, port))
                return (await loop.sock_recv(client, 100)).decode().split()
        except ConnectionError:
            return []


async def said(client: socket.socket, text: str) -> str:
    """Who answers a datagram of a connected client; "" when the port is closed.

    Asks again after a while: a datagram whose flow ends while it is on its way is lost, as UDP may.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await loop.sock_sendall(client, text.encode())
                async with asyncio.timeout(RESEND_SECONDS):
                    while True:
                        server, echoed = (await loop.sock_recv(client, 100)).decode().split()
                        if echoed == text:
                            return server
            except ConnectionRefusedError:
                return ""
            except TimeoutError:
                continue

"""Probes over real sockets, which the Network makes on the node that the pod runs on.

Every probe opens a connection of its own and closes it, follows no redirects (3xx is a success) and does not check
certificates, as Kubernetes' probers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from petset.cluster.kubelet.grpc_health import HealthCall
from petset.cluster.kubelet.probes import USER_AGENT
from petset.cluster.network.network import Network

MAX_BODY_BYTES = 10 * 1024
MAX_PROBES = 256
"""Connections at a time; further probes wait, and may time out, until one is free."""


class NetworkProber:
    """The `Prober` of a node; made by `network_prober`."""

    def __init__(self, network: Network, session: aiohttp.ClientSession) -> None:
        self._network = network
        self._session = session

    async def http_get(self, url: str, headers: dict[str, str], timeout_seconds: float) -> tuple[int, str]:
        """See `Prober`. An answer that is not HTTP is an OSError."""
        async with asyncio.timeout(timeout_seconds):
            try:
                async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                    body = await response.content.read(MAX_BODY_BYTES)
                    return response.status, body.decode(errors="replace")
            except aiohttp.ClientConnectorError as error:
                raise error.os_error from None
            except (aiohttp.ClientError, ValueError) as error:  # ValueError: a header or host that cannot be sent
                raise OSError(str(error)) from error

    async def tcp_connect(self, host: str, port: int, timeout_seconds: float) -> None:
        async with asyncio.timeout(timeout_seconds), self._connected(host, port):
            return

    async def grpc_health(self, host: str, port: int, service: str, timeout_seconds: float) -> tuple[int, str]:
        """See `Prober`."""
        loop, call = asyncio.get_running_loop(), HealthCall(f"{host}:{port}", service, USER_AGENT)
        async with asyncio.timeout(timeout_seconds), self._connected(host, port) as connection:
            while call.answer is None:
                await loop.sock_sendall(connection, call.data_to_send())
                data = await loop.sock_recv(connection, MAX_BODY_BYTES)
                if not data:
                    raise ConnectionResetError("the server closed the connection before it answered")
                call.receive(data)
            return call.answer

    @asynccontextmanager
    async def _connected(self, host: str, port: int) -> AsyncIterator[socket.socket]:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        try:
            *_, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
        except UnicodeError as error:
            raise OSError(f"no host name: {error}") from error
        with self._network.make_socket(str(address[0])) as made:
            await loop.sock_connect(made, address)
            yield made


@asynccontextmanager
async def network_prober(network: Network) -> AsyncIterator[NetworkProber]:
    """A prober whose sockets live on `network`."""

    def make_socket(address_info: Any) -> socket.socket:
        return network.make_socket(str(address_info[4][0]))

    connector = aiohttp.TCPConnector(
        socket_factory=make_socket, force_close=True, ssl=False, limit=MAX_PROBES, happy_eyeballs_delay=None
    )
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        yield NetworkProber(network, session)

"""TCP through the service proxy: a listener per frontend, and a relay per connection.

    client ──▶ accept ──▶ an endpoint that takes the connection ──▶ two pumps, one per direction
                 │             │ refused, or silent for CONNECT_SECONDS: the next of `Balancer.choices`
                 │             └ none left: the client is reset
                 └ more than MAX_CONNECTIONS on this node: reset at once

A pump reads only after what it read before was taken by the other side (backpressure), and passes an end of stream on
as one (half-close): `nc` pipelines, HTTP/1.0 clients and databases that shut one direction work. A reset on one side
is a reset on the other. A connection lives until both directions have ended: it outlives its endpoint's place in the
Service, and the Service itself, as kernel connection tracking does for kube-proxy.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from contextlib import suppress

from petset.cluster.network.network import Network
from petset.cluster.node.service_table import Backends, Balancer, Endpoint

MAX_CONNECTIONS = 4096
"""Relayed at the same time by one node."""
BACKLOG = 512
CHUNK_BYTES = 1 << 16
CONNECT_SECONDS = 2.0
ACCEPT_PAUSE_SECONDS = 0.1
"""After an accept that failed: out of file descriptors, most likely."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

log = logging.getLogger(__name__)


class Relays:
    """The relayed connections of one node. Its connections end with the TaskGroup that it is given."""

    def __init__(self, network: Network, tasks: asyncio.TaskGroup, *, max_connections: int = MAX_CONNECTIONS) -> None:
        self._network = network
        self._tasks = tasks
        self._max_connections = max_connections
        self._open = 0

    def start(self, client: socket.socket, endpoints: tuple[Endpoint, ...]) -> None:
        """Relay one accepted connection to the first of these endpoints that takes it."""
        if self._open >= self._max_connections:
            log.warning("service proxy: %d connections are open, one more is reset", self._open)
            _reset(client)
            return
        self._open += 1
        task = self._tasks.create_task(self._relay(client, endpoints), name="service relay")
        # Not in the task's own `finally`: a task that is cancelled before its first step never enters it.
        task.add_done_callback(lambda _: self._ended(client))

    def _ended(self, client: socket.socket) -> None:
        self._open -= 1
        client.close()

    async def _relay(self, client: socket.socket, endpoints: tuple[Endpoint, ...]) -> None:
        server = await self._connect(endpoints)
        if server is None:
            _reset(client)
            return
        with server:
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(_pump(client, server), name="service pump up")
                    pumps.create_task(_pump(server, client), name="service pump down")
            except* OSError as errors:
                log.debug("service relay: %s", errors.exceptions[0])
                _reset(client)
                _reset(server)

    async def _connect(self, endpoints: tuple[Endpoint, ...]) -> socket.socket | None:
        for endpoint in endpoints:
            made = self._network.make_socket(endpoint.address)
            try:
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                async with asyncio.timeout(CONNECT_SECONDS):
                    await asyncio.get_running_loop().sock_connect(made, (endpoint.address, endpoint.port))
            except OSError as error:  # TimeoutError is one
                log.debug("service relay: %s:%d: %s", endpoint.address, endpoint.port, error)
                made.close()
            except asyncio.CancelledError:
                made.close()
                raise
            else:
                return made
        return None


class TcpListener:
    """One listening frontend. Takes over the socket, which must be listening."""

    def __init__(self, listener: socket.socket, backends: Backends, relays: Relays, *, turn: int) -> None:
        self._balancer = Balancer(backends, turn=turn)
        self._relays = relays
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept(), name="service accept")
        # Closed only when nobody waits on it any more: an event loop must not poll a number that is used anew.
        self._accepting.add_done_callback(lambda _: listener.close())

    async def update(self, backends: Backends) -> None:
        """Send further connections to these endpoints."""
        self._balancer.backends = backends

    async def close(self) -> None:
        """Stop listening; what was accepted goes on."""
        self._accepting.cancel()
        await asyncio.wait({self._accepting})

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, (address, *_) = await loop.sock_accept(self._listener)
            except OSError as error:
                log.warning("service proxy cannot accept: %s", error)
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._relays.start(client, self._balancer.choices(address))


async def _pump(source: socket.socket, sink: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while chunk := await loop.sock_recv(source, CHUNK_BYTES):
        await loop.sock_sendall(sink, chunk)
    with suppress(OSError):  # The other direction may have ended the connection already.
        sink.shutdown(socket.SHUT_WR)


def _reset(connection: socket.socket) -> None:
    """Close so that the peer sees ECONNRESET, not an orderly end."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    connection.close()

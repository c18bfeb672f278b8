"""DNS on sockets: UDP and TCP on one explicit address, bytes in and bytes out.

    bind(host, port) ──▶ BoundSockets ──▶ serve(sockets, respond): until cancelled
                                           ├─ UDP   a thread of its own (datagrams.py, batches.py)
                                           └─ TCP   a task per connection: length, query, length, response, …

Binding is apart from serving: a port that is taken or forbidden is the caller's error, at once, and the port is known
before the first await. From then on the kernel queues what arrives, so nothing sent after `bind` is lost.

Guarantees: no packet ends the server; a response that cannot be made is logged and left out. Bounds: MAX_CONNECTIONS
(a further one is closed at once), IDLE_SECONDS per query of a connection, response included (a client that sends its
query byte by byte does not get more), and the kernel's buffers for datagrams.

The address is explicit because a socket on 0.0.0.0 answers from an address of the kernel's choice, which a connected
client never sees.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from petset.dns.datagrams import Loop, Source, answer_one_by_one

Respond = Callable[[bytes], Awaitable[bytes | None]]
"""A query that came by TCP -> the response, or None for silence."""

MAX_CONNECTIONS = 128
IDLE_SECONDS = 10.0
RECEIVE_BUFFER_BYTES = 4 << 20
"""Holds some ten thousand queries while the loop is busy; the system's default holds 256."""
WAKE_SECONDS = 0.05
"""How often a loop that was told to stop is woken again."""
PORT_TRIES = 10
"""How many free UDP ports are tried for one that is free for TCP too, when any port will do."""

log = logging.getLogger(__name__)


class SocketMaker(Protocol):
    """Makes a non-blocking socket of the family that `host` needs, such as `Network.make_socket`."""

    def __call__(self, host: str, *, kind: socket.SocketKind) -> socket.socket: ...


def make_host_socket(host: str, *, kind: socket.SocketKind) -> socket.socket:
    """A socket on this process's own network."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    made.setblocking(False)
    return made


@dataclass(frozen=True)
class BoundSockets:
    """One address and port, bound for UDP and listening for TCP. A context manager that closes both."""

    datagrams: socket.socket
    connections: socket.socket

    @property
    def port(self) -> int:
        return int(self.datagrams.getsockname()[1])

    def __enter__(self) -> BoundSockets:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.datagrams.close()
        self.connections.close()


def bind(host: str, port: int, *, make_socket: SocketMaker = make_host_socket) -> BoundSockets:
    """Take `host`:`port` for both transports; port 0 is any free one. Raises OSError when that is not to be had."""
    for _ in range(PORT_TRIES):
        datagrams = _bound(host, port, kind=socket.SOCK_DGRAM, make_socket=make_socket)
        try:
            taken = datagrams.getsockname()[1]
            connections = _bound(host, taken, kind=socket.SOCK_STREAM, make_socket=make_socket)
        except OSError as error:
            datagrams.close()
            # The free UDP port may be somebody's TCP port: then another one.
            if port == 0 and error.errno == errno.EADDRINUSE:
                continue
            raise
        return BoundSockets(datagrams, connections)
    raise OSError(errno.EADDRINUSE, f"no port of {host} is free for both UDP and TCP")


def _bound(host: str, port: int, *, kind: socket.SocketKind, make_socket: SocketMaker) -> socket.socket:
    made = make_socket(host, kind=kind)
    try:
        if kind == socket.SOCK_STREAM:
            # Connections of an earlier run that linger in TIME_WAIT must not hold the port.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, port))
            made.listen(MAX_CONNECTIONS)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


async def serve(
    sockets: BoundSockets,
    source: Source,
    respond: Respond,
    *,
    loop: Loop = answer_one_by_one,
    max_connections: int = MAX_CONNECTIONS,
    idle_seconds: float = IDLE_SECONDS,
) -> None:
    """Answer on both sockets until cancelled: datagrams from `source`, connections by `respond`.

    `source` is used from another thread. When the UDP loop ends by itself, a group with its OSError is raised.
    """
    async with _datagram_thread(sockets.datagrams, source, loop) as ended, asyncio.TaskGroup() as tasks:
        connections = _Connections(respond, tasks, max_connections=max_connections, idle_seconds=idle_seconds)
        server = await asyncio.start_server(connections.accept, sock=sockets.connections)
        try:
            await ended
        finally:
            # Not `async with server`: from Python 3.12 on that waits for the connections, which the TaskGroup
            # ends only after this block.
            server.close()


@asynccontextmanager
async def _datagram_thread(bound: socket.socket, source: Source, loop: Loop) -> AsyncIterator[asyncio.Future[None]]:
    """Run the UDP loop in a thread; the future fails when it ends before it is told to."""
    bound.setblocking(True)
    events = asyncio.get_running_loop()
    ended: asyncio.Future[None] = events.create_future()
    stop = threading.Event()

    def run() -> None:
        error: OSError = OSError("the DNS loop ended by itself")
        try:
            loop(bound, source, stop)
        except OSError as raised:
            error = raised
        if not stop.is_set():
            events.call_soon_threadsafe(ended.set_exception, error)

    thread = threading.Thread(target=run, name="dns datagrams", daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        stop.set()
        await _join(thread, bound)


async def _join(thread: threading.Thread, bound: socket.socket) -> None:
    """Wake the thread, which may be waiting for a datagram, with an empty one, until it has ended."""
    with socket.socket(bound.family, socket.SOCK_DGRAM) as waker:
        waker.setblocking(False)
        while thread.is_alive():
            with suppress(OSError):
                waker.sendto(b"", bound.getsockname())
            await asyncio.to_thread(thread.join, WAKE_SECONDS)


class _Connections:
    """The TCP half: accepts while there is room, one task each in the server's TaskGroup."""

    def __init__(
        self, respond: Respond, tasks: asyncio.TaskGroup, *, max_connections: int, idle_seconds: float
    ) -> None:
        self._respond = respond
        self._tasks = tasks
        self._max_connections = max_connections
        self._idle_seconds = idle_seconds
        self._open = 0

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= self._max_connections:
            writer.close()
            return
        self._open += 1
        self._tasks.create_task(self._converse(reader, writer), name="dns connection")

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Query after query, until the client leaves, is idle for too long, or sends no query (RFC 7766)."""
        try:
            while True:
                async with asyncio.timeout(self._idle_seconds):
                    query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                    response = await self._response(query)
                    if response is None:
                        return
                    writer.write(len(response).to_bytes(2, "big") + response)
                    await writer.drain()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        except TimeoutError:
            # `close` would keep a connection whose client does not read its responses.
            writer.transport.abort()
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            log.debug("a DNS connection ended: %s", type(error).__name__)
        finally:
            self._open -= 1
            writer.close()

    async def _response(self, query: bytes) -> bytes | None:
        """A bug behind one packet costs that packet its response, never the server."""
        try:
            return await self._respond(query)
        except Exception:
            log.exception("no response to a DNS packet of %d bytes by TCP", len(query))
            return None

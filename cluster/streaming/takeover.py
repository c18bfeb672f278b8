"""A connection that stops being HTTP: taken over from aiohttp by a server, or asked for by a client.

    client ── request, Upgrade: X ──▶ server
           ◀── 101 Switching Protocols ──       from here on both write what they like

aiohttp speaks WebSocket and nothing else of the kind. The server's half puts a StreamReader and StreamWriter under
the same transport and leaves aiohttp with a response that writes nothing; the client's half is a request by hand.
The writer is the caller's to close; whoever took a connection over keeps the request's handler until it is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

BUFFER_BYTES = 256 * 1024
"""Also the most that the head of an answer may have."""
MAX_REFUSAL_BYTES = 1024 * 1024
CLOSE_SECONDS = 5.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Headers = Iterable[tuple[str, str]]


class TakenOver(web.StreamResponse):
    """The response of a handler whose connection was taken over: it writes nothing, and ends the connection."""

    def __init__(self) -> None:
        super().__init__(status=101)

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        self.force_close()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class Refused(Exception):
    """The server answered something else than 101."""

    def __init__(self, status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
        super().__init__(f"HTTP status {status} instead of 101")
        self.status = status
        self.headers = headers
        self.body = body

    def header(self, name: str) -> str:
        return _header(self.headers, name)


@asynccontextmanager
async def taken_over(request: web.Request, head: bytes) -> AsyncIterator[Streams]:
    """The connection of a request as plain streams, after `head` was sent on it; closed at the block's end.

    Whoever listens to the application's `on_response_prepare` hears of it, as of any other answer.
    """
    transport, http = request.transport, request.protocol
    if transport is None:
        raise ConnectionResetError("the client is gone")
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=BUFFER_BYTES, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    try:
        await request.app.on_response_prepare.send(request, TakenOver())
        writer.write(head)
        yield reader, writer
    finally:
        await close(writer)
        # aiohttp never hears of the end by itself any more. Later, for it cancels the handler, which is us.
        loop.call_soon(http.connection_lost, None)


async def ask(streams: Streams, *, method: str, target: str, headers: Headers) -> bytes:
    """Send a request for an upgrade; answers the head of the 101. Raises Refused, ConnectionError."""
    reader, writer = streams
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    writer.write("\r\n".join(lines).encode("latin-1"))
    await writer.drain()
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        status, answered = parse_head(head)
        if status == 101:
            return head
        raise Refused(status, answered, await _refusal(reader, answered))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise ConnectionResetError(f"no HTTP answer: {error}") from error


async def connect(host: str, port: int, tls: ssl.SSLContext | None = None) -> Streams:
    """Raises OSError."""
    return await asyncio.open_connection(host, port, ssl=tls, limit=BUFFER_BYTES)


def parse_head(head: bytes) -> tuple[int, tuple[tuple[str, str], ...]]:
    """(status, headers) of a response's head. Raises ValueError."""
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(f"not an HTTP/1 answer: {first[:60]!r}")
    pairs = (line.partition(":") for line in lines)
    return int(rest[:3]), tuple((name.strip(), value.strip()) for name, _, value in pairs)


async def relay(one: Streams, other: Streams) -> None:
    """Copy bytes both ways until both ends, or one connection, are at their end."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(BUFFER_BYTES):
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
                return
        writer.close()  # TLS knows no half-closed connection: its end is the end of both directions

    copies = [asyncio.create_task(copy(one[0], other[1])), asyncio.create_task(copy(other[0], one[1]))]
    try:
        await asyncio.wait(copies)
    finally:
        for each in copies:
            each.cancel()
        await asyncio.gather(*copies, return_exceptions=True)


async def close(writer: asyncio.StreamWriter) -> None:
    """Send what is buffered and end the connection; a peer that does not take it is cut off after CLOSE_SECONDS."""
    writer.close()
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()


async def _refusal(reader: asyncio.StreamReader, headers: tuple[tuple[str, str], ...]) -> bytes:
    length = _header(headers, "Content-Length")
    if length:
        return await reader.readexactly(min(int(length), MAX_REFUSAL_BYTES))
    return b""


def _header(headers: Headers, wanted: str) -> str:
    return next((value for name, value in headers if name.lower() == wanted.lower()), "")

"""A client's connection as one byte stream, whatever carries it: the raw socket, or binary WebSocket messages.

aiohttp answers a client's pings only while somebody receives, so every session keeps reading. A client that breaks
the protocol gets the reason in the WebSocket's close; one that never reads holds up its own session and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from petset.cluster.apiserver.streams.channels import MAX_MESSAGE_BYTES, ProtocolError
from petset.cluster.streaming.takeover import BUFFER_BYTES

CLOSE_SECONDS = 5.0


class Wire(Protocol):
    """Bytes both ways."""

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""

    async def write(self, data: bytes) -> None:
        """Wait until they are on their way. Raises ConnectionError."""


class SocketWire:
    """A connection that was taken over from HTTP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(BUFFER_BYTES)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


class WebSocketWire:
    """The messages of a WebSocket; where one ends and the next begins means nothing."""

    def __init__(self, connection: web.WebSocketResponse) -> None:
        self._connection = connection

    async def read(self) -> bytes:
        while (message := await read_message(self._connection)) is not None:
            if message:
                return message
        return b""

    async def write(self, data: bytes) -> None:
        await self._connection.send_bytes(data)


async def open_websocket(request: web.Request, subprotocol: str) -> web.WebSocketResponse:
    """Accept an upgrade; `subprotocol` "" when the client asked for none."""
    connection = web.WebSocketResponse(
        protocols=(subprotocol,) if subprotocol else (),
        max_msg_size=MAX_MESSAGE_BYTES,
        compress=False,
        timeout=CLOSE_SECONDS,
    )
    await connection.prepare(request)
    return connection


async def read_message(connection: web.WebSocketResponse) -> bytes | None:
    """The next message, None at the end (whoever ended it, and however)."""
    message = await connection.receive()
    if message.type is WSMsgType.BINARY:
        return bytes(message.data)
    if message.type is WSMsgType.TEXT:
        return str(message.data).encode()
    return None


async def close_websocket(connection: web.WebSocketResponse, reason: str = "") -> None:
    """End it: code 1000, or 1002 with a reason that a human may read."""
    code = WSCloseCode.PROTOCOL_ERROR if reason else WSCloseCode.OK
    await connection.close(code=code, message=reason.encode()[:120])


def offered_protocols(request: web.Request) -> list[str]:
    """The WebSocket subprotocols that a client offers."""
    texts = request.headers.getall("Sec-WebSocket-Protocol", [])
    return [word.strip() for text in texts for word in text.split(",") if word.strip()]


def wants(request: web.Request, protocol: str) -> bool:
    """Whether the request asks for an upgrade to `websocket` or `SPDY/3.1`."""
    asked = request.headers.get("Connection", "").lower()
    return "upgrade" in asked and request.headers.get("Upgrade", "").lower() == protocol.lower()


async def until_either_ends(up: Coroutine[Any, Any, None], down: Coroutine[Any, Any, None]) -> str:
    """Run both until one ends; answers what the client did wrong, if that was the end.

    An end by ConnectionError or TimeoutError is one; every other error is raised.
    """
    tasks = [asyncio.create_task(up, name="up"), asyncio.create_task(down, name="down")]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, ProtocolError):
            return str(result)
        if isinstance(result, Exception) and not isinstance(result, (ConnectionError, TimeoutError)):
            raise result
    return ""

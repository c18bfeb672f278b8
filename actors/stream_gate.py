"""Hands the open streams of a node to its kubelet, over a Unix socket (SCM_RIGHTS), so that their bytes bypass Ray.

    kubelet actor ── Ray: open_stream(request) ──▶ node actor: makes a socket pair, serves one end
                  ◀── StreamTicket(path, token) ──            keeps the other for TICKET_SECONDS
                  ── token ──▶ <run folder>/<node>.sock
                  ◀── the socket itself ──

After that, kubelet and node share a socket and nothing else; errors of opening arrive as the Ray call's. Only this
user reaches the gate (the run folder is 0700), and only a token opens it, once.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from petset.cluster.errors import Unavailable

TICKET_SECONDS = 10.0
_TOKEN_BYTES = 128


@dataclass(frozen=True)
class StreamTicket:
    """Where to fetch a stream, and what to say there."""

    path: str
    token: str


class StreamGate:
    """The gate of one node; `open` listens."""

    def __init__(self, run_folder: str, node_name: str) -> None:
        self._path = Path(run_folder) / f"{node_name}.sock"
        self._streams: dict[str, socket.socket] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serve tickets until the block ends; a predecessor's socket is replaced."""
        self._path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._answer, self._path, limit=_TOKEN_BYTES)
        try:
            async with server:
                yield
        finally:
            for token in [*self._streams]:
                self._drop(token)

    def offer(self, stream: socket.socket) -> StreamTicket:
        """Keep a stream for whoever comes with the ticket; too late, it is closed."""
        token = secrets.token_hex(32)
        self._streams[token] = stream
        asyncio.get_running_loop().call_later(TICKET_SECONDS, self._drop, token)
        return StreamTicket(str(self._path), token)

    def _drop(self, token: str) -> None:
        if stream := self._streams.pop(token, None):
            stream.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TICKET_SECONDS):
                token = (await reader.readline()).decode().strip()
            stream = self._streams.pop(token, None)
            if stream is None:
                return
            # Over the raw socket, because transports carry bytes only. One small message always fits its buffer.
            with stream, writer.get_extra_info("socket").dup() as raw:
                socket.send_fds(raw, [b"ok"], [stream.fileno()])
        except (TimeoutError, OSError, ValueError):
            return  # the asker is gone, or no kubelet
        finally:
            writer.close()


async def fetch_stream(ticket: StreamTicket) -> socket.socket:
    """The stream behind a ticket. Raises Unavailable when the node is gone meanwhile."""
    return await asyncio.to_thread(_fetch, ticket)


def _fetch(ticket: StreamTicket) -> socket.socket:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TICKET_SECONDS)
        try:
            connection.connect(ticket.path)
            connection.sendall(ticket.token.encode() + b"\n")
            answer, descriptors, _flags, _address = socket.recv_fds(connection, _TOKEN_BYTES, 1)
        except OSError as error:
            raise Unavailable(f"the node's stream is gone: {error}") from error
    if answer != b"ok" or not descriptors:
        raise Unavailable("the node's stream is gone")
    stream = socket.socket(fileno=descriptors[0])
    stream.setblocking(False)
    return stream

"""The supervisor's line to the command that started it: one socket pair, JSON lines.

    supervisor ─▶ command   {"phase": "ray" | "api-server" | "controller" | "nodes" | "ready"}, in this order
                            {"note": "…"}     something the user may want to know
                            {"error": "…"}    why the cluster ends; nothing follows
    command ─▶ supervisor   {"detach": true}  live on without me

The line's end without a `detach` before it means that the command died, however it died: the cluster stops with it.
Telling never blocks and never fails: a command that does not read loses messages, not the cluster. Notes and errors
are logged as well.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import Any

_log = logging.getLogger(__name__)


class Link:
    """The supervisor's end. Without a socket (started by hand), messages go nowhere and nobody ever hangs up."""

    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection
        if connection is not None:
            connection.setblocking(False)

    def phase(self, name: str) -> None:
        self._tell({"phase": name})

    def note(self, text: str) -> None:
        _log.warning(text)
        self._tell({"note": text})

    def error(self, text: str) -> None:
        _log.error(text)
        self._tell({"error": text})

    async def hung_up(self) -> bool:
        """Wait for the other end: True when it went without a word, False when it said `detach`."""
        if self._connection is None:
            return False
        loop, received = asyncio.get_running_loop(), b""
        while chunk := await _receive(loop, self._connection):
            received += chunk
            if b"\n" in received:
                return not json.loads(received.partition(b"\n")[0]).get("detach", False)
        return True

    def _tell(self, message: dict[str, Any]) -> None:
        if self._connection is None:
            return
        try:
            self._connection.send(json.dumps(message).encode() + b"\n")
        except OSError:
            return  # nobody listens any more, or too slowly; hung_up() says so if it matters


async def _receive(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> bytes:
    try:
        return await loop.sock_recv(connection, 1024)
    except ConnectionError:
        return b""

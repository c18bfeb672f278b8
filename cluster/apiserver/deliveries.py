"""Writes that wait for a client to read: how long, and what happens then.

The kernel's buffers fill, then aiohttp's, then a write waits. A client that takes nothing for WRITE_SECONDS is cut off,
so that nobody can hold an answer in the server's memory for longer; one that reads slowly may take its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from aiohttp import web

WRITE_SECONDS = 30.0
LARGE_BYTES = 64 * 1024
"""An answer up to this size never waits: the buffers take it."""


async def delivered(request: web.Request, write: Coroutine[Any, Any, None], *, seconds: float) -> bool:
    """Write, and wait while the client takes some of it every `seconds`; False when it would not, and is gone now."""
    writing = asyncio.ensure_future(write)
    try:
        await asyncio.sleep(0)
        unsent = _unsent_bytes(request)
        while True:
            done, _ = await asyncio.wait({writing}, timeout=seconds)
            if done:
                writing.result()
                return True
            if (left := _unsent_bytes(request)) >= unsent:
                break
            unsent = left
    finally:
        if not writing.done():
            writing.cancel()
    if request.transport is not None:
        request.transport.abort()
    return False


async def deliver(request: web.Request, response: web.StreamResponse, *, seconds: float) -> None:
    """Send a whole answer now if it is a large one, or end the connection of a client that does not take it."""
    body = response.body if isinstance(response, web.Response) else None
    if not isinstance(body, (bytes, bytearray)) or len(body) <= LARGE_BYTES:
        return

    async def write() -> None:
        await response.prepare(request)
        await response.write_eof()

    with suppress(ConnectionError):  # the client left: aiohttp finds out by itself
        await delivered(request, write(), seconds=seconds)


def _unsent_bytes(request: web.Request) -> int:
    return 0 if request.transport is None else request.transport.get_write_buffer_size()

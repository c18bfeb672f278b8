"""A watch on the wire: one JSON event per line, until the client leaves, its time is up or history is lost.

A client that does not read is cut off: the kernel's buffers fill, then a write waits, and after WRITE_SECONDS the
connection is ended. Meanwhile its changes wait in the store's bounded queue, so that it delays nobody.
"""

from __future__ import annotations

import asyncio

import orjson
from aiohttp import web

from petset.cluster.api.kinds import Kind
from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.options import WatchOptions
from petset.cluster.apiserver.rendering import form_of, render_event
from petset.cluster.apiserver.watch import watching
from petset.cluster.errors import Expired

WRITE_SECONDS = 30.0
"""How long one event may wait for a client to take it."""


async def stream_watch(
    api: Api, request: web.Request, kind: Kind, namespace: str, *, options: WatchOptions, write_seconds: float
) -> web.StreamResponse:
    """Answer a watch request to its end."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    try:
        with watching(api.backend, kind, namespace, options) as events:
            await response.prepare(request)
            form, include = form_of(request.headers.get("Accept", "")), request.query.get("includeObject", "")
            first = True
            async with asyncio.timeout(options.timeout_seconds):
                async for event in events:
                    now = api.clock.now()
                    shown = render_event(kind, event, form=form, include=include, now=now, first=first)
                    if not await _written(request, response, shown, write_seconds):
                        return response
                    first = first and event.type == "BOOKMARK"
    except TimeoutError:
        pass
    except Expired as error:
        await response.prepare(request)
        await _written(request, response, {"type": "ERROR", "object": error.to_status()}, write_seconds)
    await response.write_eof()
    return response


async def _written(request: web.Request, response: web.StreamResponse, event: object, seconds: float) -> bool:
    """Send one event; False when the client would not take it, and is gone now."""
    writing = asyncio.ensure_future(response.write(orjson.dumps(event) + b"\n"))
    try:
        done, _ = await asyncio.wait({writing}, timeout=seconds)
    finally:
        if not writing.done():
            writing.cancel()
    if done:
        writing.result()
        return True
    if request.transport is not None:
        request.transport.abort()
    return False

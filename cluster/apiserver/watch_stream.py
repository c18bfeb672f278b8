"""A watch on the wire: one JSON event per line, until the client leaves, its time is up or history is lost.

A client that does not read is cut off (deliveries.py). Meanwhile its changes wait in the store's bounded queue, so that
it delays nobody.
"""

from __future__ import annotations

import asyncio

import orjson
from aiohttp import web

from petset.cluster.api.kinds import Kind
from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.deliveries import delivered
from petset.cluster.apiserver.options import WatchOptions
from petset.cluster.apiserver.rendering import form_of, render_event
from petset.cluster.apiserver.watch import watching
from petset.cluster.errors import Expired


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
                    if not await delivered(request, response.write(_line(shown)), seconds=write_seconds):
                        return response
                    first = first and event.type == "BOOKMARK"
    except TimeoutError:
        pass
    except Expired as error:
        await response.prepare(request)
        line = _line({"type": "ERROR", "object": error.to_status()})
        await delivered(request, response.write(line), seconds=write_seconds)
    await response.write_eof()
    return response


def _line(event: object) -> bytes:
    return orjson.dumps(event) + b"\n"

"""The life of a small server, lived in the warm parent before it starts to fork: start, log, requests, signal, end.

What a program does for the first time costs twice: Python looks up, compiles and caches, and each page that it writes
to meanwhile becomes the fork's own. What was done here is done once per node, in memory that all pods share: a pod's
first answer takes a tenth less, its memory is 0.7 MiB less. A few rounds, because Python adapts code to what it meets
after some calls only.

Leaves no thread, loop, socket or setting behind: threads do not survive a fork, and the warm parent must have none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from aiohttp import ClientSession, ClientTimeout, web
from aiohttp.typedefs import Handler

_ROUNDS = 3
_REQUESTS = (("GET", b""), ("POST", b"warm"), ("GET", b""))
_SECONDS = 5.0
_END = signal.SIGUSR1
"""Not SIGTERM: the warm parent itself may be told to end meanwhile."""

_log = logging.getLogger(__name__)


def warm_up() -> None:
    """Takes some 30 milliseconds. Raises OSError when the loopback interface is not usable."""
    with open(os.devnull, "w") as nowhere, _as_it_was():
        for _ in range(_ROUNDS):
            _live(nowhere)


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Logging and signals are afterwards what they were before."""
    root = logging.getLogger()
    handlers, level, handler = [*root.handlers], root.level, signal.getsignal(_END)
    wakeup = signal.set_wakeup_fd(-1)
    root.handlers.clear()  # basicConfig would close them
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(_END, handler)
        root.handlers[:] = handlers
        root.setLevel(level)


def _live(output: TextIO) -> None:
    logging.basicConfig(stream=output, level=logging.INFO, format="%(message)s", force=True)
    asyncio.run(_serve_until_told())


async def _serve_until_told() -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(_END, told.set)
    app = web.Application(middlewares=[_count])
    app.on_startup.append(_prepare)
    app.router.add_get("/{path:.*}", _answer)
    app.router.add_post("/{path:.*}", _answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        _log.info("listens on %s:%s", host, port)
        for method, body in _REQUESTS:  # each on a connection of its own
            await _ask(method, f"http://{host}:{port}/", body)
        signal.raise_signal(_END)
        await told.wait()
        await site.stop()
    finally:
        await runner.cleanup()


async def _ask(method: str, url: str, body: bytes) -> None:
    async with (
        ClientSession(timeout=ClientTimeout(_SECONDS)) as session,
        session.request(method, url, data=body) as response,
    ):
        await response.read()


async def _prepare(app: web.Application) -> None:
    await asyncio.to_thread(bytes)


@web.middleware
async def _count(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handler(request)


async def _answer(request: web.Request) -> web.Response:
    body = await request.read()
    _log.info("Received request from %s", request.remote)
    if request.method == "GET":
        return web.Response(text="warm")
    return web.Response(body=await asyncio.to_thread(bytes, body), content_type="text/plain", charset="utf-8")

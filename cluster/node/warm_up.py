"""One request through aiohttp, client and server, before the warm parent starts to fork.

What a first request imports, compiles and caches is then done once per node instead of once per pod, in memory that
all pods share. Leaves no thread, loop or socket behind: threads do not survive a fork, and the warm parent must have
none.
"""

from __future__ import annotations

import asyncio
import socket

from aiohttp import ClientSession, ClientTimeout, web

_SECONDS = 5.0


def warm_up() -> None:
    """Takes some milliseconds. Raises OSError when the loopback interface is not usable."""
    asyncio.run(_serve_and_ask())


async def _serve_and_ask() -> None:
    app = web.Application()
    app.router.add_get("/{path:.*}", _answer)
    app.router.add_post("/{path:.*}", _answer)
    runner = web.AppRunner(app)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        try:
            await web.SockSite(runner, listener).start()
            host, port = listener.getsockname()
            async with ClientSession(timeout=ClientTimeout(_SECONDS)) as session:
                for method, body in (("GET", b""), ("POST", b"warm")):
                    async with session.request(method, f"http://{host}:{port}/", data=body) as response:
                        await response.read()
        finally:
            await runner.cleanup()


async def _answer(request: web.Request) -> web.Response:
    body = await request.read()
    return web.Response(body=await asyncio.to_thread(bytes, body))

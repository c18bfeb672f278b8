"""A web server to be reached through the proxies: TLS when $CERTIFICATE and $KEY name its files.

/echo      the request's method, path and body length        /big?bytes=N  N zero bytes
/ws        a WebSocket that echoes                            /moved        302 to /echo
"""

from __future__ import annotations

import os
import ssl

from aiohttp import WSMsgType, web

PIECE = bytes(64 * 1024)


async def echo(request: web.Request) -> web.Response:
    length = 0
    async for piece in request.content.iter_chunked(len(PIECE)):
        length += len(piece)
    return web.json_response({"method": request.method, "path": request.path_qs, "length": length})


async def big(request: web.Request) -> web.StreamResponse:
    left = int(request.query["bytes"])
    response = web.StreamResponse(headers={"Content-Length": str(left)})
    await response.prepare(request)
    while left:
        piece = PIECE[:left]
        await response.write(piece)
        left -= len(piece)
    await response.write_eof()
    return response


async def websocket(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    async for message in connection:
        if message.type is WSMsgType.TEXT:
            await connection.send_str(f"echo {message.data}")
    return connection


async def moved(request: web.Request) -> web.Response:
    raise web.HTTPFound("/echo")


def main() -> None:
    app = web.Application()
    app.router.add_route("*", "/echo", echo)
    app.router.add_get("/big", big)
    app.router.add_get("/ws", websocket)
    app.router.add_get("/moved", moved)
    context = None
    if certificate := os.environ.get("CERTIFICATE"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, os.environ["KEY"])
    web.run_app(app, host=os.environ["PET_BIND"], port=8080, ssl_context=context, print=None)


if __name__ == "__main__":
    main()

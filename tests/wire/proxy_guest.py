"""A web server to be reached through the proxies: TLS when $CERTIFICATE and $KEY name its files.

/echo      the request's method, path and body length        /big?bytes=N  N zero bytes
/ws        a WebSocket that echoes                            /moved?to=URL 302 there, to /echo without
/page      HTML that links to /echo, as it is asked for       /duplex       sends back each piece as it comes
/breaks    the beginning of an answer
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
    raise web.HTTPFound(request.query.get("to", "/echo"))


async def page(request: web.Request) -> web.Response:
    """Compressed when the client accepts that; `own` leads to this server by its full URL."""
    own = f"{request.scheme}://{request.host}/echo?own"
    links = f'<a href="/echo?a">a</a><a href="{own}">b</a><a href="echo?c">c</a><script>"<a href=/echo>"</script>'
    response = web.Response(text=f"<!doctype html><title>é</title>{links}", content_type="text/html")
    response.enable_compression()
    return response


async def breaks(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"half")
    if request.transport is not None:
        request.transport.abort()
    return response


async def duplex(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    async for piece in request.content.iter_any():
        await response.write(piece)
    return response


def main() -> None:
    app = web.Application()
    app.router.add_route("*", "/echo", echo)
    app.router.add_get("/big", big)
    app.router.add_get("/ws", websocket)
    app.router.add_get("/moved", moved)
    app.router.add_route("*", "/page", page)
    app.router.add_post("/duplex", duplex)
    app.router.add_get("/breaks", breaks)
    context = None
    if certificate := os.environ.get("CERTIFICATE"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, os.environ["KEY"])
    web.run_app(app, host=os.environ["PET_BIND"], port=8080, ssl_context=context, print=None)


if __name__ == "__main__":
    main()

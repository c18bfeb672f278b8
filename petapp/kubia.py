"""luksa/kubia: says which host was hit, to any request. The whole application of the book's first chapters."""

from __future__ import annotations

from aiohttp import web

from petset.petapp.serving import Settings, log, run_guest


def greeting(hostname: str) -> str:
    """The line with which every kubia answer begins."""
    return f"You've hit {hostname}\n"


def make_app(settings: Settings) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        log.info("Received request from %s", request.remote)
        return web.Response(text=greeting(settings.hostname))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    return app


def main() -> None:
    """Serve until SIGTERM."""
    run_guest("kubia", make_app)


if __name__ == "__main__":
    main()

"""A static web server in nginx's place: serves a folder, as the images nginx and nginx-slim do.

    /            index.html of the folder; a page of welcome while there is none
    /a.html      the file, with its type, ranges and conditional requests (aiohttp's FileResponse)
    /docs        a folder: 301 to /docs/; then its index.html, or 403 (folders are not listed)
    otherwise    404; other methods than GET and HEAD 405; a path that leads out of the folder 400

One line per request goes to stdout, in the combined log format. Symbolic links are followed, as nginx does by default.
Unlike the nginx image with an empty volume mounted over its pages (403), an empty folder shows the welcome, which
names the host, so that a fresh StatefulSet answers readiness probes and tells its members apart.
"""

from __future__ import annotations

import asyncio
from html import escape
from http import HTTPStatus
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from petset.petapp.serving import Settings, run_guest

SERVER = "petset-web"
COMBINED_LOG_FORMAT = '%a - - %t "%r" %s %b "%{Referer}i" "%{User-Agent}i"'


def welcome_page(hostname: str) -> str:
    """What `/` shows while the folder has no index.html."""
    return _page(
        "Welcome to nginx!",
        f"<p>This is {escape(hostname)}. The web server runs; it has no page of its own yet.</p>\n"
        "<p>Put an index.html into /usr/share/nginx/html to see it here.</p>",
    )


def error_page(status: int) -> str:
    """The page for an error status."""
    title = f"{status} {HTTPStatus(status).phrase}"
    return _page(title, f"<hr><p>{SERVER}</p>")


def _page(title: str, body: str) -> str:
    return (
        f"<!DOCTYPE html>\n<html>\n<head><title>{title}</title></head>\n"
        f"<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


def locate(webroot: Path, path: str) -> Path | None:
    """The file that a decoded URL path names; None stands for the welcome.

    Raises the aiohttp exception that answers instead: 301, 400, 403 or 404.
    """
    steps = _steps(path)
    target = webroot.joinpath(*steps)
    mode = _mode(target)
    if mode is not None and S_ISREG(mode) and not path.endswith("/"):
        return target
    if mode is not None and S_ISDIR(mode) and not path.endswith("/"):
        raise web.HTTPMovedPermanently("/" + "".join(quote(step) + "/" for step in steps))
    index = target / "index.html"
    if mode is not None and _mode(index) is not None:
        return index
    if not steps:
        return None
    raise web.HTTPForbidden if mode is not None and S_ISDIR(mode) else web.HTTPNotFound


def _steps(path: str) -> list[str]:
    """The names along a path, `.` and `..` resolved; none may lead above the folder."""
    steps: list[str] = []
    for step in path.split("/"):
        if step == "..":
            if not steps:
                raise web.HTTPBadRequest
            steps.pop()
        elif step not in ("", "."):
            steps.append(step)
    return steps


def _mode(path: Path) -> int | None:
    """The file's mode, None if there is none; a path that no file can have (too long, a zero byte) is none too."""
    try:
        return path.stat().st_mode
    except PermissionError as error:
        raise web.HTTPForbidden from error
    except (OSError, ValueError):
        return None


@web.middleware
async def _error_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return web.Response(
            status=error.status, text=error_page(error.status), content_type="text/html", headers=headers
        )


async def _name_the_server(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER


def make_app(settings: Settings) -> web.Application:
    async def serve(request: web.Request) -> web.StreamResponse:
        file = await asyncio.to_thread(locate, settings.webroot, request.path)
        if file is None:
            return web.Response(text=welcome_page(settings.hostname), content_type="text/html")
        return web.FileResponse(file)

    app = web.Application(middlewares=[_error_pages])
    app.on_response_prepare.append(_name_the_server)
    app.router.add_get("/{path:.*}", serve)
    return app


def main() -> None:
    """Serve until SIGTERM."""
    run_guest("web", make_app, default_port=80, access_log_format=COMBINED_LOG_FORMAT)


if __name__ == "__main__":
    main()

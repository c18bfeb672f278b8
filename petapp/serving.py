"""The life of a guest: read the surroundings, listen, serve, and leave politely on SIGTERM.

A guest is an ordinary container program. All it knows of the world comes from its environment, and every default is
what a real container has:

    PET_BIND         address to listen on             0.0.0.0
    PET_PORT         port to listen on                8080 (the web server: 80)
    PET_DATA         the data folder                  /var/data
    PET_WEBROOT      the web server's folder          /usr/share/nginx/html
    PET_RESOLV_CONF  the resolver's configuration     /etc/resolv.conf
    PET_SERVICE      headless service of the peers    kubia.default.svc.cluster.local
    HOSTNAME         the host name                    what the kernel says

    start ─► handle SIGTERM ─► listen ─► serve … SIGTERM ─► stop accepting ─► finish requests ─► exit 0

The signal is handled before the port opens: the first process of a PID namespace never receives a signal it has not
asked for. Requests in progress get DRAIN_SECONDS to be answered, also those whose body still arrives (aiohttp's own
shutdown would stop reading them), and as long again to be sent to a slow client; then they are cut off. Kubernetes'
default grace period is 30 s.
A mistake in the environment ends the program with one line on stderr and exit code 1.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

DRAIN_SECONDS = 12.0

log = logging.getLogger("petapp")


class SettingsError(ValueError):
    """An environment variable that cannot work; the message says which and why."""


@dataclass(frozen=True)
class Settings:
    """What a guest knows of its surroundings; `port` 0 means any free one."""

    hostname: str
    bind: str
    port: int
    data_folder: Path
    webroot: Path
    resolv_conf: Path
    service: str


def read_settings(environment: Mapping[str, str], *, default_port: int = 8080) -> Settings:
    """The settings in `environment`; empty variables count as unset. Raises SettingsError."""
    return Settings(
        hostname=environment.get("HOSTNAME") or socket.gethostname(),
        bind=environment.get("PET_BIND") or "0.0.0.0",
        port=_port(environment.get("PET_PORT") or str(default_port)),
        data_folder=Path(environment.get("PET_DATA") or "/var/data"),
        webroot=Path(environment.get("PET_WEBROOT") or "/usr/share/nginx/html"),
        resolv_conf=Path(environment.get("PET_RESOLV_CONF") or "/etc/resolv.conf"),
        service=environment.get("PET_SERVICE") or "kubia.default.svc.cluster.local",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise SettingsError(f"PET_PORT={text}: a port is a number from 0 to 65535")
    return int(text)


def run_guest(
    name: str,
    make_app: Callable[[Settings], web.Application],
    *,
    default_port: int = 8080,
    access_log_format: str = "",
) -> None:
    """Serve `make_app(settings)` until SIGTERM or SIGINT, then return; a failed start is a SystemExit in words.

    What the guest logs goes to stdout, one line each. With an `access_log_format` (aiohttp's), so does each request.
    """
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s", force=True)
    try:
        settings = read_settings(os.environ, default_port=default_port)
        asyncio.run(_serve(name, make_app(settings), settings, access_log_format))
    except SettingsError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        sys.exit(f"{name}: {error.strerror or error}")


async def _serve(name: str, app: web.Application, settings: Settings, access_log_format: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    requests = _RequestsInProgress()
    app.middlewares.insert(0, requests.middleware())
    runner = web.AppRunner(
        app,
        access_log=log if access_log_format else None,
        access_log_format=access_log_format,
        shutdown_timeout=DRAIN_SECONDS,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.bind, settings.port)
        await site.start()
        host, port = runner.addresses[0][:2]
        log.info("%s on %s listens on %s:%s", name, settings.hostname, host, port)
        await stop.wait()
        await site.stop()
        log.info("%s stops: finishing what was begun", name)
        await requests.finished(DRAIN_SECONDS)
    finally:
        await runner.cleanup()


class _RequestsInProgress:
    """How many requests wait for their answer. Once the end has begun, no connection is kept for another one."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()
        self._ending = False

    def middleware(self) -> Middleware:
        """What counts them, to be the application's outermost middleware."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._count += 1
            self._none.clear()
            try:
                response = await handler(request)
            finally:
                self._count -= 1
                if self._count == 0:
                    self._none.set()
            if self._ending:
                response.force_close()
            return response

        return count

    async def finished(self, timeout_seconds: float) -> None:
        """Wait for the last answer, but no longer than the timeout."""
        self._ending = True
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._none.wait()
        except TimeoutError:
            log.warning("%d requests were not finished within %g s", self._count, timeout_seconds)

"""The API server of a real cluster: the store in its file, the API over TLS on a listener handed in."""

from __future__ import annotations

import asyncio
import random
import socket

import aiohttp
from aiohttp import web

from petset.cluster import pki
from petset.cluster.api.schema import load_schemas
from petset.cluster.apiserver.api import Api, make_api
from petset.cluster.apiserver.authentication import TokenAuthenticator, User
from petset.cluster.apiserver.http_server import HttpServer
from petset.cluster.apiserver.proxy import PodProxy
from petset.cluster.clock import SystemClock
from petset.cluster.names import system_names
from petset.cluster.settings import ClusterSettings
from petset.cluster.store.sqlite import SqliteBackend

SHUTDOWN_SECONDS = 1.0
"""How long the API server lets open requests end when it stops; watches never do."""


async def run_api_server(settings: ClusterSettings, listener: socket.socket, ready: asyncio.Event) -> None:
    """Serve the API on a listening socket, its store in the cluster's folder."""
    async with SqliteBackend.open(settings.folder.store) as backend:
        api = await make_api(
            backend, schemas=load_schemas(), clock=SystemClock(), names=system_names(), addresses=settings.addresses
        )
        await serve_api(api, settings, listener, ready)


async def serve_api(api: Api, settings: ClusterSettings, listener: socket.socket, ready: asyncio.Event) -> None:
    """Serve an API over TLS to the holders of the cluster's tokens, until cancelled."""
    identities = pki.read_identities(settings.folder)
    authenticator = TokenAuthenticator({token: User(who.user, who.groups) for token, who in identities.items()})
    connector = aiohttp.TCPConnector(limit=0, ssl=False)
    async with PodProxy(api, connector=connector, source=random.SystemRandom()) as proxy:
        server = HttpServer(api, authenticator=authenticator, proxy=proxy)
        await _serve(server.application(), listener, settings, ready)


async def _serve(
    application: web.Application, listener: socket.socket, settings: ClusterSettings, ready: asyncio.Event
) -> None:
    runner = web.AppRunner(
        application,
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        site = web.SockSite(runner, listener, ssl_context=pki.server_context(settings.folder))
        await site.start()
        ready.set()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()

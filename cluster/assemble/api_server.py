"""The API server of a real cluster: the store in its file, the API over TLS on a listener handed in."""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
from collections.abc import Sequence
from contextlib import ExitStack

import aiohttp
from aiohttp import web

from petset.cluster import pki
from petset.cluster.api.schema import load_schemas
from petset.cluster.apiserver.api import Api, make_api
from petset.cluster.apiserver.authentication import TokenAuthenticator, User
from petset.cluster.apiserver.http_server import HttpServer
from petset.cluster.apiserver.kubelets import KubeletAccess
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.apiserver.own_endpoints import publish_own_endpoints
from petset.cluster.apiserver.pod_streams import PodStreams
from petset.cluster.apiserver.proxy import PodProxy
from petset.cluster.apiserver.service_account_tokens import TokenIssuer
from petset.cluster.clock import SystemClock
from petset.cluster.names import system_names
from petset.cluster.settings import ClusterSettings
from petset.cluster.store.sqlite import SqliteBackend

BACKLOG = 512
SHUTDOWN_SECONDS = 1.0
"""How long the API server lets open requests end when it stops; watches never do."""


async def run_api_server(settings: ClusterSettings, listener: socket.socket, ready: asyncio.Event) -> None:
    """Serve the API on a listening socket, its store in the cluster's folder."""
    async with SqliteBackend.open(settings.folder.store) as backend:
        api = await make_api(
            backend, schemas=load_schemas(), clock=SystemClock(), names=system_names(), addresses=settings.addresses
        )
        await publish_own_endpoints(LoopbackClient(api), *settings.component_endpoint)
        with ExitStack() as inside:
            listeners = [inside.enter_context(_component_listener(settings))] if settings.has_namespaces else []
            await serve_api(api, settings, listener, ready, further=listeners)


def _component_listener(settings: ClusterSettings) -> socket.socket:
    """For components and pods, which cannot see the host's."""
    return socket.create_server(settings.component_endpoint, backlog=BACKLOG)


async def serve_api(
    api: Api, settings: ClusterSettings, listener: socket.socket, ready: asyncio.Event, *,
    further: Sequence[socket.socket] = (),
) -> None:  # fmt: skip
    """Serve an API over TLS to the holders of the cluster's tokens, until cancelled; on all listeners alike."""
    identities = pki.read_identities(settings.folder)
    authenticator = TokenAuthenticator(
        {token: User(who.user, who.groups) for token, who in identities.items()},
        TokenIssuer(secrets.token_bytes(32), api.clock),
    )
    connector = aiohttp.TCPConnector(limit=0, ssl=False)
    async with PodProxy(api, connector=connector, source=random.SystemRandom()) as proxy:
        token = pki.token_of(settings.folder, pki.KUBELET_CLIENT)
        streams = PodStreams(api, KubeletAccess(token, pki.client_context(settings.folder)))
        server = HttpServer(api, authenticator=authenticator, proxy=proxy, streams=streams)
        await _serve(server.application(), [listener, *further], settings, ready)


async def _serve(
    application: web.Application, listeners: Sequence[socket.socket], settings: ClusterSettings, ready: asyncio.Event
) -> None:
    runner = web.AppRunner(
        application,
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        context = pki.server_context(settings.folder)
        for listener in listeners:
            await web.SockSite(runner, listener, ssl_context=context).start()
        ready.set()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()

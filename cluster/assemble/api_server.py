"""The API server of a real cluster: the store in its file, the API over TLS on a listener handed in."""

from __future__ import annotations

import asyncio
import random
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
from petset.cluster.apiserver.kubelets import KubeletAccess, Kubelets
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.apiserver.metrics import Metrics
from petset.cluster.apiserver.own_endpoints import keep_own_service, publish_dns_endpoints, publish_own_endpoints
from petset.cluster.apiserver.pod_streams import PodStreams
from petset.cluster.apiserver.proxy import PodProxy
from petset.cluster.apiserver.service_account_tokens import TokenIssuer
from petset.cluster.clock import SystemClock
from petset.cluster.names import system_names
from petset.cluster.settings import ClusterSettings
from petset.cluster.store.sqlite import SqliteBackend

BACKLOG = 512
SHUTDOWN_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 15
"""How long the API server lets open requests end when it stops; watches never do."""


async def run_api_server(settings: ClusterSettings, listener: socket.socket, ready: asyncio.Event) -> None:
    """Serve the API on a listening socket, its store in the cluster's folder."""
    clock = SystemClock()
    issuer = TokenIssuer(pki.service_account_key(settings.folder), clock)
    async with SqliteBackend.open(settings.folder.store) as backend:
        api = await make_api(
            backend,
            schemas=load_schemas(),
            clock=clock,
            names=system_names(),
            addresses=settings.addresses,
            issuer=issuer,
        )
        client = LoopbackClient(api)
        await publish_own_endpoints(client, *settings.component_endpoint)
        await publish_dns_endpoints(client, settings.addresses.dns_address, settings.dns_port)
        keeping = asyncio.create_task(keep_own_service(client, settings.addresses, settings.component_endpoint))
        with ExitStack() as inside:
            inside.callback(keeping.cancel)
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
        api.issuer or TokenIssuer(pki.service_account_key(settings.folder), api.clock),
    )
    connector = aiohttp.TCPConnector(limit=0, ssl=False)
    async with PodProxy(api, connector=connector, source=random.SystemRandom()) as proxy:
        token = pki.token_of(settings.folder, pki.KUBELET_CLIENT)
        kubelets = Kubelets(api, KubeletAccess(token, pki.client_context(settings.folder)))
        server = HttpServer(
            api,
            authenticator=authenticator,
            proxy=proxy,
            streams=PodStreams(api, kubelets),
            metrics=Metrics(api, kubelets),
        )
        await _serve(server.application(), [listener, *further], settings, ready)


def _notice_silent_peers(listener: socket.socket) -> None:
    """Connections whose peer vanished without a word end after two minutes and a half; net.Listen's options, in Go."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_SECONDS)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_SECONDS)


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
            _notice_silent_peers(listener)
            await web.SockSite(runner, listener, ssl_context=context).start()
        ready.set()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()

"""How a component of a real cluster reaches its API server."""

from __future__ import annotations

import socket

import aiohttp

from petset.cluster import pki
from petset.cluster.control.http_client import CustomKinds, HttpClient, no_custom_kinds
from petset.cluster.network.network import Network
from petset.cluster.settings import ClusterSettings

SILENCE_SECONDS = 5
SILENCE_PROBES = 4
"""A connection on which nothing came for so long is probed, and given up when so many probes go unanswered."""


def http_client(
    settings: ClusterSettings, user: str, network: Network | None = None, *, custom_kinds: CustomKinds = no_custom_kinds
) -> HttpClient:
    """The API over TLS: as a component reaches it, from a node's network (else the control plane's); the
    administrator, who is outside of the cluster, by the host's port.

    `custom_kinds` answers the kinds beside the built-in ones that the client may be asked for.
    """

    def make_socket(info: aiohttp.AddrInfoType) -> socket.socket:
        made = network.make_socket(str(info[4][0])) if network else socket.socket(*info[:3])
        made.setblocking(False)
        if source := _source_address(settings, user):
            made.bind((source, 0))
        _notice_silence(made)
        return made

    def connector() -> aiohttp.BaseConnector:
        return aiohttp.TCPConnector(limit=0, ssl=pki.client_context(settings.folder), socket_factory=make_socket)

    token = pki.token_of(settings.folder, user)
    server = settings.server if user == pki.ADMIN else settings.component_server
    return HttpClient(server, token, connector, user_agent=f"petset/{user}", custom_kinds=custom_kinds)


def _source_address(settings: ClusterSettings, user: str) -> str:
    """The control plane's components ask from addresses of their own: what they say to each other can be cut."""
    if not settings.has_namespaces:
        return ""
    plan = settings.addresses
    return {pki.CONTROLLER_MANAGER: plan.controller_address, pki.DNS: plan.dns_client_address}.get(user, "")


def _notice_silence(connection: socket.socket) -> None:
    """A watch waits for ever: on a cable that was cut it must find out that its server has given it up (upstream:
    HTTP/2 pings after 30 s, http2.ReadIdleTimeout)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENCE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SILENCE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, SILENCE_PROBES)

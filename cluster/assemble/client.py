"""How a component of a real cluster reaches its API server."""

from __future__ import annotations

import aiohttp

from petset.cluster import pki
from petset.cluster.control.http_client import HttpClient
from petset.cluster.network.network import Network
from petset.cluster.settings import ClusterSettings


def http_client(settings: ClusterSettings, user: str, network: Network | None = None) -> HttpClient:
    """The API as a component reaches it: over TLS, as `user`, from `network`'s machine (the host's without one)."""

    def connector() -> aiohttp.BaseConnector:
        context = pki.client_context(settings.folder)
        if network is None:
            return aiohttp.TCPConnector(limit=0, ssl=context)
        return aiohttp.TCPConnector(
            limit=0, ssl=context, socket_factory=lambda info: network.make_socket(str(info[4][0]))
        )

    token = pki.token_of(settings.folder, user)
    return HttpClient(settings.server, token, connector, user_agent=f"petset/{user}")

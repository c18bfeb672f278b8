"""How a component of a real cluster reaches its API server."""

from __future__ import annotations

import aiohttp

from petset.cluster import pki
from petset.cluster.control.http_client import CustomKinds, HttpClient, no_custom_kinds
from petset.cluster.network.network import Network
from petset.cluster.settings import ClusterSettings


def http_client(
    settings: ClusterSettings, user: str, network: Network | None = None, *, custom_kinds: CustomKinds = no_custom_kinds
) -> HttpClient:
    """The API over TLS: as a component reaches it, from a node's network (else the control plane's); the
    administrator, who is outside of the cluster, by the host's port.

    `custom_kinds` answers the kinds beside the built-in ones that the client may be asked for.
    """

    def connector() -> aiohttp.BaseConnector:
        context = pki.client_context(settings.folder)
        if network is None:
            return aiohttp.TCPConnector(limit=0, ssl=context)
        return aiohttp.TCPConnector(
            limit=0, ssl=context, socket_factory=lambda info: network.make_socket(str(info[4][0]))
        )

    token = pki.token_of(settings.folder, user)
    server = settings.server if user == pki.ADMIN else settings.component_server
    return HttpClient(server, token, connector, user_agent=f"petset/{user}", custom_kinds=custom_kinds)

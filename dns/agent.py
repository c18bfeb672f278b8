"""The cluster's DNS server as one component: it watches the API and answers from what it saw.

    API server ──list, watch──▶ informers ──put / discard──▶ Directory ──▶ Answers ──▶ Responder ──▶ UDP, TCP
                                Namespace, Service, EndpointSlice

Serves from the first moment: until all three informers have listed, names that are known are answered and all others
get SERVFAIL, so a client tries again instead of believing that a name does not exist. When the API server is away,
it answers from what it last saw.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from petset.cluster.api.objects import Object
from petset.cluster.control.client import Client
from petset.cluster.control.informer import Informer
from petset.dns.answers import Answers, Authority
from petset.dns.directory import KINDS, Directory
from petset.dns.names import cluster_zone
from petset.dns.responder import Responder
from petset.dns.server import SocketMaker, bind, make_host_socket, serve

DEFAULT_DOMAIN = "cluster.local"
DEFAULT_TTL_SECONDS = 30
"""`ttl 30` of the Corefile that kubeadm and the addon manifests install."""
MAX_TTL_SECONDS = 3600


class DnsAgent:
    """Cluster DNS on `host`:`port`; `run` it as a task.

    `addresses` are the server's own, as its clients know them (the cluster IP of kube-dns): the zone's NS record
    names the service that has one of them. Port 0 is any free port; `listening` tells which.
    Raises ValueError for a domain or a time to live that cannot work.
    """

    def __init__(
        self,
        client: Client,
        *,
        addresses: Sequence[str],
        host: str,
        port: int,
        domain: str = DEFAULT_DOMAIN,
        ttl_seconds: int = DEFAULT_TTL_SECONDS,
        make_socket: SocketMaker = make_host_socket,
    ) -> None:
        if not 0 <= ttl_seconds <= MAX_TTL_SECONDS:
            raise ValueError(f"DNS time to live {ttl_seconds}: give 0 to {MAX_TTL_SECONDS} seconds")
        self.synced = asyncio.Event()
        """Set once every existing object is in the directory: from now on a missing name does not exist."""
        self.directory = Directory()
        authority = Authority(cluster_zone(domain), tuple(addresses), ttl_seconds)
        self._respond = Responder(Answers(self.directory, authority).answer)
        self._informers = [Informer(client, kind) for kind in KINDS]
        for informer in self._informers:
            informer.subscribe(partial(self._feed, informer.kind))
        self._host = host
        self._port = port
        self._make_socket = make_socket
        self._bound = asyncio.Event()

    async def listening(self) -> int:
        """Wait until queries are taken; answers the port."""
        await self._bound.wait()
        return self._port

    async def run(self) -> None:
        """Watch and serve until cancelled. Raises OSError when the address cannot be had."""
        with bind(self._host, self._port, make_socket=self._make_socket) as sockets:
            self._port = sockets.port
            self._bound.set()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(serve(sockets, self._respond), name="dns server")
                for informer in self._informers:
                    tasks.create_task(informer.run(), name=f"dns informer {informer.kind}")
                tasks.create_task(self._watch_for_sync(), name="dns sync")

    def _feed(self, kind: str, old: Object | None, new: Object | None) -> None:
        # Items of a Kubernetes list do not carry their kind.
        if new is not None:
            self.directory.put({**new, "kind": kind})
        elif old is not None:
            self.directory.discard({**old, "kind": kind})

    async def _watch_for_sync(self) -> None:
        for informer in self._informers:
            await informer.synced.wait()
        self.directory.synced = True
        self.synced.set()

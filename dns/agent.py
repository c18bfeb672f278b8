"""The cluster's DNS server as one component: it watches the API and answers from what it saw.

    API server ──list, watch──▶ informers ──put / discard──▶ Directory ──▶ Answers ──▶ Responder ──▶ TCP
                                    │ what changed               └────────▶ Reader ──▶ WireCache ──▶ UDP, a thread
                                    └───────────────────forget────────────────────────▲

One lock covers the directory and the cache: a change and what it makes wrong go together, so no response that was
made before a change is given after it. The UDP thread takes the lock only for what it does not find in the cache.

Serves from the first moment: until all three informers have listed, names that are known are answered and all others
get SERVFAIL, so a client tries again instead of believing that a name does not exist. When the API server is away,
it answers from what it last saw.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from random import Random, SystemRandom

from petset.cluster.api.objects import Object
from petset.cluster.control.client import Client
from petset.cluster.control.informer import Informer
from petset.cluster.network.upstreams import Upstream
from petset.dns.answers import Answers, Authority
from petset.dns.cache import WireCache
from petset.dns.datagrams import Address, Loop, Source, answer_one_by_one
from petset.dns.directory import KINDS, Directory, Reader
from petset.dns.forwarder import Forwarder
from petset.dns.names import cluster_zone
from petset.dns.outward import OutwardNames, OutwardQuestion
from petset.dns.responder import Responder, Transport
from petset.dns.server import SocketMaker, bind, make_host_socket, serve

DEFAULT_DOMAIN = "cluster.local"
DEFAULT_TTL_SECONDS = 5
"""CoreDNS' kubernetes plugin's own; the Corefile that kubeadm installs says 30."""
MAX_TTL_SECONDS = 3600


class DnsAgent:
    """Cluster DNS on `host`:`port`; `run` it as a task.

    `addresses` are the server's own, as its clients know them (the cluster IP of kube-dns): the zone's NS record
    names the service that has one of them. Port 0 is any free port; `listening` tells which. Negative answers may be
    kept for `negative_ttl_seconds`, as long as others when it is not given. For `cache_seconds` an answer by UDP stays
    as it was first given (cache.py), at most for its time to live. Names of other zones are asked of
    `upstreams`, by sockets of their own kind, and REFUSED when there are none.
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
        negative_ttl_seconds: int | None = None,
        make_socket: SocketMaker = make_host_socket,
        make_upstream_socket: SocketMaker = make_host_socket,
        loop: Loop = answer_one_by_one,
        cache_seconds: int = 0,
        upstreams: Sequence[Upstream] = (),
        chance: Random | None = None,
    ) -> None:
        negative_ttl_seconds = ttl_seconds if negative_ttl_seconds is None else negative_ttl_seconds
        for seconds in (ttl_seconds, negative_ttl_seconds, cache_seconds):
            if not 0 <= seconds <= MAX_TTL_SECONDS:
                raise ValueError(f"DNS time to live {seconds}: give 0 to {MAX_TTL_SECONDS} seconds")
        self.synced = asyncio.Event()
        """Set once every existing object is in the directory: from now on a missing name does not exist."""
        self.directory = Directory()
        zone = cluster_zone(domain)
        self._forwarder = Forwarder(
            upstreams, zone=zone, make_socket=make_upstream_socket, chance=chance or SystemRandom()
        )
        authority = Authority(zone, tuple(addresses), ttl_seconds, negative_ttl_seconds)
        self._lock = threading.Lock()
        answers = Answers(self.directory, authority)
        self._responder = Responder(answers.answer)
        self._outward = OutwardNames(answers, self._forwarder)
        reader = Reader(self.directory)
        self._cache = WireCache(
            Responder(Answers(reader, authority).answer), reader, keep_seconds=cache_seconds, now=time.monotonic
        )
        self._informers = [Informer(client, kind) for kind in KINDS]
        for informer in self._informers:
            informer.subscribe(partial(self._feed, informer.kind))
        self._host = host
        self._port = port
        self._make_socket = make_socket
        self._loop = loop
        self._cache_seconds = cache_seconds
        self._forgetting: asyncio.TimerHandle | None = None
        """The next look at what is kept too long; None while nothing is."""
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
                source = self._datagram_source(sockets.datagrams, tasks)
                tasks.create_task(serve(sockets, source, self._answer_stream, loop=self._loop), name="dns server")
                for informer in self._informers:
                    tasks.create_task(informer.run(), name=f"dns informer {informer.kind}")
                tasks.create_task(self._watch_for_sync(), name="dns sync")

    async def _answer_stream(self, packet: bytes) -> bytes | None:
        if self._forwarder.takes(packet):
            return await self._forwarder.answer(packet, Transport.TCP)
        if (question := self._outward_question(packet)) and (response := await question.answer(Transport.TCP)):
            return response
        with self._lock:
            return self._responder(packet, Transport.TCP)

    def _outward_question(self, packet: bytes) -> OutwardQuestion | None:
        """Called by any thread."""
        if not self._forwarder.has_upstreams:
            return None
        with self._lock:
            return self._outward.read(packet)

    def _datagram_source(self, bound: socket.socket, tasks: asyncio.TaskGroup) -> Source:
        """What the UDP thread answers from. Questions for others it leaves to the event loop."""
        events = asyncio.get_running_loop()

        async def forward(packet: bytes, client: Address, question: OutwardQuestion | None) -> None:
            if question is None:
                response: bytes | None = await self._forwarder.answer(packet, Transport.UDP)
            else:
                response = await question.answer(Transport.UDP) or own(packet)
            if response:
                with suppress(OSError):
                    bound.sendto(response, client)

        def start(packet: bytes, client: Address, question: OutwardQuestion | None) -> None:
            tasks.create_task(forward(packet, client, question), name="dns forward")

        def own(packet: bytes) -> bytes | None:
            with self._lock:
                return self._cache.answer(packet)

        def answer(packet: bytes, client: Address) -> bytes | None:
            question = self._outward_question(packet)
            if question or self._forwarder.takes(packet):
                events.call_soon_threadsafe(start, packet, client, question)
                return None
            return own(packet)

        return Source(self._cache.hot, answer)

    def _feed(self, kind: str, old: Object | None, new: Object | None) -> None:
        # Items of a Kubernetes list do not carry their kind.
        with self._lock:
            if new is not None:
                self._cache.forget(self.directory.put({**new, "kind": kind}))
            elif old is not None:
                self._cache.forget(self.directory.discard({**old, "kind": kind}))
        if self._cache_seconds:
            self._forget_in_time()

    def _forget_in_time(self) -> None:
        """Drop what a change made wrong, and come back for what is to be kept for a while yet."""
        if self._forgetting is not None:
            self._forgetting.cancel()
        with self._lock:
            due = self._cache.forget_overdue()
        wait_seconds = max(due - time.monotonic(), 0.0) if due is not None else None
        self._forgetting = (
            None if wait_seconds is None
            else asyncio.get_running_loop().call_later(wait_seconds, self._forget_in_time)
        )  # fmt: skip

    async def _watch_for_sync(self) -> None:
        for informer in self._informers:
            await informer.synced.wait()
        with self._lock:
            self.directory.synced = True
        self.synced.set()

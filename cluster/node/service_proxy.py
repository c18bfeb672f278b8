"""A node's service proxy: it answers on every cluster IP, node port and load balancer address (kube-proxy's part).

    API server ──list, watch──▶ informers ──▶ ServiceTable ──▶ frontends of one Service ──▶ Forwarding: open, update,
                                Service, EndpointSlice                                      close

Connections go to ready endpoints only, each in turn. A Service without endpoints is not answered for: its clients are
refused at once. An endpoint that leaves gets no further connections; those that it has go on. When the API server is
away, the proxy goes on with what it last saw. Who carries the packets is the Forwarding's part (service_forwarding.py).

A port that cannot be had (privileged, taken) costs that port alone: an Event on the Service and a line in the log
say so, and it is tried again every RETRY_SECONDS.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Collection, Mapping
from functools import partial
from random import Random

from petset.cluster.api.objects import Object
from petset.cluster.control.client import Client
from petset.cluster.control.events import EventRecorder
from petset.cluster.control.informer import Informer
from petset.cluster.control.writes import Record
from petset.cluster.node.service_forwarding import Forwarding, ForwardingMaker, OpenFrontend
from petset.cluster.node.service_table import KINDS, Backends, Frontend, Key, ServiceTable

RETRY_SECONDS = 5.0
TURNS = 1 << 16

log = logging.getLogger(__name__)


class ServiceProxy:
    """The proxy of one node; `run` it as a task."""

    def __init__(
        self, client: Client, table: ServiceTable, *,
        make_forwarding: ForwardingMaker, recorder: EventRecorder, chance: Random, retry_seconds: float,
    ) -> None:  # fmt: skip
        self.synced = asyncio.Event()
        """Set once every Service that existed at the start is answered."""
        self._table = table
        self._make_forwarding = make_forwarding
        self._recorder = recorder
        self._chance = chance
        self._retry_seconds = retry_seconds
        self._served: dict[Key, dict[Frontend, OpenFrontend]] = {}
        self._complaints: dict[tuple[Key, Frontend], str] = {}
        """Frontends that could not be opened, and why: said once, not at every try."""
        self._changed: set[Key] = set()
        self._wake = asyncio.Event()
        self._informers = [Informer(client, kind, chance=chance) for kind in KINDS]
        for informer in self._informers:
            informer.subscribe(partial(self._feed, informer.kind))

    async def run(self) -> None:
        """Answer until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for informer in self._informers:
                tasks.create_task(informer.run(), name=f"service proxy informer {informer.kind}")
            async with self._make_forwarding(tasks) as forwarding:
                for informer in self._informers:
                    await informer.synced.wait()
                await self._follow(forwarding)

    def _feed(self, kind: str, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._changed |= self._table.put(kind, new)
        elif old is not None:
            self._changed |= self._table.discard(kind, old)
        self._wake.set()

    async def _follow(self, forwarding: Forwarding) -> None:
        """Bring what is open in line with the table: after every change, and again while something is missing."""
        while True:
            self._wake.clear()
            changed, self._changed = self._changed, set()
            missing = await self._reconcile(sorted(changed), forwarding)
            self.synced.set()
            try:
                async with asyncio.timeout(self._retry_seconds if missing else None):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._changed.update(missing)

    async def _reconcile(self, keys: list[Key], forwarding: Forwarding) -> list[Key]:
        """Make these Services what they should be now; those of which something is missing yet.

        What is to go goes first, for another Service may have its place by now. All at a time, so that a Forwarding
        can put many changes into one.
        """
        wanted = {key: self._table.frontends(key) for key in keys}
        async with asyncio.TaskGroup() as closing:
            for key in keys:
                closing.create_task(self._close_others(key, wanted[key]), name=f"service proxy {key}")
        async with asyncio.TaskGroup() as opening:
            done = {
                key: opening.create_task(self._open(key, wanted[key], forwarding), name=f"service proxy {key}")
                for key in keys
            }
        return [key for key in keys if not done[key].result()]

    async def _close_others(self, key: Key, wanted: Collection[Frontend]) -> None:
        served = self._served.get(key, {})
        for frontend in [each for each in served if each not in wanted]:
            await served.pop(frontend).close()
        for said in [each for each in self._complaints if each[0] == key and each[1] not in wanted]:
            del self._complaints[said]

    async def _open(self, key: Key, wanted: Mapping[Frontend, Backends], forwarding: Forwarding) -> bool:
        """Whether every frontend of the Service is as it should be."""
        served = self._served.setdefault(key, {})
        is_complete = True
        for frontend, backends in wanted.items():
            try:
                if frontend in served:
                    await served[frontend].update(backends)
                else:
                    # Endpoints often come one by one: a turn among those of now would always be the first one's.
                    turn = self._chance.randrange(TURNS)
                    served[frontend] = await forwarding.open(frontend, backends, turn=turn)
            except OSError as error:
                await self._complain(key, frontend, error)
                is_complete = False
            else:
                self._complaints.pop((key, frontend), None)
        if not served:
            del self._served[key]
        return is_complete

    async def _complain(self, key: Key, frontend: Frontend, error: OSError) -> None:
        reason = error.strerror or os.strerror(error.errno or 0)
        if self._complaints.get((key, frontend)) == reason:
            return
        self._complaints[key, frontend] = reason
        log.warning("service %s/%s: cannot listen on %s: %s", *key, frontend, reason)
        service = self._table.service(key)
        if service is not None:
            # Items of a Kubernetes list do not carry their kind.
            regarding = {**service, "apiVersion": "v1", "kind": "Service"}
            message = f"cannot listen on {frontend}: {reason}"
            await self._recorder.record(Record(regarding, "Warning", "FailedToListen", message))

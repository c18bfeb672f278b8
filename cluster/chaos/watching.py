"""Watches a cluster during an experiment: every change of its objects, and what runs on its machines.

    follow(kind)   list ─▶ watch ─▶ Changes …  the stream ends ─▶ continued from the last revision
                                               410 Gone ─▶ a Gap, list again: the difference comes as Changes
    sample()       the machines' processes, through the fault gate, every SAMPLE_SECONDS

Both go on until they are cancelled, whatever happens to the API server or the machines: what does not answer is asked
again. A restarted API server has forgotten its history, so that each of its crashes is a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from petset.cluster.api.objects import Object, uid_of
from petset.cluster.api.times import parse_time
from petset.cluster.chaos.gate import GateError
from petset.cluster.chaos.observations import Change, Gap, Observations, Process, Sample
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client, WatchEvent
from petset.cluster.control.snapshot import Key, key_of
from petset.cluster.errors import ApiError, Expired

SAMPLE_SECONDS = 0.5
RETRY_SECONDS = 0.2
BLIND_SECONDS = 1.0
"""How long before a stream was seen to end it may have been silent already."""

ListProcesses = Callable[[], Awaitable[list[dict[str, Any]]]]
CLUSTER_SCOPED = ("Node",)


@dataclass
class Follower:
    """Follows one kind; `synced` once the first list is in the observations."""

    kind: str
    client: Client
    clock: Clock
    seen: Observations
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    _known: dict[Key, Object] = field(default_factory=dict)
    _revision: str = ""
    _sure_until: float = 0.0
    """Every change before this time has been seen."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._relist()
            await self._continue()

    async def _relist(self) -> None:
        """List until it works; what differs from what is known came at some time since the last stream ended."""
        listing, asked_at = None, 0.0
        while listing is None:
            asked_at = self.clock.now()
            try:
                listing = await self.client.list(self.kind, self._namespace)
            except ApiError:
                await asyncio.sleep(RETRY_SECONDS)
        if self.synced.is_set():
            self.seen.gaps.append(Gap(self.kind, self._sure_until, self.clock.now()))
        fresh = {key_of(obj): obj for obj in listing.items}
        for key, old in [*self._known.items()]:
            if key not in fresh or uid_of(fresh[key]) != uid_of(old):
                self._take("DELETED", old)
        for key, obj in fresh.items():
            known = self._known.get(key)
            if known is None:
                self._take("ADDED", obj)
            elif known["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self._take("MODIFIED", obj)
        self._revision, self._sure_until = listing.revision, asked_at
        self.synced.set()

    async def _continue(self) -> None:
        """Watch for as long as the history reaches back to the last revision."""
        while True:
            try:
                async with self.client.watch(self.kind, self._namespace, revision=self._revision) as events:
                    try:
                        await self._take_all(events)
                    finally:
                        self._sure_until = max(self._sure_until, self.clock.now() - BLIND_SECONDS)
            except Expired:
                return
            except ApiError:
                await asyncio.sleep(RETRY_SECONDS)

    async def _take_all(self, events: AsyncIterator[WatchEvent]) -> None:
        async for event in events:
            self._revision = event.object["metadata"]["resourceVersion"]
            if event.type != "BOOKMARK":
                self._take(event.type, event.object)

    def _take(self, type_: Literal["ADDED", "MODIFIED", "DELETED"], obj: Object) -> None:
        obj = {**obj, "kind": self.kind}
        self.seen.changes.append(Change(self.clock.now(), type_, obj))
        if type_ == "DELETED":
            self._known.pop(key_of(obj), None)
        else:
            self._known[key_of(obj)] = obj

    @property
    def _namespace(self) -> str:
        return "" if self.kind in CLUSTER_SCOPED else self.seen.namespace


async def sample(list_processes: ListProcesses, clock: Clock, seen: Observations) -> None:
    """Take a Sample every SAMPLE_SECONDS, until cancelled. A gate that does not answer leaves one out."""
    while True:
        began_at = clock.now()
        try:
            rows = await list_processes()
        except GateError:
            rows = None
        if rows is not None:
            seen.samples.append(Sample(began_at, clock.now(), processes_of(rows, seen.namespace)))
        await asyncio.sleep(SAMPLE_SECONDS)


def processes_of(rows: list[Mapping[str, Any]] | list[dict[str, Any]], namespace: str) -> tuple[Process, ...]:
    """The workload's processes among the gate's rows."""
    return tuple(
        Process(
            node=row["node"],
            namespace=row["namespace"],
            pod=row["pod"],
            uid=row["uid"],
            container=row["container"],
            container_id=row["container_id"],
            pid=row["pid"],
            started_at=parse_time(row["started_at"]),
            state=row["state"],
        )
        for row in rows
        if "component" not in row and row["namespace"] == namespace
    )

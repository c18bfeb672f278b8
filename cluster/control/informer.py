"""An informer keeps one kind's objects in an index that follows the API server.

    list ──▶ replace the index ──▶ watch from the list's revision ──▶ put / discard ──▶ handlers
      ▲                                                          │
      └──────────── Expired, Unavailable (after a pause) ◀───────┘

Handlers are called with (old, new) for every difference, also those found by a relist; `None` means absent. They
are plain functions and must not block. The index is current up to `revision`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from petset.cluster.api.objects import Object, name_of, namespace_of, uid_of
from petset.cluster.control.client import Client
from petset.cluster.control.snapshot import ObjectIndex, key_of
from petset.cluster.errors import ApiError, Expired

Handler = Callable[[Object | None, Object | None], None]

RETRY_SECONDS = 0.2
"""Pause before the next try when the server did not answer; doubles up to MAX_RETRY_SECONDS."""
MAX_RETRY_SECONDS = 5.0

log = logging.getLogger(__name__)


class Informer:
    """The cached objects of one kind (`index`), kept up to date by `run`."""

    def __init__(self, client: Client, kind: str, *, namespace: str = "", field_selector: str = "") -> None:
        self.kind = kind
        self.index = ObjectIndex()
        self.revision = 0
        self.synced = asyncio.Event()
        """Set once the first list is in the index."""
        self._client = client
        self._namespace = namespace
        self._field_selector = field_selector
        self._handlers: list[Handler] = []
        self._moved = asyncio.Condition()

    def subscribe(self, handler: Handler) -> None:
        """Call `handler(old, new)` for every later change, and (None, obj) for everything in the first list."""
        self._handlers.append(handler)

    async def reached(self, revision: int) -> None:
        """Wait until the index shows the state at `revision` or a later one."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.revision >= revision)

    async def lost(self, namespace: str, name: str, uid: str) -> None:
        """Wait until the index has no object of this name and uid."""

        def is_gone() -> bool:
            present = self.index.get(namespace, name)
            return present is None or uid_of(present) != uid

        async with self._moved:
            await self._moved.wait_for(is_gone)

    async def run(self) -> None:
        """Follow the server until cancelled."""
        pause = RETRY_SECONDS
        while True:
            try:
                await self._relist()
                pause = RETRY_SECONDS
                await self._follow()
            except Expired:
                continue
            except ApiError as error:
                log.info("informer %s: %s; again in %.1f s", self.kind, error, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_RETRY_SECONDS)

    async def _relist(self) -> None:
        listing = await self._client.list(self.kind, self._namespace, field_selector=self._field_selector)
        fresh = {key_of(obj) for obj in listing.items}
        gone = [obj for obj in self.index if key_of(obj) not in fresh]
        for obj in listing.items:
            self._apply(obj)
        for obj in gone:
            self._drop(obj)
        await self._advance(int(listing.revision))
        self.synced.set()

    async def _follow(self) -> None:
        """Watch until the stream ends; an ended stream is resumed where it stopped."""
        while True:
            async with self._client.watch(
                self.kind, self._namespace, revision=str(self.revision), field_selector=self._field_selector
            ) as events:
                async for event in events:
                    if event.type == "DELETED":
                        self._drop(event.object)
                    elif event.type != "BOOKMARK":
                        self._apply(event.object)
                    await self._advance(int(event.object["metadata"]["resourceVersion"]))

    def _apply(self, obj: Object) -> None:
        old = self.index.get(namespace_of(obj), name_of(obj))
        if old is not None and old["metadata"].get("resourceVersion") == obj["metadata"].get("resourceVersion"):
            return
        self.index.put(obj)
        self._tell(old, obj)

    def _drop(self, obj: Object) -> None:
        if old := self.index.discard(namespace_of(obj), name_of(obj)):
            self._tell(old, None)

    def _tell(self, old: Object | None, new: Object | None) -> None:
        for handler in self._handlers:
            handler(old, new)

    async def _advance(self, revision: int) -> None:
        async with self._moved:
            self.revision = max(self.revision, revision)
            self._moved.notify_all()

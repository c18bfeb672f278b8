"""An informer keeps one kind's objects in an index that follows the API server.

    list ──▶ replace the index ──▶ watch from the last revision ──▶ put / discard ──▶ handlers
      ▲                              ▲         │
      │                              └─────────┤ the server ended the stream
      └────────────────────────────────────────┘ Expired, Unavailable

What ends is taken up again at once, but not what ended at once: a pause (backoff.py) follows a failed list, an error
within SHORT_WATCH_SECONDS of a list, and a watch that was as short and brought nothing. So no trouble of a server
becomes a storm of requests.

Handlers are called with (old, new) for every difference, also those found by a relist; `None` means absent. They
are plain functions and must not block. The index is current up to `revision`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from random import Random

from petset.cluster.api.objects import Object, name_of, namespace_of, uid_of
from petset.cluster.control.backoff import Backoff
from petset.cluster.control.client import Client
from petset.cluster.control.snapshot import ObjectIndex, key_of
from petset.cluster.errors import ApiError

Handler = Callable[[Object | None, Object | None], None]

SHORT_WATCH_SECONDS = 1.0
"""A watch that ends earlier without having brought anything has failed (reflector.go: very short watch)."""
LONG_WATCH_SECONDS = 10.0
"""After a watch of this length pauses begin anew. A reflector wants two minutes without a pause; here API servers are
killed on purpose, and often."""

log = logging.getLogger(__name__)


class Informer:
    """The cached objects of one kind (`index`), kept up to date by `run`.

    `chance` is the pauses' jitter: one of its own for each who watches the same. Without, what is watched seeds it, so
    that a replay pauses alike.
    """

    def __init__(
        self, client: Client, kind: str, *, namespace: str = "", field_selector: str = "", chance: Random | None = None
    ) -> None:
        self.kind = kind
        self.index = ObjectIndex()
        self.revision = 0
        self.synced = asyncio.Event()
        """Set once the first list is in the index."""
        self._client = client
        self._namespace = namespace
        self._field_selector = field_selector
        self._chance = chance or Random(f"{kind} {namespace} {field_selector}")
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
        backoff = Backoff(self._chance)
        while True:
            try:
                await self._relist()
            except ApiError as error:
                await self._pause(backoff, str(error))
            else:
                await self._follow(backoff)

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

    async def _follow(self, backoff: Backoff) -> None:
        """Watch until an error says to list again; an ended stream is resumed where it stopped."""
        now = asyncio.get_running_loop().time
        listed_at = now()
        while True:
            began_at, began_from = now(), self.revision
            error = await self._watch()
            if now() - began_at >= LONG_WATCH_SECONDS:
                backoff.reset()
            seconds = now() - (listed_at if error else began_at)
            if seconds < SHORT_WATCH_SECONDS and (error or self.revision == began_from):
                await self._pause(backoff, str(error or "the watch ended at once"))
            if error:
                return

    async def _watch(self) -> ApiError | None:
        """One watch to its end; answers the error that ended it, None when the server ended it in good order."""
        try:
            async with self._client.watch(
                self.kind, self._namespace, revision=str(self.revision), field_selector=self._field_selector
            ) as events:
                async for event in events:
                    if event.type == "DELETED":
                        self._drop(event.object)
                    elif event.type != "BOOKMARK":
                        self._apply(event.object)
                    await self._advance(int(event.object["metadata"]["resourceVersion"]))
        except ApiError as error:
            return error
        return None

    async def _pause(self, backoff: Backoff, why: str) -> None:
        seconds = backoff.next_seconds()
        log.info("informer %s: %s; again in %.1f s", self.kind, why, seconds)
        await asyncio.sleep(seconds)

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

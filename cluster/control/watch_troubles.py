"""Troubles between an API server and a watcher: changes that arrive late, twice or never.

    server ── list ─────────────────────────────────────────▶ informer        lists are never troubled
           ── watch ──▶ late by n s ──▶ lost by chance ──▶ twice ──▶ informer

`WatchTroubles` is a process's switchboard: troubles for all its watches, or for those of one controller, put there
and taken away while it runs (petset chaos inject delay-watch, duplicate-watch, drop-watch). `TroubledClient` is what
watchers are handed: when their troubles change it ends their watches, which resume where they stopped, in the new
order. A cache that lost changes is not told by a resumed watch what it missed: once it may see everything again, its
watch is answered with Expired, so that it lists anew. Order is never changed, and bookmarks are never lost: a cache
that lost a change believes that it is current.

At most MAX_LATE changes wait for their time; then the watch has expired, as at a server whose client is too slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from petset.cluster.control.client import Client, Listing, WatchEvent
from petset.cluster.errors import Expired

EVERY_WATCH = ""
"""The name of all watches of the process, whoever's they are."""

MAX_LATE = 10_000

_Place = tuple[str, str, str]


@dataclass(frozen=True)
class WatchTrouble:
    """What happens to changes on their way. `lost_share` from 0 to 1; bookmarks are never lost."""

    delay_seconds: float = 0.0
    twice: bool = False
    lost_share: float = 0.0

    def __or__(self, other: WatchTrouble) -> WatchTrouble:
        """Both at once: the longer delay, the larger share."""
        return replace(
            self,
            delay_seconds=max(self.delay_seconds, other.delay_seconds),
            twice=self.twice or other.twice,
            lost_share=max(self.lost_share, other.lost_share),
        )


NO_TROUBLE = WatchTrouble()


class WatchTroubles:
    """The troubles of one process; `chance` decides what is lost. Belongs to its event loop."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self._by_key: dict[str, tuple[str, WatchTrouble]] = {}
        self._watching: set[asyncio.Timeout] = set()
        self._changed = asyncio.Event()

    def put(self, key: str, watcher: str, trouble: WatchTrouble) -> None:
        """Trouble the watches of a controller (or EVERY_WATCH) until `key` is taken away."""
        self._by_key[key] = watcher, trouble
        self._change()

    def take_away(self, key: str) -> None:
        if self._by_key.pop(key, None):
            self._change()

    def of(self, watcher: str) -> WatchTrouble:
        """What a watcher has to bear now."""
        found = NO_TROUBLE
        for name, trouble in self._by_key.values():
            if name in (watcher, EVERY_WATCH):
                found |= trouble
        return found

    @property
    def watchers(self) -> set[str]:
        """The controllers that are troubled by name."""
        return {name for name, _ in self._by_key.values()} - {EVERY_WATCH}

    @property
    def next_change(self) -> asyncio.Event:
        """Set by the next change."""
        return self._changed

    @contextmanager
    def watching(self, until: asyncio.Timeout) -> Iterator[None]:
        """Within the block, a change of troubles ends `until`."""
        self._watching.add(until)
        try:
            yield
        finally:
            self._watching.discard(until)

    def _change(self) -> None:
        now = asyncio.get_running_loop().time()
        for until in self._watching:
            until.reschedule(now)
        self._changed.set()
        self._changed = asyncio.Event()


class TroubledClient:
    """The `Client` of one watcher; everything but its watches is the underlying client's."""

    def __init__(self, client: Client, troubles: WatchTroubles, *, watcher: str = EVERY_WATCH) -> None:
        self._client = client
        self._troubles = troubles
        self._watcher = watcher
        self._has_gaps: set[_Place] = set()
        """Whose changes were lost since they were listed."""
        self.get: Callable[..., Any] = client.get
        self.create: Callable[..., Any] = client.create
        self.update: Callable[..., Any] = client.update
        self.patch: Callable[..., Any] = client.patch
        self.delete: Callable[..., Any] = client.delete

    async def list(
        self, kind: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        self._has_gaps.discard((kind, namespace, field_selector))
        return await self._client.list(kind, namespace, label_selector=label_selector, field_selector=field_selector)

    @asynccontextmanager
    async def watch(
        self, kind: str, namespace: str = "", *, revision: str, field_selector: str = ""
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        place, trouble = (kind, namespace, field_selector), self._troubles.of(self._watcher)
        if not trouble.lost_share and place in self._has_gaps:
            raise Expired("changes were lost; list again")
        async with self._client.watch(kind, namespace, revision=revision, field_selector=field_selector) as events:
            if not trouble.delay_seconds:
                yield self._troubled(events, trouble, place)
                return
            async with _late(events, trouble.delay_seconds) as late:
                yield self._troubled(late, trouble, place)

    async def _troubled(
        self, events: AsyncIterator[WatchEvent], trouble: WatchTrouble, place: _Place
    ) -> AsyncIterator[WatchEvent]:
        """The changes as this trouble lets them through; ends when the troubles have changed."""
        while trouble == self._troubles.of(self._watcher):
            try:
                async with asyncio.timeout(None) as until:
                    with self._troubles.watching(until):
                        event = await anext(events)
            except StopAsyncIteration:
                return
            except TimeoutError:
                continue
            is_change = event.type != "BOOKMARK"
            if is_change and trouble.lost_share and self._troubles.chance.random() < trouble.lost_share:
                self._has_gaps.add(place)
                continue
            yield event
            if is_change and trouble.twice:
                yield event


@asynccontextmanager
async def _late(events: AsyncIterator[WatchEvent], seconds: float) -> AsyncIterator[AsyncIterator[WatchEvent]]:
    """Every change that much later than it came, and the end of the stream as well."""
    waiting: asyncio.Queue[tuple[float, WatchEvent | Exception | None]] = asyncio.Queue(MAX_LATE)
    reading = asyncio.create_task(_read(events, waiting), name="late changes")
    try:
        yield _in_time(waiting, seconds)
    finally:
        reading.cancel()
        await asyncio.wait({reading})  # unlike `await reading`, it lets a cancellation of ours pass


async def _read(
    events: AsyncIterator[WatchEvent], waiting: asyncio.Queue[tuple[float, WatchEvent | Exception | None]]
) -> None:
    """Put everything that comes into the queue with the time of its arrival, then how the stream ended."""
    loop = asyncio.get_running_loop()
    end: Exception | None = None
    try:
        async for event in events:
            if waiting.qsize() >= MAX_LATE - 1:
                end = Expired(f"{MAX_LATE} changes wait for their time")
                break
            waiting.put_nowait((loop.time(), event))
    except Exception as error:  # handed on, to be raised in its turn
        end = error
    waiting.put_nowait((loop.time(), end))


async def _in_time(
    waiting: asyncio.Queue[tuple[float, WatchEvent | Exception | None]], seconds: float
) -> AsyncIterator[WatchEvent]:
    loop = asyncio.get_running_loop()
    while True:
        came_at, event = await waiting.get()
        await asyncio.sleep(came_at + seconds - loop.time())
        if event is None:
            return
        if isinstance(event, Exception):
            raise event
        yield event

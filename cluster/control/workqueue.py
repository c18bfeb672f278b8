"""A queue of keys: each at most once, one worker per key, later or again after failures.

    add ──▶ ready ──take──▶ being worked on ──done──▶ (added meanwhile? ready again)
             ▲
             └── add_at / retry: when its time has come

A key that is added while it is being worked on is handed out again when the worker is done with it, so nothing that
happened meanwhile is missed. The queue holds each key once, so it is bounded by the number of objects.
"""

from __future__ import annotations

import asyncio
from collections import deque

from petset.cluster.control.snapshot import Key

FIRST_RETRY_SECONDS = 0.005
MAX_RETRY_SECONDS = 30.0
"""client-go doubles from 5 ms up to 1000 s; a cluster that lives for minutes is better served by a lower ceiling."""


class WorkQueue:
    """The keys of one controller. Belongs to one event loop."""

    def __init__(self) -> None:
        self._ready: deque[Key] = deque()
        self._waiting: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()

    def add(self, key: Key) -> None:
        """Hand the key out as soon as possible."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Hand the key out after a while; an earlier time already set stays."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(seconds, 0.0)
        if (timer := self._timers.get(key)) is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._due, key)

    def retry(self, key: Key) -> float:
        """Hand the key out after its backoff, which doubles with every failure; answers the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        seconds = min(FIRST_RETRY_SECONDS * 2.0 ** min(failures, 30), MAX_RETRY_SECONDS)
        self.add_after(key, seconds)
        return seconds

    def succeeded(self, key: Key) -> None:
        """Forget the key's failures."""
        self._failures.pop(key, None)

    async def take(self) -> Key:
        """The next key; the caller must say `done` afterwards."""
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """The worker is finished with the key."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Cancel every timer."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    @property
    def idle(self) -> bool:
        """Nothing ready and nothing being worked on (timers may be set)."""
        return not (self._ready or self._working)

    def _due(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)

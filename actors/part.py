"""A part of an actor that has no process of its own, and can still be killed and held down: a node's service proxy.

    run ─▶ body ── kill() ─────────▶ cancelled where it stands ─▶ body anew
                └─ hold_down(reason) ▶ cancelled ─▶ nothing until let_up(reason) ─▶ body anew

A part that fails by itself fails its actor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from petset.actors.hold import Hold


class Part:
    """`body` is run again and again; the calls may come at any time."""

    def __init__(self) -> None:
        self._running: list[asyncio.Task[None]] = []
        self._hold = Hold()

    async def run(self, body: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled, or until the body fails or ends by itself."""
        while True:
            await self._hold.until_free()
            task = asyncio.ensure_future(_as_coroutine(body))
            self._running.append(task)
            try:
                await asyncio.wait({task})
            finally:
                self._running.remove(task)
                task.cancel()
                await asyncio.wait({task})
            if not task.cancelled():
                return task.result()

    def kill(self) -> None:
        """End it where it stands; it begins anew unless it is held down."""
        for task in self._running:
            task.cancel()

    def hold_down(self, reason: str) -> None:
        self._hold.add(reason)
        self.kill()

    def let_up(self, reason: str) -> None:
        self._hold.take_back(reason)


async def _as_coroutine(body: Callable[[], Awaitable[None]]) -> None:
    await body()

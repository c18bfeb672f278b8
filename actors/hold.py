"""What is held down for reasons: it may live while there is none.

    f1 holds ──┐                    f1 heals ── f2 still holds ── f2 heals ── it may live
    f2 holds ──┴─▶ it is down

Who ends it is whoever holds it down: nothing is ended here.
"""

from __future__ import annotations

import asyncio


class Hold:
    """The reasons (ids of faults) that hold one thing down."""

    def __init__(self) -> None:
        self._reasons: set[str] = set()
        self._free = asyncio.Event()
        self._free.set()

    @property
    def is_free(self) -> bool:
        return self._free.is_set()

    async def until_free(self) -> None:
        await self._free.wait()

    def add(self, reason: str) -> None:
        self._reasons.add(reason)
        self._free.clear()

    def take_back(self, reason: str) -> None:
        """Unknown reasons are no error."""
        self._reasons.discard(reason)
        if not self._reasons:
            self._free.set()

    def take_all_back(self) -> None:
        """For the end: whatever waits goes on."""
        self._reasons.clear()
        self._free.set()

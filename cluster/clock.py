"""Wall-clock time as an argument: every part that reads the time is handed a `Clock`.

Waiting is not here: it goes through the event loop's own timers (`asyncio.sleep`, `asyncio.timeout`), so a loop
with virtual time runs the whole control plane. `LoopClock` ties the wall clock to that loop, so that both agree.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What time it is, as seconds since the Unix epoch."""

    def now(self) -> float: ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> float:
        return time.time()


class ShiftedClock:
    """Another clock put forward by `shift_seconds` (back when negative), which may change at any time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.shift_seconds = 0.0

    def now(self) -> float:
        return self._clock.now() + self.shift_seconds


class LoopClock:
    """A wall clock that moves with the running event loop: virtual when the loop's time is virtual."""

    def __init__(self, epoch_seconds: float = 1_767_225_600.0) -> None:  # 2026-01-01T00:00:00Z
        self._epoch_seconds = epoch_seconds

    def now(self) -> float:
        return self._epoch_seconds + asyncio.get_running_loop().time()

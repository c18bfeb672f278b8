"""Measures a node when somebody wants to know: nothing is measured while nobody asks.

A rate needs two measurements. The first question takes both, WAIT_SECONDS apart; whoever asks again within
KEPT_SECONDS gets the rate since the question before. Questions come one at a time; one that comes less than
FRESH_SECONDS after another gets the same answer.
"""

from __future__ import annotations

import asyncio

from petset.cluster.api.cri import MachineUsage
from petset.cluster.api.objects import Object
from petset.cluster.clock import Clock
from petset.cluster.kubelet.runtime import Runtime
from petset.cluster.kubelet.usage import summary

WAIT_SECONDS = 1.0
FRESH_SECONDS = 1.0
KEPT_SECONDS = 60.0


class UsageMeter:
    """One node's meter."""

    def __init__(self, node_name: str, runtime: Runtime, clock: Clock) -> None:
        self._node_name = node_name
        self._runtime = runtime
        self._clock = clock
        self._turn = asyncio.Lock()
        self._taken: list[MachineUsage] = []
        """The latest measurements, oldest first: two at the most."""

    async def summary(self) -> Object:
        """The node's `stats/summary`. Raises ApiError when the node does not answer."""
        async with self._turn:
            await self._measure()
            earlier, latest = self._taken
        sandboxes = await self._runtime.list_sandboxes()
        return summary(self._node_name, sandboxes, earlier=earlier, latest=latest)

    async def _measure(self) -> None:
        age_seconds = self._clock.now() - self._taken[-1].taken_at if self._taken else KEPT_SECONDS
        if len(self._taken) == 2 and age_seconds < FRESH_SECONDS:
            return
        if age_seconds >= KEPT_SECONDS:
            self._taken = [await self._runtime.measure()]
            await asyncio.sleep(WAIT_SECONDS)
        self._taken = [self._taken[-1], await self._runtime.measure()]

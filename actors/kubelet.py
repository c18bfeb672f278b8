"""kubelet-N: the agent of node-N, which is another actor: the kubelet may die while its node's pods go on."""

from __future__ import annotations

import asyncio

from petset.actors.lifeline import Lifeline
from petset.actors.shell import Shell
from petset.cluster.clock import ShiftedClock, SystemClock
from petset.cluster.settings import ClusterSettings


class KubeletShell(Shell):
    def __init__(self, settings: ClusterSettings, actor_name: str, lifeline: Lifeline, node_name: str) -> None:
        super().__init__(settings, actor_name, lifeline)
        self._node_name = node_name
        self._clock = ShiftedClock(SystemClock())
        self._shifts: dict[str, float] = {}

    async def run(self, ready: asyncio.Event) -> None:
        from petset.actors.runtime_client import RemoteRuntime
        from petset.cluster.assemble.kubelet import run_kubelet

        await run_kubelet(
            self.settings, self._node_name, RemoteRuntime(self._node_name), ready,
            clock=self._clock, troubles=self.watch_troubles,
        )  # fmt: skip

    async def shift_clock(self, key: str, seconds: float) -> None:
        """Let the kubelet believe that it is later by so much (earlier when negative); several shifts add up."""
        self._shifts[key] = seconds
        self._clock.shift_seconds = sum(self._shifts.values())

    async def restore_clock(self, key: str) -> None:
        """End a shift; one that is not there is no error."""
        self._shifts.pop(key, None)
        self._clock.shift_seconds = sum(self._shifts.values())

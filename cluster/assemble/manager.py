"""Controllers in one process, over one set of shared informers."""

from __future__ import annotations

import asyncio

from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.control.controller import Controller
from petset.cluster.control.runner import Informers, Runner


class ControllerManager:
    """All controllers over one set of shared informers."""

    def __init__(self, client: Client, clock: Clock, controllers: tuple[Controller, ...]) -> None:
        self._informers = Informers(client, (kind for each in controllers for kind in each.kinds))
        self._runners = [Runner(each, client=client, informers=self._informers, clock=clock) for each in controllers]

    async def synced(self) -> None:
        """Wait until every informer has its first list."""
        await self._informers.synced()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._informers.run(), name="informers")
            for number, runner in enumerate(self._runners):
                tasks.create_task(runner.run(), name=f"controller {number}")

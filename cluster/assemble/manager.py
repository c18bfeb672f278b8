"""Controllers in one process, over one set of shared informers.

A controller whose watches are troubled by name (control/watch_troubles.py) leaves the others for good: it is started
again over informers of its own, with cold caches, and only these are troubled. Controllers may be stopped anywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.control.controller import Controller
from petset.cluster.control.runner import Informers, Runner
from petset.cluster.control.watch_troubles import EVERY_WATCH, TroubledClient, WatchTroubles


class ControllerManager:
    """All controllers over one set of shared informers."""

    def __init__(
        self, client: Client, clock: Clock, controllers: tuple[Controller, ...], troubles: WatchTroubles | None = None
    ) -> None:
        self._client = client
        self._clock = clock
        self._controllers = controllers
        self._troubles = troubles or WatchTroubles(Random(0))
        self._informers = self._informers_of(controllers)
        self._runners = [self._runner(each, self._informers) for each in controllers]

    async def synced(self) -> None:
        """Wait until every informer has its first list."""
        await self._informers.synced()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._informers.run(), name="informers")
            together: dict[str, list[asyncio.Task[None]]] = {each.component: [] for each in self._controllers}
            for controller, runner in zip(self._controllers, self._runners, strict=True):
                together[controller.component].append(tasks.create_task(runner.run(), name=controller.component))
            while True:
                change = self._troubles.next_change
                for name in self._troubles.watchers & together.keys():
                    await _end(together.pop(name))
                    tasks.create_task(self._run_apart(name), name=f"{name}, apart")
                await change.wait()

    async def _run_apart(self, name: str) -> None:
        """The controllers of that name, over informers of their own."""
        controllers = [each for each in self._controllers if each.component == name]
        informers = self._informers_of(controllers, watcher=name)
        async with asyncio.TaskGroup() as tasks:
            for controller in controllers:
                tasks.create_task(self._runner(controller, informers).run(), name=name)
            tasks.create_task(informers.run(), name=f"informers of {name}")

    def _informers_of(self, controllers: Sequence[Controller], *, watcher: str = EVERY_WATCH) -> Informers:
        client = TroubledClient(self._client, self._troubles, watcher=watcher)
        return Informers(client, (kind for each in controllers for kind in each.kinds))

    def _runner(self, controller: Controller, informers: Informers) -> Runner:
        return Runner(controller, client=self._client, informers=informers, clock=self._clock)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

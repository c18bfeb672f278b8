"""What every random history of a whole cluster has: deeds by weight, watches that miss nothing, controllers that die.

    step ──▶ one deed of the table, some time ──▶ check        changes ◀── watches of the test's own, undelayed
    crash controllers ──▶ right before or after one of their next writes; the next life begins with cold caches

Everything is chosen by one Random, and time is virtual: a seed is a history.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from petset.cluster.api.objects import name_of
from petset.cluster.errors import ApiError
from tests.fakes.unruly import Trouble
from tests.histories.cluster_promises import Change
from tests.local import Local

MOST_WRITES_TO_DEATH = 14

Deeds = Mapping[str, tuple[int, Callable[[Any], Awaitable[None]]]]
"""name -> (weight, what is done with the history)"""


def now_seconds() -> float:
    return asyncio.get_running_loop().time()


class Life:
    """One cluster and its troubles; `log` gets a line per deed."""

    def __init__(self, local: Local, random: Random, trouble: Trouble, log: list[str]) -> None:
        self.local = local
        self.random = random
        self.trouble = trouble
        self.log = log
        self._changes: list[Change] = []
        self._controllers_run = True
        trouble.on_death = self.controllers_died

    @asynccontextmanager
    async def watching(self, kinds: Iterable[str]) -> AsyncIterator[None]:
        """Keep every change of these kinds."""
        signs = {kind: asyncio.Event() for kind in kinds}
        followers = [asyncio.create_task(self._follow(kind, ready)) for kind, ready in signs.items()]
        for ready in signs.values():
            await ready.wait()
        try:
            yield
        finally:
            for task in followers:
                task.cancel()
            await asyncio.gather(*followers, return_exceptions=True)

    async def _follow(self, kind: str, ready: asyncio.Event) -> None:
        listing = await self.local.client.list(kind)
        async with self.local.client.watch(kind, revision=listing.revision) as events:
            ready.set()
            async for event in events:
                revision = int(event.object["metadata"]["resourceVersion"])
                obj = None if event.type == "DELETED" else event.object
                self._changes.append(Change(revision, now_seconds(), kind, name_of(event.object), obj))

    def news(self) -> list[Change]:
        """What changed since this was asked the last time."""
        changes, self._changes = self._changes, []
        return changes

    def note(self, text: str) -> None:
        self.log.append(f"{now_seconds():8.2f}s  {text}")

    async def do_one(self, deeds: Deeds) -> None:
        """A deed by chance; what the API server refuses is no fault."""
        name = self.random.choices(list(deeds), [weight for weight, _ in deeds.values()])[0]
        self.note(f">> {name}")
        try:
            await deeds[name][1](self)
        except ApiError as error:
            self.note(f"   {error}")

    async def crash_controllers(self) -> None:
        """Now, or right before or after one of their next writes."""
        if self._controllers_run:
            self.trouble.die_after(self.random.randint(0, MOST_WRITES_TO_DEATH))

    def controllers_died(self) -> None:
        self._controllers_run = False
        self.local.cluster.crash_controllers()

    async def start_controllers(self) -> None:
        """With cold caches, if they are dead."""
        if not self._controllers_run:
            self._controllers_run = True
            self.local.cluster.start_controllers()

"""Controllers over every kind there is, custom ones included.

    CustomResourceDefinitions ─▶ their kinds change ─▶ the client learns them ─▶ all controllers start anew

Garbage collection and the end of a namespace must know every kind. Definitions change rarely, and controllers may be
stopped anywhere, so starting all of them again with cold caches is the whole mechanism. Kinds are known by their `kind`
alone: a custom kind of the name of another kind is served, but nothing here acts on its objects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from petset.cluster.api.kinds import BUILT_IN, Kind
from petset.cluster.api.objects import Object
from petset.cluster.apiserver.custom_resources import established_rows
from petset.cluster.assemble.manager import ControllerManager
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.control.controller import Controller
from petset.cluster.control.informer import Informer
from petset.cluster.control.watch_troubles import WatchTroubles

MakeControllers = Callable[[tuple[Kind, ...]], tuple[Controller, ...]]
"""From the custom kinds there are to all controllers."""


class CustomRows:
    """The custom kinds that are known now; called, it answers them (`Registry.extra` of a client)."""

    def __init__(self) -> None:
        self.rows: tuple[Kind, ...] = ()

    def __call__(self) -> tuple[Kind, ...]:
        return self.rows

    def learn(self, definitions: Iterable[Object]) -> bool:
        """Take over what the definitions say now; whether that is anything new."""
        names = {kind.kind for kind in BUILT_IN}
        found: dict[str, Kind] = {}
        for definition in definitions:
            for row in established_rows(definition)[:1]:
                if row.kind not in names:
                    found.setdefault(row.kind, row)
        rows = tuple(sorted(found.values(), key=lambda row: (row.group, row.kind)))
        changed = rows != self.rows
        self.rows = rows
        return changed


async def run_over_every_kind(
    client: Client, clock: Clock, make: MakeControllers, *, known: CustomRows, ready: asyncio.Event,
    troubles: WatchTroubles | None = None,
) -> None:  # fmt: skip
    """Run all controllers until cancelled; `ready` is set when their caches are filled for the first time.

    `known` should be what `client` finds custom kinds by; `troubles` are the controllers' watches'.
    """
    definitions, changed = Informer(client, "CustomResourceDefinition"), asyncio.Event()
    definitions.subscribe(lambda old, new: changed.set())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(definitions.run(), name="informer of definitions")
        await definitions.synced.wait()
        known.learn(definitions.index)
        while True:
            manager = ControllerManager(client, clock, make(known.rows), troubles)
            running = {
                tasks.create_task(manager.run(), name="controller manager"),
                tasks.create_task(_tell(manager, ready), name="controllers are ready"),
            }
            # Caches need not be filled by then: that of a kind that has just gone never will be.
            await _news(definitions, changed, known)
            for task in running:
                task.cancel()
            await asyncio.wait(running)


async def _tell(manager: ControllerManager, ready: asyncio.Event) -> None:
    await manager.synced()
    ready.set()


async def _news(definitions: Informer, changed: asyncio.Event, known: CustomRows) -> None:
    """Wait until the definitions mean other kinds than those that are known."""
    while True:
        await changed.wait()
        changed.clear()
        if known.learn(definitions.index):
            return

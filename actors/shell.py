"""The base of every actor: a plain class that runs one component inside a Ray worker, and can be told to stop.

    supervisor ── serve() ─────────▶ runs the component; returns after stop(), raises when the component failed.
               ── ready() ─────────▶ answers the process id once the component is ready
               ── stop() ──────────▶ the component is cancelled and cleans up

`serve` stays outstanding for the actor's life: when the process dies, it fails at the supervisor within
milliseconds, which is how a death is noticed. Nothing here survives the supervisor (lifeline.py).

A shell holds no behaviour of its component, and imports it only when it runs: the supervisor, which has to know
every shell class, then starts without loading the whole cluster.

Never raise SystemExit in an actor: with another call in flight, Ray 2.60 hangs instead of ending the process.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from abc import ABC, abstractmethod
from random import SystemRandom

from petset.actors.lifeline import Lifeline
from petset.actors.logs import log_to_file
from petset.cluster.control.watch_troubles import WatchTrouble, WatchTroubles
from petset.cluster.settings import ClusterSettings

_log = logging.getLogger(__name__)


class ComponentFailed(Exception):
    """A component ended with an error; its traceback is in the actor's log file. Positional: it crosses Ray."""


class Shell(ABC):
    """One component as an actor. Ray calls everything here on one event loop."""

    def __init__(self, settings: ClusterSettings, actor_name: str, lifeline: Lifeline) -> None:
        self.settings = settings
        self.actor_name = actor_name
        self._lifeline = lifeline
        self.watch_troubles = WatchTroubles(SystemRandom())
        self._ready = asyncio.Event()
        self._stop = asyncio.Event()

    @abstractmethod
    async def run(self, ready: asyncio.Event) -> None:
        """Run the component until cancelled; set `ready` once it serves. Ending by itself counts as a failure."""

    async def serve(self) -> None:
        """Run until stopped. Raises ComponentFailed."""
        log_to_file(self.settings.folder, self.actor_name)
        self._lifeline.hold()
        _log.info("%s starts, process %d", self.actor_name, os.getpid())
        collecting = asyncio.create_task(_collect_garbage_once(self._ready), name="garbage collection")
        component = asyncio.create_task(self.run(self._ready), name=self.actor_name)
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        await asyncio.wait({component, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        collecting.cancel()
        component.cancel()
        result, *_ = await asyncio.gather(component, return_exceptions=True)
        if isinstance(result, Exception):
            _log.error("%s failed", self.actor_name, exc_info=result)
            raise ComponentFailed(f"{type(result).__name__}: {result}")
        if not self._stop.is_set():
            raise ComponentFailed("it ended by itself")
        _log.info("%s stopped", self.actor_name)

    async def ready(self) -> int:
        """Wait until the component is ready; the process id."""
        await self._ready.wait()
        return os.getpid()

    async def stop(self) -> None:
        """Ask the component to end; `serve` returns when it has."""
        self._stop.set()

    async def trouble_watches(self, key: str, watcher: str, trouble: WatchTrouble) -> None:
        """From now on, what the component (or its controller `watcher`) watches comes late, twice or not at all."""
        self.watch_troubles.put(key, watcher, trouble)

    async def relieve_watches(self, key: str) -> None:
        """End a trouble."""
        self.watch_troubles.take_away(key)


async def _collect_garbage_once(ready: asyncio.Event) -> None:
    """Let the collector rest while a component imports and builds what stays for ever, then leave that alone for good.

    A quarter of the time that importing takes is otherwise spent on looking for garbage among new modules.
    """
    gc.disable()
    try:
        await ready.wait()
    finally:
        gc.freeze()
        gc.enable()

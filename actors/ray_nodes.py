"""The Ray nodes of a cluster: the first, with which the cluster ends, and further ones, which are kept alive.

    start (raylet.py) ─▶ a life: actors are made on it ─▶ the raylet dies ─▶ the rest is ended ─▶ pause ─▶ start …
                                                       ▲                  └▶ `ended`: its actors' keepers know
                    kill, hold_down (faults) ──────────┘

Everything on a further Ray node dies with its raylet, like the machines of a rack without power: the kernel ends
the actors with the raylet, and the rest with the actors. Their keepers (keeper.py) wait for the next life.

Frozen, all of it stands still: raylet, actors, warm parents, pods. Ray is patient with that (ray_environment.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import psutil

from petset.actors.backoff import Backoff
from petset.actors.hold import Hold
from petset.cluster.chaos.errors import CannotHere
from petset.cluster.chaos.freezing import thaw_all

_log = logging.getLogger(__name__)

_DEATH_SECONDS = 15.0


class Raylet(Protocol):
    """A raylet that runs, with all that is on it (raylet.py). What is not a coroutine blocks."""

    @property
    def node_id(self) -> str: ...

    @property
    def process_id(self) -> int: ...

    async def death(self) -> None:
        """Wait for it."""

    @property
    def is_frozen(self) -> bool: ...

    def freeze(self) -> list[psutil.Process]:
        """Stop everything; what was stopped. Raises CannotHere."""

    def kill(self) -> None:
        """End everything."""

    def bury(self) -> None:
        """End what is left after its death."""


@dataclass(frozen=True)
class Life:
    """A Ray node from its start to its end."""

    node_id: str
    died: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing can be made on it any more; what is left of it may still be there."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Home(Protocol):
    """Where actors are made."""

    async def life(self) -> Life:
        """Wait until it is up."""


class FirstRayNode:
    """The Ray node of this process, whose end is the cluster's."""

    def __init__(self, node_id: str) -> None:
        self._life = Life(node_id)

    async def life(self) -> Life:
        return self._life


class FurtherRayNode:
    """One name; a `Component` (cluster/chaos/world.py). `start` blocks, in `thread`; `tell` hears of every death."""

    has_process = True

    def __init__(
        self, name: str, start: Callable[[], Raylet], *, thread: Executor, tell: Callable[[str], None]
    ) -> None:
        self.name = name
        self._start = start
        self._thread = thread
        self._tell = tell
        self._backoff = Backoff()
        self._hold = Hold()
        self._retired = asyncio.Event()
        self._living: list[tuple[Raylet, Life]] = []
        """The present life until it has ended; empty between two."""
        self._changed = asyncio.Condition()
        self._frozen: dict[str, list[psutil.Process]] = {}

    async def run(self) -> None:
        """Keep it alive until it is retired."""
        loop = asyncio.get_running_loop()
        while True:
            await self._hold.until_free()
            if self._retired.is_set():
                return
            started = loop.time()
            cause = await self._live_once()
            if not self._retired.is_set():
                self._tell(f"{self.name} died ({cause}): the nodes and pods on it died with it, and come back with it")
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._backoff.after_death(loop.time() - started)):
                        await self._retired.wait()

    async def life(self) -> Life:
        """Wait until it is up."""
        async with self._changed:
            await self._changed.wait_for(self._up)
            return self._up()[-1][1]

    def retire(self) -> None:
        """From now on it is not started again."""
        self._retired.set()
        self._hold.take_all_back()

    async def stop(self) -> None:
        """End it for good, with all that is on it."""
        self.retire()
        for raylet, life in [*self._living]:
            await asyncio.to_thread(raylet.kill)
            await life.ended.wait()

    @property
    def process_id(self) -> int:
        """The raylet's process; 0 between two lives."""
        return next((raylet.process_id for raylet, _ in self._up()), 0)

    async def kill(self) -> None:
        """SIGKILL for everything on it; returns when this life is over. Raises CannotHere."""
        raylet, life = self._present(self._living)
        try:
            async with asyncio.timeout(_DEATH_SECONDS):
                await asyncio.to_thread(raylet.kill)
                await life.ended.wait()
        except TimeoutError as error:
            raise CannotHere(f"{self.name} does not die, process {raylet.process_id}") from error

    async def hold_down(self, reason: str) -> None:
        """Kill it, and start it again only when no reason holds it down any more. Raises CannotHere."""
        self._hold.add(reason)
        try:
            if self._living:
                await self.kill()
        except CannotHere:
            self._hold.take_back(reason)
            raise

    async def let_up(self, reason: str) -> None:
        self._hold.take_back(reason)

    async def freeze(self, reason: str) -> None:
        """SIGSTOP for everything on it. Raises CannotHere when it is not up, or frozen already."""
        raylet, _ = self._present(self._up())
        if raylet.is_frozen:
            raise CannotHere(f"{self.name} is frozen already")
        self._frozen[reason] = await asyncio.to_thread(raylet.freeze)

    async def thaw(self, reason: str) -> None:
        """SIGCONT to what was frozen and still lives."""
        thaw_all(self._frozen.pop(reason, []))

    async def order(self, key: str, method: str, *arguments: Any) -> Any:
        return await self.ask(method)

    async def recall(self, key: str, method: str, *arguments: Any) -> None:
        """There is nothing to recall."""

    async def ask(self, method: str, *arguments: Any) -> Any:
        raise CannotHere(f"{self.name} is a Ray node, and does nothing by itself; name what is on it")

    def _up(self) -> list[tuple[Raylet, Life]]:
        """The present life; empty also while what is left of a dead one is being ended."""
        return [each for each in self._living if not each[1].died.is_set()]

    def _present(self, lives: list[tuple[Raylet, Life]]) -> tuple[Raylet, Life]:
        if lives:
            return lives[-1]
        raise CannotHere(f"{self.name} is not up")

    async def _live_once(self) -> str:
        """One life, from its start; answers what ended it."""
        try:
            raylet = await asyncio.get_running_loop().run_in_executor(self._thread, self._start)
        except Exception as error:  # whatever Ray does not like, it is tried again
            _log.exception("%s does not start", self.name)
            return f"it does not start: {type(error).__name__}: {error}"
        life = Life(raylet.node_id)
        _log.info("%s is up, process %d", self.name, raylet.process_id)
        if self._retired.is_set() or not self._hold.is_free:  # since it was being started
            await asyncio.to_thread(raylet.kill)
        await self._change([(raylet, life)])
        try:
            await raylet.death()
            life.died.set()
            await asyncio.to_thread(raylet.bury)
        finally:
            await self._change([])
            life.ended.set()
        return "its raylet ended"

    async def _change(self, living: list[tuple[Raylet, Life]]) -> None:
        async with self._changed:
            self._living[:] = living
            self._changed.notify_all()

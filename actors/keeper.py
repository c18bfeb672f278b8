"""Keeps one named actor alive: makes it, waits for its death, makes it again under its name.

    create ─▶ serve() outstanding ─▶ dies or fails ─▶ killed for sure ─▶ pause (Backoff) ─▶ create …
                                  └▶ returns after stop(): done

A death shows within milliseconds as the failure of the outstanding call. `ray.kill` follows it always: it ends an
actor whose component failed while its process lived on, and it frees the name, which Ray may still hold for a moment
after a process was killed from outside.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayTaskError

from petset.actors.backoff import Backoff
from petset.actors.lifeline import Lifeline, find_agents
from petset.actors.plan import ActorSpec
from petset.cluster.settings import ClusterSettings

_log = logging.getLogger(__name__)

_NAME_FREE_SECONDS = 5.0
_NAME_PAUSE_SECONDS = 0.005


class Keeper:
    """One actor name. `create` makes the actor (see `ActorMaker`); `tell` hears of every death in a line."""

    def __init__(
        self, spec: ActorSpec, create: Callable[[ActorSpec], ActorHandle[Any]], tell: Callable[[str], None]
    ) -> None:
        self.spec = spec
        self._create = create
        self._tell = tell
        self._backoff = Backoff()
        self._handles: list[ActorHandle[Any]] = []
        """The living actor's handle; empty between two lives."""
        self._ready = asyncio.Event()
        self._stopping = False
        self._done = asyncio.Event()

    async def run(self) -> None:
        """Keep the actor alive until stopped (or cancelled)."""
        loop = asyncio.get_running_loop()
        try:
            while not self._stopping:
                started = loop.time()
                cause = await self._live_once()
                if self._stopping:
                    break
                pause_seconds = self._backoff.after_death(loop.time() - started)
                self._tell(f"{self.spec.name} died ({cause}): {self.spec.options.death}")
                await asyncio.sleep(pause_seconds)
        finally:
            self._done.set()

    async def wait_ready(self) -> None:
        """Wait until the actor has been ready once."""
        await self._ready.wait()

    async def stop(self, grace_seconds: float) -> None:
        """End the actor for good: ask it, wait `grace_seconds`, then leave the rest to Ray's end."""
        self._stopping = True
        for handle in self._handles:
            handle.stop.remote()
        if not self._handles:
            return
        try:
            async with asyncio.timeout(grace_seconds):
                await self._done.wait()
        except TimeoutError:
            _log.warning("%s did not stop within %.0f s", self.spec.name, grace_seconds)

    async def _live_once(self) -> str:
        """One life; answers what ended it."""
        handle = await self._make()
        self._handles.append(handle)
        watcher = asyncio.create_task(self._watch_ready(handle), name=f"{self.spec.name} ready")
        try:
            await handle.serve.remote()
        except RayTaskError as error:
            return str(error.cause)
        except RayActorError as error:
            return type(error).__name__
        else:
            return "it ended"
        finally:
            watcher.cancel()
            self._handles.remove(handle)
            ray.kill(handle)

    async def _make(self) -> ActorHandle[Any]:
        async with asyncio.timeout(_NAME_FREE_SECONDS):
            while True:
                try:
                    return self._create(self.spec)
                except ray.exceptions.ActorAlreadyExistsError:
                    await asyncio.sleep(_NAME_PAUSE_SECONDS)

    async def _watch_ready(self, handle: ActorHandle[Any]) -> None:
        try:
            process_id = await handle.ready.remote()
        except (RayActorError, RayTaskError):
            return  # serve() reports the same death
        _log.info("%s is ready, process %d", self.spec.name, process_id)
        self._ready.set()


class ActorMaker:
    """Makes actors of this process's Ray, on this machine."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._lifeline = Lifeline(os.getpid(), () if settings.ray_address else find_agents())
        self._node_id = ray.get_runtime_context().get_node_id()

    def __call__(self, spec: ActorSpec) -> ActorHandle[Any]:
        """Raises ActorAlreadyExistsError while a predecessor's name is not free yet."""
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(self._node_id, soft=False)
        actor_class: Any = ray.remote(**spec.options.ray_options)(spec.shell)
        handle: ActorHandle[Any] = actor_class.options(name=spec.name, scheduling_strategy=here).remote(
            self._settings, spec.name, self._lifeline, *spec.arguments
        )
        return handle

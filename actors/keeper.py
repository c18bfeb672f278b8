"""Keeps one named actor alive: makes it, waits for its death, makes it again under its name.

    create ─▶ serve() outstanding ─▶ dies or fails ─▶ killed for sure ─▶ pause (Backoff) ─▶ create …
                                  └▶ returns after stop(): done

A death shows within milliseconds as the failure of the outstanding call. `ray.kill` follows it always: it ends an
actor whose component failed while its process lived on, and it frees the name, which Ray may still hold for a moment
after a process was killed from outside.

Faults (cluster/chaos/world.py, `Component`) may hold an actor down, and give it standing orders: method calls that
every later life gets before it serves.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayTaskError

from petset.actors.backoff import Backoff
from petset.actors.lifeline import Lifeline, find_agents
from petset.actors.plan import ActorSpec
from petset.cluster.chaos.errors import CannotHere, FaultError
from petset.cluster.chaos.pods import wait_until_frozen
from petset.cluster.settings import ClusterSettings

_log = logging.getLogger(__name__)

_NAME_FREE_SECONDS = 5.0
_NAME_PAUSE_SECONDS = 0.005
_ANSWER_SECONDS = 3.0
"""How long a living actor may take to answer a fault's question."""
_DEATH_SECONDS = 10.0


class Keeper:
    """One actor name. `create` makes the actor (see `ActorMaker`); `tell` hears of every death in a line."""

    has_process = True

    def __init__(
        self, spec: ActorSpec, create: Callable[[ActorSpec], ActorHandle[Any]], tell: Callable[[str], None]
    ) -> None:
        self.spec = spec
        self._create = create
        self._tell = tell
        self._backoff = Backoff()
        self._handles: list[ActorHandle[Any]] = []
        """The living actor's handle; empty between two lives."""
        self._process_id = 0
        self._ready = asyncio.Event()
        self._stopping = False
        self._done = asyncio.Event()
        self._held_down_by: set[str] = set()
        self._may_live = asyncio.Event()
        self._may_live.set()
        self._frozen: dict[str, psutil.Process] = {}
        self._orders: dict[str, tuple[str, tuple[Any, ...]]] = {}
        self._life_ended = asyncio.Condition()

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
                await self._may_live.wait()
        finally:
            self._done.set()

    async def wait_ready(self) -> None:
        """Wait until the actor has been ready once."""
        await self._ready.wait()

    async def stop(self, grace_seconds: float) -> None:
        """End the actor for good: ask it, wait `grace_seconds`, then leave the rest to Ray's end."""
        self._stopping = True
        self._may_live.set()
        for handle in self._handles:
            handle.stop.remote()
        if not self._handles:
            return
        try:
            async with asyncio.timeout(grace_seconds):
                await self._done.wait()
        except TimeoutError:
            _log.warning("%s did not stop within %.0f s", self.spec.name, grace_seconds)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def process_id(self) -> int:
        """The actor's process once it is ready; 0 before, and between two lives."""
        return self._process_id

    async def kill(self) -> None:
        """SIGKILL, which also ends a stopped process; returns when this life is over. Raises CannotHere."""
        self._living()
        try:
            async with asyncio.timeout(_DEATH_SECONDS), self._life_ended:
                with suppress(ProcessLookupError):
                    os.kill(self._process_id, signal.SIGKILL)
                await self._life_ended.wait()
        except TimeoutError as error:
            raise CannotHere(f"{self.name} does not die, process {self._process_id}") from error

    async def hold_down(self, reason: str) -> None:
        """Kill it, and make it again only when no reason holds it down any more. Raises CannotHere."""
        self._held_down_by.add(reason)
        self._may_live.clear()
        try:
            if self._process_id:
                await self.kill()
        except CannotHere:
            await self.let_up(reason)
            raise

    async def let_up(self, reason: str) -> None:
        self._held_down_by.discard(reason)
        if not self._held_down_by:
            self._may_live.set()

    async def freeze(self, reason: str) -> None:
        """SIGSTOP. Raises CannotHere when it is not up, or frozen already."""
        process = self._living()
        if process.status() == psutil.STATUS_STOPPED:
            raise CannotHere(f"{self.name} is frozen already")
        process.suspend()
        self._frozen[reason] = process
        await asyncio.to_thread(wait_until_frozen, [process])

    async def thaw(self, reason: str) -> None:
        """SIGCONT to the process that was frozen, if it still lives."""
        if process := self._frozen.pop(reason, None):
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def _living(self) -> psutil.Process:
        if self._process_id:
            with suppress(psutil.NoSuchProcess):
                return psutil.Process(self._process_id)
        raise CannotHere(f"{self.name} is not up")

    async def order(self, key: str, method: str, *arguments: Any) -> Any:
        """Have a method called now, and in every later life before it serves; its answer. Raises CannotHere."""
        answer = await self._tell_actor(method, *arguments)
        self._orders[key] = (method, arguments)
        return answer

    async def recall(self, key: str, method: str, *arguments: Any) -> None:
        """End an order, with a call of what undoes it. Raises CannotHere."""
        self._orders.pop(key, None)
        await self._tell_actor(method, *arguments)

    async def _tell_actor(self, method: str, *arguments: Any) -> Any:
        """Call a method; one that is only being made hears of it in its turn, and nobody waits for that."""
        if self._process_id:
            return await self.ask(method, *arguments)
        for handle in self._handles:
            getattr(handle, method).remote(*arguments)
        return None

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the living actor. Raises CannotHere when it is not up or does not answer."""
        if not self._process_id:
            raise CannotHere(f"{self.name} is not up")
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await getattr(self._handles[-1], method).remote(*arguments)
        except (TimeoutError, RayActorError) as error:
            raise CannotHere(f"{self.name} does not answer") from error
        except RayTaskError as error:
            if isinstance(error.cause, FaultError):
                raise error.cause from None
            raise

    async def _live_once(self) -> str:
        """One life; answers what ended it."""
        handle = await self._make()
        self._handles.append(handle)
        for method, arguments in self._orders.values():
            getattr(handle, method).remote(*arguments)
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
            self._process_id = 0
            ray.kill(handle)
            async with self._life_ended:
                self._life_ended.notify_all()

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
        self._process_id = process_id
        self._ready.set()
        if self._held_down_by:  # since it was being made
            os.kill(process_id, signal.SIGKILL)


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

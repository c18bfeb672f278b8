"""Keeps one named actor alive: makes it, waits for its death, makes it again under its name.

    its Ray node is up ─▶ create ─▶ serve() outstanding ─▶ dies or fails ─▶ killed for sure ─▶ pause (Backoff) ─▶ …
                                                        └▶ returns after stop(): done

A death shows within milliseconds as the failure of the outstanding call, or as the end of the Ray node (ray_nodes.py).
`ray.kill` follows it always: it ends an actor whose component failed while its process lived on, and it frees the name,
which Ray may still hold for a moment after a process was killed from outside.

Faults (cluster/chaos/world.py, `Component`) may hold an actor down, and give it standing orders: method calls that
every later life gets before it serves.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import psutil
import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from petset.actors.backoff import Backoff
from petset.actors.hold import Hold
from petset.actors.lifeline import Lifeline
from petset.actors.plan import ActorSpec
from petset.actors.ray_nodes import Home, Life
from petset.cluster.chaos.errors import CannotHere, FaultError
from petset.cluster.chaos.freezing import send_signal
from petset.cluster.chaos.pods import is_frozen, wait_until_frozen
from petset.cluster.settings import RAY_HEAD, ClusterSettings

_log = logging.getLogger(__name__)

_NAME_FREE_SECONDS = 30.0
_NAME_PAUSE_SECONDS = 0.005
_ASK_AGAIN_SECONDS = 0.2
_ANSWER_SECONDS = 3.0
"""How long a living actor may take to answer a fault's question."""
_DEATH_SECONDS = 10.0

WITH_ITS_RAY_NODE = "with its Ray node"
"""What ended a life, as `Keeper` sees it."""


ActorCreator = Callable[[ActorSpec, Life], ActorHandle[Any]]
"""Makes an actor in the present life of its Ray node."""


class Keeper:
    """One actor name. `create` makes the actor (see `ActorMaker`); `tell` hears of every death in a line."""

    has_process = True

    def __init__(self, spec: ActorSpec, home: Home, *, create: ActorCreator, tell: Callable[[str], None]) -> None:
        self.spec = spec
        self._home = home
        self._create = create
        self._tell = tell
        self._backoff = Backoff()
        self._handles: list[ActorHandle[Any]] = []
        """The living actor's handle; empty between two lives."""
        self._process_id = 0
        self._ready = asyncio.Event()
        self._stopping = False
        self._done = asyncio.Event()
        self._hold = Hold()
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
                if cause != WITH_ITS_RAY_NODE:  # which is told, and waited for, once for all
                    pause_seconds = self._backoff.after_death(loop.time() - started)
                    self._tell(f"{self.spec.name} died ({cause}): {self.spec.options.death}")
                    await asyncio.sleep(pause_seconds)
                await self._hold.until_free()
        finally:
            self._done.set()

    async def wait_ready(self) -> None:
        """Wait until the actor has been ready once."""
        await self._ready.wait()

    async def stop(self, grace_seconds: float) -> None:
        """End the actor for good: ask it, wait `grace_seconds`, then leave the rest to Ray's end."""
        self._stopping = True
        self._hold.take_all_back()
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
        process = self._living()
        try:
            async with asyncio.timeout(_DEATH_SECONDS), self._life_ended:
                if send_signal(process, signal.SIGKILL) or self._process_id == process.pid:
                    await self._life_ended.wait()
        except TimeoutError as error:
            raise CannotHere(f"{self.name} does not die, process {process.pid}") from error

    async def hold_down(self, reason: str) -> None:
        """Kill it, and make it again only when no reason holds it down any more. Raises CannotHere."""
        self._hold.add(reason)
        try:
            if self._process_id:
                await self.kill()
        except CannotHere:
            await self.let_up(reason)
            raise

    async def let_up(self, reason: str) -> None:
        self._hold.take_back(reason)

    async def freeze(self, reason: str) -> None:
        """SIGSTOP. Raises CannotHere when it is not up, or frozen already."""
        process = self._living()
        if is_frozen(process):
            raise CannotHere(f"{self.name} is frozen already")
        if not send_signal(process, signal.SIGSTOP):
            raise CannotHere(f"{self.name} is not up")
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
        """Call a method of the living actor. Raises CannotHere when it is not up or does not answer.

        A frozen one is not even asked: it would do it when it is thawed, after all have given it up.
        """
        if is_frozen(self._living()):
            raise CannotHere(f"{self.name} is frozen")
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
        life = await self._home.life()
        handle = await self._make(life)
        self._handles.append(handle)
        for method, arguments in self._orders.values():
            getattr(handle, method).remote(*arguments)
        watcher = asyncio.create_task(self._watch_ready(handle), name=f"{self.spec.name} ready")
        try:
            return await _first(_end_of(handle), _end_of_life(life))
        finally:
            watcher.cancel()
            self._handles.remove(handle)
            self._process_id = 0
            ray.kill(handle)
            async with self._life_ended:
                self._life_ended.notify_all()

    async def _make(self, life: Life) -> ActorHandle[Any]:
        async with asyncio.timeout(_NAME_FREE_SECONDS):
            while True:
                try:
                    return self._create(self.spec, life)
                except ray.exceptions.ActorAlreadyExistsError:
                    await asyncio.sleep(_NAME_PAUSE_SECONDS)

    async def _watch_ready(self, handle: ActorHandle[Any]) -> None:
        process_id = 0
        while not process_id:
            try:
                process_id = await handle.ready.remote()
            except ActorUnavailableError:  # for the moment: a busy machine, and the actor may live on
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
            except RayError:
                return  # serve() reports the same death
        _log.info("%s is ready, process %d", self.spec.name, process_id)
        self._process_id = process_id
        self._ready.set()
        if not self._hold.is_free:  # since it was being made
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)


async def _end_of(handle: ActorHandle[Any]) -> str:
    """Wait until the actor's `serve` is over; why."""
    try:
        await handle.serve.remote()
    except RayTaskError as error:
        return str(error.cause)
    except RayError as error:  # died, or never came to be: its Ray node was gone
        return type(error).__name__
    return "it ended"


async def _end_of_life(life: Life) -> str:
    await life.ended.wait()
    return WITH_ITS_RAY_NODE


async def _first(*ends: Coroutine[Any, Any, str]) -> str:
    """The answer of the one that is over first."""
    waiting = [asyncio.create_task(end) for end in ends]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return next(each.result() for each in waiting if each in done)
    finally:
        for each in waiting:
            each.cancel()


class ActorMaker:
    """Makes actors of this process's Ray."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings

    def __call__(self, spec: ActorSpec, life: Life) -> ActorHandle[Any]:
        """Raises ActorAlreadyExistsError while a predecessor's name is not free yet."""
        place = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(life.node_id, soft=False)
        actor_class: Any = ray.remote(**spec.options.ray_options)(spec.shell)
        handle: ActorHandle[Any] = actor_class.options(name=spec.name, scheduling_strategy=place).remote(
            self._settings, spec.name, self._lifeline(spec), *spec.arguments
        )
        return handle

    def _lifeline(self, spec: ActorSpec) -> Lifeline:
        """The agents of a Ray that was joined are not ours to end."""
        folder = "" if self._settings.ray_address else self._settings.run_folder
        return Lifeline(os.getpid(), folder, dies_with_raylet=spec.ray_node != RAY_HEAD)

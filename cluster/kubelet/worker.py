"""One pod's worker: plans, acts, and learns what came of it, until the pod is over.

    informer, listings, probes, hooks ──wake──▶ plan ─▶ effects ─▶ absorb ─▶ plan ─▶ … ─▶ rest until wake_at
                                                             │
                                     reporter.py ◀── what is now

Effects are performed one after the other, so nothing is ever started twice; only probes and hooks run beside. When
news arrive between two effects, the rest is dropped and planned anew. The worker needs the API server only for the
objects that a pod refers to. An unexpected error is a bug: it is logged, and this pod alone starts afresh from what
the machine says, RECOVERY_SECONDS later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

from petset.cluster.api.cri import SandboxStatus
from petset.cluster.api.objects import Object, name_of, namespace_of, uid_of
from petset.cluster.kubelet.effects import Effect, RemoveSandbox, Result, RunHook, RunProbe, RunSandbox, Say
from petset.cluster.kubelet.facts import TERMINAL_PHASES, every_container
from petset.cluster.kubelet.machine import Situation, plan
from petset.cluster.kubelet.memory import PodMemory, absorb
from petset.cluster.kubelet.parts import Parts, PodState
from petset.cluster.kubelet.performer import Performer, Step
from petset.cluster.kubelet.refresher import VolumeRefresher
from petset.cluster.kubelet.reporter import Reporter
from petset.cluster.kubelet.sandboxes import newly_exited, with_old_news
from petset.cluster.kubelet.size_limits import SizeLimits

RECOVERY_SECONDS = 10.0
PROGRESS_SECONDS = 0.25
"""A status is written at rest; when a step takes longer than this, in the middle of it too."""

log = logging.getLogger(__name__)


class PodWorker:
    """Cares for one pod (one uid). `predecessor` is set when an earlier pod of that name has left the node: it held
    the address."""

    def __init__(
        self, pod: Object, sandbox: SandboxStatus | None, parts: Parts, *, predecessor: asyncio.Event | None
    ) -> None:
        self.finished = asyncio.Event()
        """Nothing of the pod is left on this node, and nobody waits for news of it."""
        self._parts = parts
        self._predecessor = predecessor
        self._state = PodState(pod, sandbox, PodMemory(time_scale=parts.config.time_scale))
        self._performer = Performer(parts)
        self._reporter = Reporter(self._state, parts)
        self._beside: set[asyncio.Task[None]] = set()
        self._acting = False
        self._acted_at = 0.0
        self._listing_due = False

    @property
    def pod(self) -> Object:
        """The newest version of the pod."""
        return self._state.pod

    @property
    def occupies(self) -> bool:
        """Whether the pod still needs its share of the node."""
        phase = (self.pod.get("status") or {}).get("phase")
        return not (self._state.gone or self._state.memory.failure or phase in TERMINAL_PHASES)

    def refuse(self, reason: str, message: str) -> None:
        """The node does not take the pod; said before `run`."""
        self._state.memory = replace(self._state.memory, failure=(reason, message))

    # -- news -----------------------------------------------------------------------------------------------------

    def see_pod(self, pod: Object) -> None:
        """The API server has a newer version of the pod."""
        self._state.take_pod(pod)

    def see_gone(self) -> None:
        """The API server has this pod no longer."""
        self._state.gone = True
        self._state.wake.set()

    def see_sandbox(self, listed: SandboxStatus | None, *, asked_at: float) -> None:
        """The machine was asked at `asked_at` (loop time), and this is what it has of the pod.

        An answer that may be older than the worker's own last effect only adds what is surely newer; the machine is
        asked again, but not before that effect's end.
        """
        known, new = self._state.sandbox, listed
        if self._acting or asked_at < self._acted_at:
            new = with_old_news(known, listed) if known and listed else known
            if new != listed and self._acting:
                self._listing_due = True
            elif new != listed:
                self._parts.look_again()
        if new == known:
            return
        self._state.sandbox = new
        self._state.wake.set()
        if newly_exited(known, new):
            # Before it is restarted: the container was down, and its pod not ready, for however short a time.
            self._reporter.report()

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the pod is gone from the API server and from the node."""
        try:
            if self._predecessor is not None:
                await self._predecessor.wait()
            while True:
                if await self._live():
                    return
                await asyncio.sleep(RECOVERY_SECONDS)
        finally:
            self.finished.set()

    async def _live(self) -> bool:
        """True at the pod's end, False after a bug."""
        try:
            async with asyncio.TaskGroup() as tasks:
                reporter = tasks.create_task(self._reporter.run())
                refresher = tasks.create_task(VolumeRefresher(self._state, self._parts).run())
                limits = tasks.create_task(SizeLimits(self._state, self._parts).run())
                await self._work(tasks)
                for task in (reporter, refresher, limits, *self._beside):
                    task.cancel()
        except Exception:
            name = f"{namespace_of(self._state.pod)}/{name_of(self._state.pod)}"
            log.exception("pod %s: unexpected error; again in %.0f s", name, RECOVERY_SECONDS)
            self._state.memory = PodMemory(time_scale=self._parts.config.time_scale)
            self._acting = False
            return False
        return True

    async def _work(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            self._state.wake.clear()
            situation = Situation(self._state.pod, self._state.sandbox, self._state.gone, frozenset(self._parts.images))
            step = plan(situation, self._state.memory, self._parts.clock.now())
            self._state.memory, self._state.over = step.memory, step.over
            if step.over and self._state.gone:
                return
            if step.ended:
                await self._parts.attachments.release(uid_of(self._state.pod))
            if step.effects:
                await self._perform(step.effects, tasks)
            else:
                self._reporter.report()
                await self._rest(step.wake_at)

    async def _rest(self, wake_at: float | None) -> None:
        delay = None if wake_at is None else max(wake_at - self._parts.clock.now(), 0.0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._state.wake.wait()

    async def _perform(self, effects: Sequence[Effect], tasks: asyncio.TaskGroup) -> None:
        steps: list[Step] = []
        for effect in effects:
            match effect:
                case Say():
                    self._parts.events.say(self._state.pod, effect)
                case RunProbe() | RunHook():
                    self._begin_beside(effect, tasks)
                case _:
                    steps.append(effect)
        loop = asyncio.get_running_loop()
        for step in steps:
            progress = loop.call_later(PROGRESS_SECONDS, self._reporter.report)
            try:
                await self._act(step)
            finally:
                progress.cancel()
            if self._state.wake.is_set():
                return

    async def _act(self, step: Step) -> None:
        state = self._state
        self._acting = True
        done = await self._performer.perform(state.pod, state.sandbox, step)
        self._acting = False
        self._acted_at = asyncio.get_running_loop().time()
        if self._listing_due:
            self._listing_due = False
            self._parts.look_again()
        if isinstance(step, RemoveSandbox) and done.sandbox is None:
            state.removed = state.sandbox
        if isinstance(step, RunSandbox):  # asked again, the machine may have answered with what it had made before
            state.shown = () if state.asked_for_sandbox else done.files
            state.asked_for_sandbox = True
        state.sandbox = with_old_news(done.sandbox, state.sandbox) if done.sandbox and state.sandbox else done.sandbox
        self._absorb(done.result)

    def _absorb(self, result: Result) -> None:
        images = {each["name"]: each.get("image", "") for each in every_container(self._state.pod)}
        self._state.memory, said = absorb(self._state.memory, result, images=images, now=self._parts.clock.now())
        for event in said:
            self._parts.events.say(self._state.pod, event)

    def _begin_beside(self, effect: RunProbe | RunHook, tasks: asyncio.TaskGroup) -> None:
        sandbox = self._state.sandbox
        if sandbox is None:
            return
        if isinstance(effect, RunProbe):
            task = tasks.create_task(self._beside_work(self._performer.run_probe(self._state.pod, sandbox, effect)))
        else:
            task = tasks.create_task(self._beside_work(self._performer.run_hook(self._state.pod, sandbox, effect)))
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _beside_work(self, work: Coroutine[Any, Any, Result]) -> None:
        self._absorb(await work)
        self._state.wake.set()

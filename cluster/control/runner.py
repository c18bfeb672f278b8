"""The one loop that acts for every controller.

    take a key ─▶ wait until the cache has seen all own writes ─▶ plan (pure) ─▶ apply the writes in order
         ▲                                                                               │
         ├── at `again_at` ◀─────────────────────────────────────────────────────────────┤
         └── with backoff, from 5 ms on ◀── an error, a Conflict among them ◀────────────┘

Guarantees: one worker per key; a plan never sees a cache older than the writes that the same controller made for any
key before, also where an answer was lost (own_writes.py), so no create is repeated because its object has not arrived
yet; a crash between two writes loses nothing, because the next plan starts from what is stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from petset.cluster.api.objects import Object
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.control.controller import Controller, Trigger
from petset.cluster.control.events import EventRecorder
from petset.cluster.control.informer import Informer
from petset.cluster.control.own_writes import OwnWrites
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.workqueue import WorkQueue
from petset.cluster.control.writes import Bind, ConfirmNone, Create, Delete, Outcome, Patch, Record, Update, Write
from petset.cluster.errors import AlreadyExists, ApiError, Conflict, NotFound

log = logging.getLogger(__name__)


class Informers:
    """One informer per kind, shared by all controllers of a process."""

    def __init__(self, client: Client, kinds: Iterable[str]) -> None:
        self.by_kind = {kind: Informer(client, kind) for kind in dict.fromkeys(kinds)}
        self.snapshot = Snapshot({kind: informer.index for kind, informer in self.by_kind.items()})

    async def run(self) -> None:
        """Follow all kinds until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for kind, informer in self.by_kind.items():
                tasks.create_task(informer.run(), name=f"informer {kind}")

    async def synced(self) -> None:
        for informer in self.by_kind.values():
            await informer.synced.wait()


class StillThere(ApiError):
    """A ConfirmNone found a match: the plan was made from a cache that lags."""

    code, reason = 409, "StillThere"


class Runner:
    """Runs one controller over shared informers."""

    def __init__(self, controller: Controller, *, client: Client, informers: Informers, clock: Clock) -> None:
        self.queue = WorkQueue()
        self._controller = controller
        self._client = client
        self._informers = informers
        self._clock = clock
        self._recorder = EventRecorder(client, clock, component=controller.component)
        self._own_writes = OwnWrites(client, {kind: informers.by_kind[kind] for kind in controller.kinds})
        for kind, trigger in controller.triggers.items():
            informers.by_kind[kind].subscribe(self._handler(trigger))

    async def run(self) -> None:
        """Work until cancelled."""
        await self._informers.synced()
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(self._controller.workers):
                    tasks.create_task(self._work(), name=f"{self._controller.component} worker {number}")
                if self._controller.resync_seconds is not None:
                    tasks.create_task(self._resync(), name=f"{self._controller.component} resync")
        finally:
            self.queue.close()

    def _handler(self, trigger: Trigger) -> _Handler:
        return _Handler(trigger, self._informers.snapshot, self.queue)

    async def _resync(self) -> None:
        kind = next(iter(self._controller.triggers))
        while True:
            for obj in self._informers.by_kind[kind].index:
                self.queue.add(key_of(obj))
            await asyncio.sleep(self._controller.resync_seconds or 0)

    async def _work(self) -> None:
        while True:
            key = await self.queue.take()
            try:
                await self._reconcile(key)
            finally:
                self.queue.done(key)

    async def _reconcile(self, key: Key) -> None:
        try:
            await self._own_writes.seen()
        except ApiError as error:
            self._requeue(key, error)
            return
        try:
            outcome = self._controller.plan(key, self._informers.snapshot, self._clock.now())
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, ApiError):
            # A plan that fails on one object must not end the controller for all others.
            log.exception("%s: cannot plan %s", self._controller.component, key)
            self.queue.retry(key)
            return
        if failure := await self._apply(outcome):
            self._requeue(key, failure)
        else:
            self.queue.succeeded(key)
        if outcome.again_at is not None:
            self.queue.add_after(key, outcome.again_at - self._clock.now())

    def _requeue(self, key: Key, error: ApiError) -> None:
        seconds = self.queue.retry(key)
        level = logging.DEBUG if isinstance(error, Conflict) else logging.INFO
        log.log(level, "%s: %s: %s; again in %.3f s", self._controller.component, key, error, seconds)

    async def _apply(self, outcome: Outcome) -> ApiError | None:
        """Carry out the writes; the first error stops all but those marked `always`."""
        failure: ApiError | None = None
        for write in outcome.writes:
            if isinstance(write, Record):
                if failure is None:
                    await self._recorder.record(write)
                continue
            if failure is not None and not getattr(write, "always", False):
                continue
            try:
                answer = await self._do(write)
            except ApiError as error:
                failure = failure or error
                if not error.definite:
                    self._own_writes.lost(write)
                await self._say_failed(write, error)
                continue
            self._own_writes.answered(answer)
            if not isinstance(write, ConfirmNone) and write.said is not None:
                await self._recorder.record(_naming(write.said, answer))
        if failure is None and outcome.error:
            return ApiError(outcome.error)
        return failure

    async def _say_failed(self, write: Write, error: ApiError) -> None:
        failed = None if isinstance(write, Record | ConfirmNone) else write.failed
        if failed is None or isinstance(error, Conflict | AlreadyExists):
            return  # the cache lags: the next plan will see what is in the way
        message = failed.message.replace("{error}", error.message)
        await self._recorder.record(Record(failed.regarding, failed.type, failed.reason, message))

    async def _do(self, write: Write) -> Object | None:
        match write:
            case Create():
                return await self._create(write)
            case Update():
                return await self._client.update(write.object, subresource=write.subresource)
            case Patch():
                return await self._client.patch(
                    write.kind, write.name, write.namespace,
                    body=_with_uid(write), patch_type=write.type, subresource=write.subresource,
                )  # fmt: skip
            case Delete():
                return await self._delete(write)
            case Bind():
                return await self._bind(write)
            case ConfirmNone():
                await self._confirm_none(write)
        return None

    async def _create(self, write: Create) -> Object | None:
        try:
            return await self._client.create(write.object)
        except AlreadyExists:
            if write.exists_ok:
                return None
            raise

    async def _delete(self, write: Delete) -> Object | None:
        options: Object = {}
        if write.uid or write.revision:
            wanted = {"uid": write.uid, "resourceVersion": write.revision}
            options["preconditions"] = {name: value for name, value in wanted.items() if value}
        if write.grace_seconds is not None:
            options["gracePeriodSeconds"] = write.grace_seconds
        if write.propagation:
            options["propagationPolicy"] = write.propagation
        try:
            answer = await self._client.delete(write.kind, write.name, write.namespace, options=options)
        except NotFound:
            return None
        # A Status (answered for most kinds) carries the deletion's revision in its own metadata.
        return {**answer, "kind": write.kind}

    async def _bind(self, write: Bind) -> Object | None:
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": write.name, "namespace": write.namespace, "uid": write.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": write.node},
        }
        answer = await self._client.create(body, subresource="binding", name=write.name)
        return {**answer, "kind": "Pod"}

    async def _confirm_none(self, write: ConfirmNone) -> None:
        if write.name:
            try:
                found = [await self._client.get(write.kind, write.name, write.namespace)]
            except NotFound:
                if write.must_exist:
                    raise
                return
        else:
            found = (await self._client.list(write.kind, write.namespace)).items
        if match := next((obj for obj in found if write.matching(obj)), None):
            raise StillThere(f"{write.kind} {match['metadata']['name']} is there after all")


class _Handler:
    """Turns an informer's differences into keys: what the old and what the new version concern."""

    def __init__(self, trigger: Trigger, snapshot: Snapshot, queue: WorkQueue) -> None:
        self._trigger = trigger
        self._snapshot = snapshot
        self._queue = queue

    def __call__(self, old: Object | None, new: Object | None) -> None:
        keys = [
            *(self._trigger(old, self._snapshot) if old else ()),
            *(self._trigger(new, self._snapshot) if new else ()),
        ]
        for key in dict.fromkeys(keys):
            self._queue.add(key)


def _naming(said: Record, answer: Object | None) -> Record:
    """The record with the name that the server gave to the object (generateName)."""
    name = ((answer or {}).get("metadata") or {}).get("name", "")
    return replace(said, message=said.message.replace("{name}", name)) if name else said


def _with_uid(write: Patch) -> object:
    """A uid in the body is the precondition: the server answers Conflict when the object has another one."""
    if not write.uid or not isinstance(write.body, Mapping):
        return write.body
    meta = {**(write.body.get("metadata") or {}), "uid": write.uid}
    return {**write.body, "metadata": meta}

"""A client through which everything goes wrong that may: lost answers, conflicts, late and broken watches, death.

    Trouble(random)      what goes wrong, and how often; all zero is a client like any other
    UnrulyClient(...)    the client; `Trouble.wrote` keeps every write that reached the server

A write may be refused (Conflict: nothing happened) or its answer lost (Unavailable: it happened). `die_after(n)` ends
the component right before or right after its n-th write from now: `on_death` is called, and the call never returns.
A watch is late by the same time for its whole life, so that its order holds, and may break at any event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from petset.cluster.api.objects import Object
from petset.cluster.control.client import Client, Listing, WatchEvent
from petset.cluster.errors import AlreadyExists, Conflict, Unavailable


@dataclass(frozen=True)
class Written:
    """A write that reached the server. `revision` is 0 where the answer carries none, `refused` the error's reason."""

    verb: str
    kind: str
    name: str
    uid: str
    revision: int
    refused: str = ""


@dataclass
class Trouble:
    """What goes wrong from now on; probabilities per request, `lag_seconds` the most that a watch may be late."""

    random: Random
    conflicts: float = 0.0
    lost_answers: float = 0.0
    lag_seconds: float = 0.0
    broken_watches: float = 0.0
    on_death: Callable[[], None] = lambda: None
    wrote: list[Written] = field(default_factory=list)
    _writes_left: int = -1

    def die_after(self, writes: int) -> None:
        """Right before or after that many further writes."""
        self._writes_left = writes

    def rest(self) -> None:
        """Nothing goes wrong any more; open watches keep their lag."""
        self.conflicts = self.lost_answers = self.lag_seconds = self.broken_watches = 0.0
        self._writes_left = -1

    async def count(self) -> None:
        """Before or after each write."""
        if self._writes_left < 0:
            return
        self._writes_left -= 1
        if self._writes_left < 0:
            self.on_death()
            await asyncio.Event().wait()


class UnrulyClient:
    """See the module; `Client` is the protocol."""

    def __init__(self, inner: Client, trouble: Trouble) -> None:
        self._inner = inner
        self._trouble = trouble

    async def get(self, kind: str, name: str, namespace: str = "") -> Object:
        await asyncio.sleep(0)
        return await self._inner.get(kind, name, namespace)

    async def list(
        self, kind: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        await asyncio.sleep(0)
        return await self._inner.list(kind, namespace, label_selector=label_selector, field_selector=field_selector)

    @asynccontextmanager
    async def watch(
        self, kind: str, namespace: str = "", *, revision: str, field_selector: str = ""
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        lag = self._trouble.random.uniform(0, self._trouble.lag_seconds)
        async with self._inner.watch(kind, namespace, revision=revision, field_selector=field_selector) as events:
            yield self._late(events, lag)

    async def create(self, obj: Object, *, subresource: str = "", name: str = "") -> Object:
        kind = "Binding" if subresource else obj["kind"]
        name = name or obj["metadata"].get("name", "")

        def call() -> Awaitable[Object]:
            return self._inner.create(obj, subresource=subresource, name=name)

        return await self._write("create", kind, name, call, may_conflict=False)

    async def update(self, obj: Object, *, subresource: str = "") -> Object:
        return await self._write(
            f"update{subresource}", obj["kind"], obj["metadata"]["name"],
            lambda: self._inner.update(obj, subresource=subresource),
        )  # fmt: skip

    async def patch(
        self, kind: str, name: str, namespace: str = "", *,
        body: Any, patch_type: Literal["merge", "json", "strategic"] = "merge", subresource: str = "",
    ) -> Object:  # fmt: skip

        def call() -> Awaitable[Object]:
            return self._inner.patch(kind, name, namespace, body=body, patch_type=patch_type, subresource=subresource)

        return await self._write("patch", kind, name, call)

    async def delete(self, kind: str, name: str, namespace: str = "", *, options: Object | None = None) -> Object:
        verb = "collect" if (options or {}).get("propagationPolicy") else "delete"
        return await self._write(verb, kind, name, lambda: self._inner.delete(kind, name, namespace, options=options))

    async def _write(
        self, verb: str, kind: str, name: str, call: Callable[[], Awaitable[Object]], *, may_conflict: bool = True
    ) -> Object:
        await asyncio.sleep(0)
        await self._trouble.count()
        if may_conflict and self._trouble.random.random() < self._trouble.conflicts:
            raise Conflict(f"{kind} {name}: somebody else was faster")
        try:
            answer = await call()
        except AlreadyExists:
            self._trouble.wrote.append(Written(verb, kind, name, "", 0, "AlreadyExists"))
            raise
        meta = answer.get("metadata") or {}
        self._trouble.wrote.append(Written(verb, kind, name, meta.get("uid", ""), int(meta.get("resourceVersion", 0))))
        await self._trouble.count()
        if self._trouble.random.random() < self._trouble.lost_answers:
            raise Unavailable(f"{verb} {kind} {name}: the answer is lost")
        return answer

    async def _late(self, events: AsyncIterator[WatchEvent], lag: float) -> AsyncIterator[WatchEvent]:
        loop = asyncio.get_running_loop()
        coming: asyncio.Queue[tuple[float, WatchEvent | BaseException]] = asyncio.Queue()

        async def pump() -> None:
            try:
                async for event in events:
                    coming.put_nowait((loop.time() + lag, event))
            except Exception as error:
                coming.put_nowait((loop.time() + lag, error))

        pumping = asyncio.create_task(pump())
        try:
            while True:
                due, event = await coming.get()
                await asyncio.sleep(due - loop.time())
                if isinstance(event, BaseException):
                    raise event
                if self._trouble.random.random() < self._trouble.broken_watches:
                    raise Unavailable("the watch broke")
                yield event
        finally:
            pumping.cancel()

"""A client whose API server can be cut off: requests fail and open watches break, as when the network is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from petset.cluster.api.objects import Object
from petset.cluster.control.client import Client, Listing, WatchEvent
from petset.cluster.errors import Unavailable


class CuttableClient:
    """`cut()` and `mend()` around another client.

    `reads` and `writes` record (verb, kind, name) of every get and every write that got through.
    """

    def __init__(self, inner: Client) -> None:
        self.reads: list[tuple[str, str, str]] = []
        self.writes: list[tuple[str, str, str]] = []
        self._inner = inner
        self._cut = False
        self._broken = asyncio.Event()

    def cut(self) -> None:
        self._cut = True
        self._broken.set()

    def mend(self) -> None:
        self._cut = False
        self._broken = asyncio.Event()

    async def get(self, kind: str, name: str, namespace: str = "") -> Object:
        await self._enter()
        self.reads.append(("get", kind, name))
        return await self._inner.get(kind, name, namespace)

    async def list(
        self, kind: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        await self._enter()
        return await self._inner.list(kind, namespace, label_selector=label_selector, field_selector=field_selector)

    @asynccontextmanager
    async def watch(
        self, kind: str, namespace: str = "", *, revision: str, field_selector: str = ""
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        await self._enter()
        async with self._inner.watch(kind, namespace, revision=revision, field_selector=field_selector) as events:
            yield self._breakable(events, self._broken)

    async def create(self, obj: Object, *, subresource: str = "", name: str = "") -> Object:
        await self._enter()
        created = await self._inner.create(obj, subresource=subresource, name=name)
        self.writes.append(("create", str(obj.get("kind")), name or created["metadata"]["name"]))
        return created

    async def update(self, obj: Object, *, subresource: str = "") -> Object:
        await self._enter()
        updated = await self._inner.update(obj, subresource=subresource)
        self.writes.append((f"update/{subresource}", obj["kind"], obj["metadata"]["name"]))
        return updated

    async def patch(
        self, kind: str, name: str, namespace: str = "", *,
        body: Any, patch_type: Literal["merge", "json", "strategic"] = "merge", subresource: str = "",
    ) -> Object:  # fmt: skip
        await self._enter()
        patched = await self._inner.patch(
            kind, name, namespace, body=body, patch_type=patch_type, subresource=subresource
        )
        self.writes.append(("patch", kind, name))
        return patched

    async def delete(self, kind: str, name: str, namespace: str = "", *, options: Object | None = None) -> Object:
        await self._enter()
        deleted = await self._inner.delete(kind, name, namespace, options=options)
        self.writes.append(("delete", kind, name))
        return deleted

    async def _enter(self) -> None:
        await asyncio.sleep(0)
        if self._cut:
            raise Unavailable("the API server cannot be reached")

    async def _breakable(self, events: AsyncIterator[WatchEvent], broken: asyncio.Event) -> AsyncIterator[WatchEvent]:
        cut = asyncio.ensure_future(broken.wait())
        try:
            while True:
                coming = asyncio.ensure_future(anext(events))
                try:
                    await asyncio.wait({coming, cut}, return_when=asyncio.FIRST_COMPLETED)
                    if cut.done():
                        raise Unavailable("the watch broke")
                    try:
                        event = coming.result()
                    except StopAsyncIteration:
                        return
                finally:
                    coming.cancel()
                yield event
        finally:
            cut.cancel()

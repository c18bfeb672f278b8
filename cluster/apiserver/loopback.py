"""The `Client` protocol straight onto the API, without sockets: a whole cluster in one process and virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from petset.cluster.api.objects import Object, fresh_copy, name_of, namespace_of
from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.options import DeleteOptions, ListOptions, WatchOptions, WriteOptions
from petset.cluster.apiserver.watch import watching
from petset.cluster.control.client import Listing, WatchEvent
from petset.cluster.errors import NotFound

_OPTIONS = WriteOptions()


class LoopbackClient:
    """Every answer is the caller's to read, not to change, just as with objects from a cache."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def get(self, kind: str, name: str, namespace: str = "") -> Object:
        return self._api.verbs.get(self._api.registry.of_kind(kind), namespace, name)

    async def list(
        self, kind: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        options = ListOptions(label_selector=label_selector, field_selector=field_selector)
        listing = self._api.verbs.list(self._api.registry.of_kind(kind), namespace, options)
        return Listing(listing["items"], listing["metadata"]["resourceVersion"])

    @asynccontextmanager
    async def watch(
        self, kind: str, namespace: str = "", *, revision: str, field_selector: str = ""
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        options = WatchOptions(revision=revision, field_selector=field_selector)
        with watching(self._api.backend, self._api.registry.of_kind(kind), namespace, options) as events:
            yield events

    async def create(self, obj: Object, *, subresource: str = "", name: str = "") -> Object:
        body = fresh_copy(obj)
        if subresource:
            pods = self._api.registry.of_kind("Pod")
            if subresource == "binding":
                return await self._api.subresources.bind(pods, namespace_of(obj), name, body)
            if subresource == "eviction":
                return await self._api.subresources.evict(pods, namespace_of(obj), name, body)
            if subresource == "token" and self._api.issuer is not None:
                account = self._api.verbs.get(self._api.registry.of_kind("ServiceAccount"), namespace_of(obj), name)
                return self._api.issuer.issue(account, body)
            raise NotFound("the server could not find the requested resource")
        kind = self._api.registry.of_kind(obj["kind"])
        return (await self._api.verbs.create(kind, namespace_of(obj), body, _OPTIONS)).object

    async def update(self, obj: Object, *, subresource: str = "") -> Object:
        kind = self._api.registry.of_kind(obj["kind"])
        if subresource == "finalize":
            return await self._api.subresources.finalize_namespace(kind, name_of(obj), obj)
        answer = await self._api.verbs.update(
            kind, namespace_of(obj), name_of(obj),
            body=fresh_copy(obj), options=_OPTIONS, subresource=subresource,
        )  # fmt: skip
        return answer.object

    async def patch(
        self, kind: str, name: str, namespace: str = "", *,
        body: Any, patch_type: Literal["merge", "json", "strategic"] = "merge", subresource: str = "",
    ) -> Object:  # fmt: skip
        row = self._api.registry.of_kind(kind)
        if subresource == "scale" and row.scale:
            return await self._api.subresources.patch_scale(
                row, namespace, name, body=body, patch_type=patch_type, options=_OPTIONS
            )
        answer = await self._api.verbs.patch(
            row, namespace, name,
            body=fresh_copy(body), patch_type=patch_type, options=_OPTIONS, subresource=subresource,
        )  # fmt: skip
        return answer.object

    async def delete(self, kind: str, name: str, namespace: str = "", *, options: Object | None = None) -> Object:
        row = self._api.registry.of_kind(kind)
        return await self._api.deletion.delete(row, namespace, name, DeleteOptions.parse({}, options))

"""What the tests of `Backend`s share: keys, objects, and changes in short."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from petset.cluster.store.backend import Backend, Change, StoreKey

PODS, SETS, NODES = "pods", "statefulsets.apps", "nodes"
KUBIA_0 = StoreKey(PODS, "default", "kubia-0")
KUBIA = StoreKey(SETS, "default", "kubia")

Opener = Callable[..., AbstractAsyncContextManager[Backend]]


def obj(key: StoreKey, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": key.name, "namespace": key.namespace}, **fields}


async def make(backend: Backend, key: StoreKey, **fields: Any) -> dict[str, Any]:
    return await backend.put(key, obj(key, **fields), expected=0)


async def make_many(backend: Backend, count: int, *, resource: str = PODS) -> None:
    for number in range(count):
        await make(backend, StoreKey(resource, "default", f"p-{number}"))


async def take(changes: AsyncIterator[Change], count: int) -> list[Change]:
    return [await anext(changes) for _ in range(count)]


def told(changes: list[Change]) -> list[tuple[int, str, str]]:
    return [(change.revision, change.type, change.key.name) for change in changes]

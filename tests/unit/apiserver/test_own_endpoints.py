"""The `kubernetes` service is the API server's own: what users delete of it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.apiserver.own_endpoints import KEEP_SECONDS, keep_own_service, publish_own_endpoints
from petset.cluster.control.client import Client
from petset.cluster.errors import Conflict, NotFound
from petset.cluster.network.addresses import loopback_plan
from tests.apis import new_api

ENDPOINT = ("127.0.0.1", 6443)
OWN = ("Service", "EndpointSlice", "Endpoints")


@asynccontextmanager
async def kept(client: Client) -> AsyncIterator[None]:
    await publish_own_endpoints(client, *ENDPOINT)
    keeping = asyncio.create_task(keep_own_service(client, loopback_plan(0), ENDPOINT))
    try:
        yield
    finally:
        keeping.cancel()


@pytest.mark.looptime
@pytest.mark.parametrize("kind", OWN)
async def test_what_is_deleted_comes_back(kind: str) -> None:
    client = LoopbackClient(await new_api())
    async with kept(client):
        before = await client.get(kind, "kubernetes", "default")
        await client.delete(kind, "kubernetes", "default")
        with pytest.raises(NotFound):
            await client.get(kind, "kubernetes", "default")
        await asyncio.sleep(KEEP_SECONDS + 1)
        after = await client.get(kind, "kubernetes", "default")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    unchanged = [field for field in ("spec", "endpoints", "subsets", "ports") if field in before]
    assert unchanged
    assert all(after[field] == before[field] for field in unchanged)


@pytest.mark.looptime
async def test_what_is_whole_is_not_written() -> None:
    api = await new_api()
    async with kept(LoopbackClient(api)):
        revision = api.backend.revision
        await asyncio.sleep(3 * KEEP_SECONDS + 1)
        assert api.backend.revision == revision


@pytest.mark.looptime
async def test_a_round_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    client = LoopbackClient(await new_api())
    create, refusals = client.create, iter([Conflict("somebody else writes")])

    async def refuse_once(obj: dict[str, object], *args: object, **options: object) -> object:
        for error in refusals:
            raise error
        return await create(obj)

    async with kept(client):
        await client.delete("Service", "kubernetes", "default")
        monkeypatch.setattr(client, "create", refuse_once)
        await asyncio.sleep(2 * KEEP_SECONDS + 1)
        assert await client.get("Service", "kubernetes", "default")

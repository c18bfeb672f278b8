"""Caches behind troubled watches: late, told twice, full of gaps; and right again afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from petset.cluster.api.objects import Object, name_of
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.control.client import Client
from petset.cluster.control.informer import SHORT_WATCH_SECONDS, Informer
from petset.cluster.control.watch_troubles import EVERY_WATCH, TroubledClient, WatchTrouble, WatchTroubles
from tests.apis import new_api

pytestmark = pytest.mark.looptime

SECOND = WatchTrouble(delay_seconds=1.0)
TWICE = WatchTrouble(twice=True)
LOST = WatchTrouble(lost_share=1.0)


class Site:
    """An API and an informer of ConfigMaps behind a troubled client, which heard what `heard` says."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.troubles = WatchTroubles(Random(1))
        self.informer = Informer(TroubledClient(client, self.troubles, watcher="mine"), "ConfigMap")
        self.heard: list[str] = []
        self.informer.subscribe(lambda old, new: self.heard.append(name_of(new or old or {})))

    async def write(self, *names: str) -> None:
        for name in names:
            await self.client.create(config_map(name))

    def known(self) -> list[str]:
        return sorted(name_of(obj) for obj in self.informer.index)


def config_map(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


@asynccontextmanager
async def new_site() -> AsyncIterator[Site]:
    """A site whose informer has followed for a while (in virtual time, as a fixture would not be)."""
    site = Site(LoopbackClient(await new_api()))
    following = asyncio.create_task(site.informer.run())
    await asyncio.sleep(SHORT_WATCH_SECONDS)
    site.heard.clear()
    yield site
    following.cancel()


async def test_without_trouble_a_change_is_known_at_once() -> None:
    async with new_site() as site:
        await site.write("a")
        await asyncio.sleep(0.01)
        assert "a" in site.known()


@pytest.mark.parametrize("watcher", ["mine", EVERY_WATCH], ids=["one controller's", "the whole process's"])
async def test_late_changes_come_in_order_each_as_late_as_the_other(watcher: str) -> None:
    async with new_site() as site:
        site.troubles.put("f1", watcher, SECOND)
        await asyncio.sleep(0)
        await site.write("a")
        await asyncio.sleep(0.5)
        await site.write("b")
        await asyncio.sleep(0.45)
        assert site.heard == []
        await asyncio.sleep(0.1)
        assert site.heard == ["a"]
        await asyncio.sleep(0.5)
        assert site.heard == ["a", "b"]


async def test_healed_late_changes_are_known_at_once() -> None:
    async with new_site() as site:
        site.troubles.put("f1", "mine", WatchTrouble(delay_seconds=3600.0))
        await asyncio.sleep(0)
        await site.write("a", "b")
        await asyncio.sleep(60)
        assert site.heard == []
        site.troubles.take_away("f1")
        await asyncio.sleep(0.01)
        assert site.heard == ["a", "b"]


async def test_changes_told_twice_change_a_cache_once() -> None:
    async with new_site() as site:
        site.troubles.put("f1", "mine", TWICE)
        await asyncio.sleep(0)
        client = TroubledClient(site.client, site.troubles, watcher="mine")
        async with client.watch("ConfigMap", "default", revision=str(site.informer.revision)) as events:
            await site.write("a")
            assert [name_of((await anext(events)).object) for _ in range(2)] == ["a", "a"]
        await asyncio.sleep(0.01)
        assert site.heard == ["a"]


async def test_lost_changes_are_missing_until_the_heal_and_then_found_by_a_new_list() -> None:
    async with new_site() as site:
        await site.write("goes")
        await asyncio.sleep(0.01)
        site.troubles.put("f1", "mine", LOST)
        await asyncio.sleep(0)
        await site.write("a")
        await site.client.delete("ConfigMap", "goes", "default")
        await asyncio.sleep(60)
        assert "a" not in site.known()
        assert "goes" in site.known()
        site.troubles.take_away("f1")
        await asyncio.sleep(0.01)
        assert "a" in site.known()
        assert "goes" not in site.known()


async def test_a_share_is_lost_and_found_by_a_new_list_after_the_heal() -> None:
    """The cache has moved on past what it missed: no watch would tell it."""
    async with new_site() as site:
        site.troubles.put("f1", "mine", WatchTrouble(lost_share=0.5))
        await asyncio.sleep(0)
        names = [f"c-{number:03}" for number in range(200)]
        await site.write(*names)
        await asyncio.sleep(1)
        assert 70 < len(site.heard) < 130
        site.troubles.take_away("f1")
        await asyncio.sleep(0.01)
        assert set(names) <= set(site.known())


async def test_the_troubles_of_others_are_not_mine() -> None:
    async with new_site() as site:
        site.troubles.put("f1", "other", WatchTrouble(delay_seconds=60.0, lost_share=1.0))
        await asyncio.sleep(0)
        await site.write("a")
        await asyncio.sleep(0.01)
        assert site.heard == ["a"]
        assert site.troubles.watchers == {"other"}


async def test_two_troubles_add_up_and_are_taken_away_one_by_one() -> None:
    troubles = WatchTroubles(Random(1))
    troubles.put("f1", "mine", SECOND)
    troubles.put("f2", EVERY_WATCH, WatchTrouble(delay_seconds=0.5, twice=True))
    assert troubles.of("mine") == WatchTrouble(delay_seconds=1.0, twice=True)
    troubles.take_away("f1")
    assert troubles.of("mine") == WatchTrouble(delay_seconds=0.5, twice=True)
    troubles.take_away("f2")
    assert troubles.of("mine") == WatchTrouble()

"""The runner over a real API in virtual time: what it waits for, repeats, stops at, and never does twice."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.clock import LoopClock
from petset.cluster.control.controller import Controller
from petset.cluster.control.runner import Informers, Runner
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, ConfirmNone, Create, Delete, Outcome, Patch, Record
from tests.apis import new_api

pytestmark = pytest.mark.looptime

Plan = Callable[[Key, Snapshot, float], Outcome]


def config_map(name: str, **data: str) -> Object:
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


@asynccontextmanager
async def running(plan: Plan, **options: float) -> AsyncIterator[LoopbackClient]:
    """A controller over ConfigMaps that also sees Secrets."""
    api = await new_api()
    client = LoopbackClient(api)
    controller = Controller("test", {"ConfigMap": lambda obj, _: [key_of(obj)]}, plan, reads=("Secret",), **options)
    informers = Informers(client, controller.kinds)
    runner = Runner(controller, client=client, informers=informers, clock=LoopClock())
    tasks = [asyncio.create_task(informers.run()), asyncio.create_task(runner.run())]
    try:
        yield client
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def secret(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}}


async def test_a_plan_sees_its_own_last_write() -> None:
    """The plan creates what it does not see: with a lagging cache it would do so twice and fail."""
    seen: list[int] = []

    def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        count = len(snapshot.objects("Secret"))
        seen.append(count)
        return Outcome((Create(secret(f"s{count}")),), again_at=now) if count < 5 else NOTHING

    async with running(plan) as client:
        await client.create(config_map("a"))
        await asyncio.sleep(1)
        assert len((await client.list("Secret")).items) == 5
    assert seen == [0, 1, 2, 3, 4, 5]


async def test_a_failed_write_stops_the_rest_but_not_what_is_always_written() -> None:
    regarding = config_map("a")

    def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        if snapshot.get("Secret", "default", "always"):
            return NOTHING
        said = Record(regarding, "Normal", "Said", "never")
        failed = Record(regarding, "Warning", "Failed", "it failed: {error}")
        return Outcome(
            (
                Patch("ConfigMap", "default", "missing", {"data": {}}, said=said, failed=failed),
                Create(secret("skipped")),
                Create(secret("always"), always=True),
            )
        )

    async with running(plan) as client:
        await client.create(regarding)
        await asyncio.sleep(1)
        assert [each["metadata"]["name"] for each in (await client.list("Secret")).items] == ["always"]
        events = (await client.list("Event")).items
    assert [(each["reason"], each["message"]) for each in events] == [
        ("Failed", 'it failed: configmaps "missing" not found')
    ]


async def test_failures_back_off_and_repeated_events_are_counted() -> None:
    calls: list[float] = []

    def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        calls.append(now)
        failed = Record(config_map("a"), "Warning", "Failed", "again")
        return Outcome((Patch("ConfigMap", "default", "missing", {}, failed=failed),))

    async with running(plan) as client:
        await client.create(config_map("a"))
        await asyncio.sleep(10)
        events = (await client.list("Event")).items
    pauses = [later - earlier for earlier, later in itertools.pairwise(calls)]
    assert pauses[3] == pytest.approx(2 * pauses[2], rel=0.2)
    assert len(events) == 1
    assert events[0]["count"] == len(calls)


async def test_a_plan_that_raises_does_not_end_the_controller() -> None:
    def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        if key[1] == "bad":
            raise KeyError("spec")
        return Outcome((Create(secret(key[1]), exists_ok=True),))

    async with running(plan) as client:
        await client.create(config_map("bad"))
        await client.create(config_map("good"))
        await asyncio.sleep(1)
        assert [each["metadata"]["name"] for each in (await client.list("Secret")).items] == ["good"]


async def test_confirm_none_stops_at_a_live_match() -> None:
    def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        look = ConfirmNone("ConfigMap", "default", matching=lambda obj: obj["metadata"]["name"] == "owner")
        return Outcome((look, Delete("ConfigMap", "default", "a"))) if key[1] == "a" else NOTHING

    async with running(plan) as client:
        await client.create(config_map("owner"))
        await client.create(config_map("a"))
        await asyncio.sleep(1)
        assert len((await client.list("ConfigMap", "default", field_selector="metadata.name=a")).items) == 1
        await client.delete("ConfigMap", "owner", "default")
        await asyncio.sleep(60)
        assert (await client.list("ConfigMap", "default", field_selector="metadata.name=a")).items == []


async def test_a_resync_looks_again_without_any_change() -> None:
    calls: list[float] = []

    def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        calls.append(now)
        return NOTHING

    async with running(plan, resync_seconds=5.0) as client:
        await client.create(config_map("a"))
        await asyncio.sleep(21)
    assert 5 <= len(calls) <= 6

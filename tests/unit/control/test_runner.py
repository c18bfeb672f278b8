"""The runner over a real API in virtual time: what it waits for, repeats, stops at, and never does twice."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.clock import LoopClock
from petset.cluster.control.controller import Controller
from petset.cluster.control.runner import Informers, Runner
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, ConfirmNone, Create, Delete, Outcome, Patch, Record, Update
from tests.apis import new_api
from tests.fakes.unruly import Trouble, UnrulyClient

pytestmark = pytest.mark.looptime

Plan = Callable[[Key, Snapshot, float], Outcome]


def config_map(name: str, **data: str) -> Object:
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


@asynccontextmanager
async def running(plan: Plan, trouble: Trouble | None = None, **options: Any) -> AsyncIterator[LoopbackClient]:
    """A controller over ConfigMaps that also sees Secrets; when it dies, another one takes over after a second."""
    client = LoopbackClient(await new_api())
    its_client = UnrulyClient(client, trouble or Trouble(Random(0)))
    controller = Controller("test", {"ConfigMap": lambda obj, _: [key_of(obj)]}, plan, reads=("Secret",), **options)

    async def life() -> None:
        informers = Informers(its_client, controller.kinds)
        runner = Runner(controller, client=its_client, informers=informers, clock=LoopClock())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(informers.run())
            tasks.create_task(runner.run())

    lives = [asyncio.create_task(life())]

    def die() -> None:
        lives[-1].cancel()
        asyncio.get_running_loop().call_later(1, lambda: lives.append(asyncio.create_task(life())))

    if trouble is not None:
        trouble.on_death = die
    try:
        yield client
    finally:
        for task in lives:
            task.cancel()
        await asyncio.gather(*lives, return_exceptions=True)


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


async def test_an_event_names_what_the_server_named() -> None:
    regarding = config_map("a")

    def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        if snapshot.objects("Secret"):
            return NOTHING
        unnamed = {"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "a-", "namespace": "default"}}
        return Outcome((Create(unnamed, said=Record(regarding, "Normal", "Made", "made {name}")),))

    async with running(plan) as client:
        await client.create(regarding)
        await asyncio.sleep(1)
        [made] = (await client.list("Secret")).items
        [event] = (await client.list("Event")).items
    assert event["message"] == f"made {made['metadata']['name']}"


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


# Late caches, lost answers, conflicts and death: nothing is lost, and nothing is done twice


def numbered(snapshot: Snapshot, wanted: int) -> Outcome:
    """Create secrets under generated names until there are enough: a late cache makes too many."""
    missing = wanted - len(snapshot.objects("Secret"))
    generated = {"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "s-", "namespace": "default"}}
    return Outcome(tuple(Create(generated) for _ in range(missing))) if missing > 0 else NOTHING


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param({"lag_seconds": 3.0}, id="watches-are-late"),
        pytest.param({"broken_watches": 0.3}, id="watches-break"),
        pytest.param({"lost_answers": 0.4}, id="answers-get-lost"),
        pytest.param({"lost_answers": 0.4, "lag_seconds": 3.0}, id="answers-get-lost-and-watches-are-late"),
    ],
)
async def test_nothing_is_done_twice_on_a_late_cache(trouble: dict[str, Any], seed: int) -> None:
    async with running(lambda key, snapshot, now: numbered(snapshot, 4), Trouble(Random(seed), **trouble)) as client:
        await client.create(config_map("a"))
        for _ in range(20):
            await client.patch(
                "ConfigMap", "a", "default", body={"data": {"at": str(asyncio.get_running_loop().time())}}
            )
            await asyncio.sleep(0.3)
        await asyncio.sleep(60)
        assert len((await client.list("Secret")).items) == 4


@pytest.mark.parametrize("seed", range(5))
async def test_a_delete_whose_answer_was_lost_is_seen_before_the_next_one(seed: int) -> None:
    """The plan keeps one secret of two: on a late cache it would delete again, and the other one."""
    keep = {"a": "s0", "b": "s1"}

    def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        present = [each["metadata"]["name"] for each in snapshot.objects("Secret")]
        obj = snapshot.get("ConfigMap", *key)
        assert obj is not None
        unwanted = [name for name in present if name != keep[obj["data"]["keep"]]]
        return Outcome((Delete("Secret", "default", unwanted[0]),)) if len(present) == 2 else NOTHING

    trouble = Trouble(Random(seed), lag_seconds=3.0)
    async with running(plan, trouble) as client:
        for name in ("s0", "s1"):
            await client.create(secret(name))
        trouble.lost_answers = 1.0
        await client.create(config_map("a", keep="a"))
        while len((await client.list("Secret")).items) == 2:
            await asyncio.sleep(0.01)
        await client.patch("ConfigMap", "a", "default", body={"data": {"keep": "b"}})
        await asyncio.sleep(60)
        assert len((await client.list("Secret")).items) == 1


async def test_a_conflict_is_retried_on_the_newer_version_and_said_to_nobody() -> None:
    """Both the user and the controller count up; each update carries the version that it was made from."""

    def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        obj = snapshot.get("ConfigMap", *key)
        assert obj is not None
        if obj["data"].get("seen") == obj["data"]["user"]:
            return NOTHING
        data = obj["data"] | {"seen": obj["data"]["user"]}
        failed = Record(obj, "Warning", "Failed", "{error}")
        return Outcome((Update(obj | {"data": data}, failed=failed),))

    async with running(plan, Trouble(Random(1), conflicts=0.3, lag_seconds=0.5)) as client:
        await client.create(config_map("a", user="0"))
        for count in range(1, 20):
            await client.patch("ConfigMap", "a", "default", body={"data": {"user": str(count)}})
            await asyncio.sleep(0.1)
        await asyncio.sleep(10)
        assert (await client.get("ConfigMap", "a", "default"))["data"] == {"user": "19", "seen": "19"}
        assert (await client.list("Event")).items == []


@pytest.mark.parametrize("writes", range(8))
async def test_death_between_any_two_writes_loses_nothing_and_repeats_nothing(writes: int) -> None:
    def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        missing = [name for name in ("s0", "s1", "s2") if not snapshot.get("Secret", "default", name)]
        obj = snapshot.get("ConfigMap", *key)
        if obj is None or (not missing and obj["data"]["done"] == "yes"):
            return NOTHING
        creates = (Create(secret(name)) for name in missing)
        return Outcome((*creates, Patch("ConfigMap", *key, {"data": {"done": "yes"}})))

    trouble = Trouble(Random(writes))
    trouble.die_after(writes)
    async with running(plan, trouble) as client:
        await client.create(config_map("a", done="no"))
        await asyncio.sleep(10)
        assert (await client.get("ConfigMap", "a", "default"))["data"] == {"done": "yes"}
    assert Counter((each.verb, each.name, each.refused) for each in trouble.wrote) == Counter(
        [("create", "s0", ""), ("create", "s1", ""), ("create", "s2", ""), ("patch", "a", "")]
    )


async def test_what_happens_while_a_key_is_worked_on_is_not_missed_and_no_key_has_two_workers() -> None:
    seen: dict[str, list[str]] = {"a": [], "b": []}

    def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        obj = snapshot.get("ConfigMap", *key)
        assert obj is not None
        versions = seen[key[1]]
        versions.append(obj["data"]["user"])
        return Outcome(tuple(Create(secret(f"{key[1]}-{len(versions)}-{part}")) for part in ("begin", "end")))

    trouble = Trouble(Random(1), lag_seconds=0.2)
    async with running(plan, trouble, workers=5) as client:
        for name in seen:
            await client.create(config_map(name, user="0"))
        await asyncio.sleep(1)
        for count in range(1, 10):
            for name in seen:
                await client.patch("ConfigMap", name, "default", body={"data": {"user": str(count)}})
            await asyncio.sleep(0.02 * count)
        await asyncio.sleep(1)
    for name, versions in seen.items():
        assert versions[-1] == "9", "the last change was missed"
        assert versions == sorted(versions), "an older state was seen after a newer one"
        parts = [each.name.split("-")[2] for each in trouble.wrote if each.name.startswith(f"{name}-")]
        assert parts == ["begin", "end"] * len(versions), "two workers had the key"


async def test_the_time_to_look_again_holds_after_an_error_too() -> None:
    """Otherwise a lasting error would put off everything else by up to the longest backoff."""
    calls: list[float] = []

    def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        calls.append(now)
        return Outcome((), again_at=now + 1, error="still in the way")

    async with running(plan) as client:
        await client.create(config_map("a"))
        await asyncio.sleep(200)
    assert max(later - earlier for earlier, later in itertools.pairwise(calls)) <= 1.001

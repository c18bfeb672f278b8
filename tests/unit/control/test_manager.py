"""Controllers over shared informers, and one whose watches are troubled by name: it alone is late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from random import Random

import pytest

from petset.cluster.api.objects import Object, name_of
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.assemble.manager import ControllerManager
from petset.cluster.clock import LoopClock
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.watch_troubles import EVERY_WATCH, WatchTrouble, WatchTroubles
from petset.cluster.control.writes import NOTHING, Outcome
from tests.apis import new_api
from tests.unit.control.test_watch_troubles import config_map

pytestmark = pytest.mark.looptime

LATE = WatchTrouble(delay_seconds=10.0)


def itself(obj: Object, snapshot: Snapshot) -> Iterable[Key]:
    yield key_of(obj)


def note(seen: set[str], key: Key, snapshot: Snapshot, now: float) -> Outcome:
    seen |= {name_of(obj) for obj in snapshot.objects("ConfigMap")}
    return NOTHING


@pytest.mark.parametrize(
    ("watcher", "late"),
    [
        pytest.param("one-controller", {"one-controller"}, id="one controller"),
        pytest.param("nobody", set(), id="somebody else"),
        pytest.param(EVERY_WATCH, {"one-controller", "other-controller"}, id="the whole process"),
    ],
)
async def test_who_sees_a_change_late(watcher: str, late: set[str]) -> None:
    client, clock = LoopbackClient(await new_api()), LoopClock()
    seen: dict[str, set[str]] = {"one-controller": set(), "other-controller": set()}
    controllers = [Controller(name, {"ConfigMap": itself}, partial(note, seen[name])) for name in seen]
    troubles = WatchTroubles(Random(1))
    running = asyncio.create_task(ControllerManager(client, clock, tuple(controllers), troubles).run())
    await asyncio.sleep(1)
    troubles.put("f1", watcher, LATE)
    await asyncio.sleep(1)
    await client.create(config_map("news"))
    await asyncio.sleep(1)
    assert {name for name, names in seen.items() if "news" not in names} == late
    troubles.take_away("f1")
    await asyncio.sleep(1)
    assert all("news" in names for names in seen.values())
    running.cancel()


async def test_a_trouble_from_before_the_start_counts() -> None:
    client, clock, seen = LoopbackClient(await new_api()), LoopClock(), set[str]()
    troubles = WatchTroubles(Random(1))
    troubles.put("f1", "one-controller", LATE)
    controller = Controller("one-controller", {"ConfigMap": itself}, partial(note, seen))
    running = asyncio.create_task(ControllerManager(client, clock, (controller,), troubles).run())
    await asyncio.sleep(1)
    await client.create(config_map("news"))
    await asyncio.sleep(9)
    assert "news" not in seen
    await asyncio.sleep(2)
    assert "news" in seen
    running.cancel()

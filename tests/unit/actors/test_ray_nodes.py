"""Further Ray nodes: kept alive, held down, frozen, retired; and which emulated nodes they hold."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest

from petset.actors.plan import cluster_actors
from petset.actors.ray_environment import PATIENCE_MS
from petset.actors.ray_nodes import FurtherRayNode
from petset.cluster.chaos.errors import CannotHere
from petset.cluster.chaos.faults import MAX_SECONDS
from petset.cluster.settings import ClusterSettings, SettingsError


class FakeRaylet:
    """A raylet without a process: killed, it is dead; buried as soon as it may be."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.node_id = f"id-{number}"
        self.process_id = number
        self.is_frozen = False
        self.is_buried = False
        self.burial, self.may_be_buried = asyncio.Event(), threading.Event()
        self.may_be_buried.set()
        self._loop = loop
        self._dead = asyncio.Event()

    async def death(self) -> None:
        await self._dead.wait()

    def freeze(self) -> list[psutil.Process]:
        self.is_frozen = True
        return []

    def kill(self) -> None:
        self._loop.call_soon_threadsafe(self._dead.set)

    def bury(self) -> None:
        self._loop.call_soon_threadsafe(self.burial.set)
        assert self.may_be_buried.wait(10)
        self.is_buried = True


class Site:
    """A Ray node that starts when `power` is on; `fails` is what its first starts fail with."""

    def __init__(self, thread: ThreadPoolExecutor, fails: list[Exception]) -> None:
        self.raylets: list[FakeRaylet] = []
        self.told: list[str] = []
        self.fails = fails
        self._thread = thread
        self.power, self.starting = threading.Event(), threading.Event()
        self.power.set()
        self._loop = asyncio.get_running_loop()
        self.node = FurtherRayNode("ray-node-2", self._start, thread=thread, tell=self.told.append)
        self.running = asyncio.create_task(self.node.run())

    async def starts(self) -> int:
        """How often it was started, when everybody has had a turn."""
        for _ in range(10):
            await asyncio.sleep(0)
        await self._loop.run_in_executor(self._thread, len, self.raylets)  # after a start that waits for the thread
        return len(self.raylets)

    def _start(self) -> FakeRaylet:
        self.starting.set()
        assert self.power.wait(10)
        if self.fails:
            raise self.fails.pop()
        self.raylets.append(FakeRaylet(len(self.raylets) + 1, self._loop))
        return self.raylets[-1]


@asynccontextmanager
async def standing(*fails: Exception) -> AsyncIterator[Site]:
    with ThreadPoolExecutor(1) as thread:
        site = Site(thread, [*fails])
        try:
            yield site
        finally:
            site.power.set()
            await site.node.stop()
            await site.running


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with standing() as site:
        yield site


async def test_it_comes_back_when_it_dies_and_its_actors_hear_of_it(site: Site) -> None:
    first = await site.node.life()
    site.raylets[0].kill()
    await first.ended.wait()
    assert site.raylets[0].is_buried
    second = await site.node.life()
    assert (first.node_id, second.node_id) == ("id-1", "id-2")
    assert not second.ended.is_set()
    assert len(site.told) == 1
    assert site.told[0].startswith("ray-node-2 died")


async def test_a_kill_returns_when_that_life_is_over(site: Site) -> None:
    life = await site.node.life()
    await site.node.kill()
    assert life.ended.is_set()
    assert (await site.node.life()).node_id == "id-2"


async def test_a_dead_one_is_given_to_nobody_while_its_rest_is_being_ended(site: Site) -> None:
    first = await site.node.life()
    site.raylets[0].may_be_buried.clear()
    site.raylets[0].kill()
    await site.raylets[0].burial.wait()
    asking, killing = asyncio.create_task(site.node.life()), asyncio.create_task(site.node.kill())
    assert await site.starts() == 1
    assert (asking.done(), killing.done(), site.node.process_id) == (False, False, 0)
    with pytest.raises(CannotHere, match="is not up"):
        await site.node.freeze("f1")
    site.raylets[0].may_be_buried.set()
    await killing
    assert first.ended.is_set()
    assert (await asking).node_id == "id-2"


async def test_it_stays_down_until_the_last_reason_is_gone(site: Site) -> None:
    await site.node.life()
    await site.node.hold_down("f1")
    await site.node.hold_down("f2")
    await site.node.let_up("f1")
    assert site.node.process_id == 0
    with pytest.raises(CannotHere, match="ray-node-2 is not up"):
        await site.node.kill()
    assert await site.starts() == 1
    await site.node.let_up("f2")
    assert (await site.node.life()).node_id == "id-2"


async def test_what_is_held_down_while_it_starts_goes_down_again(site: Site) -> None:
    await site.node.life()
    site.power.clear()
    site.starting.clear()
    await site.node.kill()
    await asyncio.to_thread(site.starting.wait)
    await site.node.hold_down("f1")
    site.power.set()
    assert await site.starts() == 2
    await site.raylets[1].burial.wait()
    assert (site.node.process_id, await site.starts()) == (0, 2)
    await site.node.let_up("f1")


async def test_a_start_that_fails_is_told_and_tried_again() -> None:
    async with standing(RuntimeError("no memory")) as site:
        assert (await site.node.life()).node_id == "id-1"
        assert "it does not start: RuntimeError: no memory" in site.told[0]


async def test_it_is_frozen_once_and_only_while_it_is_up(site: Site) -> None:
    await site.node.life()
    await site.node.freeze("f1")
    with pytest.raises(CannotHere, match="frozen already"):
        await site.node.freeze("f2")
    await site.node.thaw("f1")
    await site.node.thaw("never")
    await site.node.hold_down("f3")
    with pytest.raises(CannotHere, match="is not up"):
        await site.node.freeze("f4")


async def test_what_is_retired_is_not_started_again_though_faults_heal(site: Site) -> None:
    await site.node.life()
    await site.node.hold_down("f1")
    site.node.retire()
    await site.node.let_up("f1")
    await site.running
    assert len(site.raylets) == 1


async def test_it_watches_nothing(site: Site) -> None:
    with pytest.raises(CannotHere, match="name what is on it"):
        await site.node.order("f1", "trouble_watches")


# -- where the emulated nodes are --------------------------------------------------------------------------------------


def test_nodes_are_on_further_ray_nodes_in_turn_and_everything_else_is_on_the_first() -> None:
    settings = ClusterSettings("one", "/home", node_count=3, ray_nodes=3)
    assert settings.nodes_on_ray_nodes == {"ray-node-2": ["node-1", "node-3"], "ray-node-3": ["node-2"]}
    places = {spec.name: spec.ray_node for spec in cluster_actors(settings)}
    assert places == {
        "api-server": "ray-node-1", "controller": "ray-node-1", "dns": "ray-node-1",
        "node-1": "ray-node-2", "kubelet-1": "ray-node-2", "node-3": "ray-node-2", "kubelet-3": "ray-node-2",
        "node-2": "ray-node-3", "kubelet-2": "ray-node-3",
    }  # fmt: skip


def test_one_ray_node_holds_everything() -> None:
    settings = ClusterSettings("one", "/home")
    assert settings.nodes_on_ray_nodes == {}
    assert {spec.ray_node for spec in cluster_actors(settings)} == {"ray-node-1"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"ray_nodes": 0}, "--ray-nodes 0: give 1 to 4", id="none"),
        pytest.param({"ray_nodes": 5}, "--ray-nodes 5: give 1 to 4", id="one that would be empty"),
        pytest.param({"ray_nodes": 2, "ray_address": "127.0.0.1:1"}, "a joined Ray", id="of a joined Ray"),
    ],
)
def test_a_number_of_ray_nodes_that_cannot_be_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        ClusterSettings("one", "/home", **fields)


def test_ray_is_as_patient_as_a_fault_may_last() -> None:
    assert PATIENCE_MS == MAX_SECONDS * 1000

"""What a keeper does to the process of its actor, which here is a script beside a process that sleeps."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError

from petset.actors.keeper import Keeper
from petset.actors.plan import cluster_actors
from petset.actors.ray_nodes import FirstRayNode
from petset.cluster.chaos.errors import CannotHere
from petset.cluster.settings import ClusterSettings


@dataclass(frozen=True)
class Method:
    """Of an actor: `remote` is what a call does."""

    remote: Callable[..., Awaitable[Any]]


@dataclass
class Actor:
    """Serves until its process ends; keeps what it was asked to do."""

    process: subprocess.Popen[bytes]
    asked: list[str] = field(default_factory=list)

    @property
    def ready(self) -> Method:
        return Method(self._ready)

    @property
    def serve(self) -> Method:
        return Method(self._serve)

    @property
    def shift_clock(self) -> Method:
        return Method(self._shift_clock)

    async def _ready(self) -> int:
        return self.process.pid

    async def _serve(self) -> None:
        await asyncio.to_thread(self.process.wait)
        raise ActorDiedError

    async def _shift_clock(self) -> None:
        self.asked.append("shift_clock")


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.fixture
async def site(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Keeper, Actor]]:
    monkeypatch.setattr(ray, "kill", lambda handle: None)
    actor = Actor(process)
    spec, handle = cluster_actors(ClusterSettings("one", "/"))[0], cast(ActorHandle[Any], actor)
    keeper = Keeper(spec, FirstRayNode("here"), create=lambda spec, life: handle, tell=lambda text: None)
    keeping = asyncio.create_task(keeper.run())
    await keeper.wait_ready()
    yield keeper, actor
    keeping.cancel()
    process.kill()
    with suppress(asyncio.CancelledError):
        await keeping


async def test_a_frozen_actor_gets_no_order_that_it_would_carry_out_later(site: tuple[Keeper, Actor]) -> None:
    keeper, actor = site
    await keeper.freeze("f1")
    with pytest.raises(CannotHere, match="is frozen"):
        await keeper.order("f2", "shift_clock")
    with pytest.raises(CannotHere, match="is frozen already"):
        await keeper.freeze("f2")
    await keeper.thaw("f1")
    assert actor.asked == []
    await keeper.order("f3", "shift_clock")
    assert actor.asked == ["shift_clock"]


async def test_an_actor_that_died_just_now_is_not_up(site: tuple[Keeper, Actor]) -> None:
    keeper, actor = site
    actor.process.kill()
    actor.process.wait()
    for act in (keeper.freeze("f1"), keeper.ask("shift_clock"), keeper.kill()):
        with pytest.raises(CannotHere, match="is not up"):
            await act


async def test_a_kill_ends_when_the_life_is_over(site: tuple[Keeper, Actor]) -> None:
    keeper, actor = site
    await keeper.hold_down("f1")
    assert actor.process.wait() == -9
    assert keeper.process_id == 0

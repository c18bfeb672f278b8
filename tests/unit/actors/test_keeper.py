"""A keeper over an actor that is a script: what it hears of Ray, and what it makes of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, ActorUnschedulableError

from petset.actors.keeper import Keeper
from petset.actors.plan import cluster_actors
from petset.actors.ray_nodes import FirstRayNode
from petset.cluster.settings import ClusterSettings


@dataclass(frozen=True)
class Method:
    """Of an actor: `remote` is what a call does."""

    remote: Callable[[], Awaitable[Any]]


class ScriptedActor:
    """Lives for ever, or not at all; `ready` is answered after so many failures of the connection."""

    def __init__(self, *, failures: int = 0, end: Exception | None = None) -> None:
        self.ready = Method(self._ready)
        self.serve = Method(self._serve)
        self._failures = failures
        self._end = end

    async def _ready(self) -> int:
        if self._failures:
            self._failures -= 1
            raise ActorUnavailableError("the connection broke", None)
        if self._end:
            raise self._end
        return os.getpid()

    async def _serve(self) -> None:
        if self._end:
            raise self._end
        await asyncio.Event().wait()


@pytest.mark.looptime
async def test_an_actor_that_cannot_be_reached_for_a_moment_is_asked_again_whether_it_is_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[object] = []
    monkeypatch.setattr(ray, "kill", killed.append)
    actor = cast(ActorHandle[Any], ScriptedActor(failures=3))
    spec = cluster_actors(ClusterSettings("one", "/"))[0]
    keeper = Keeper(spec, FirstRayNode("here"), create=lambda spec, life: actor, tell=lambda text: None)
    keeping = asyncio.create_task(keeper.run())
    async with asyncio.timeout(10):
        await keeper.wait_ready()
    assert keeper.process_id == os.getpid()
    assert killed == []
    keeping.cancel()


@pytest.mark.looptime
async def test_an_actor_whose_ray_node_died_under_it_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray may know of that death before the Ray node's life is over for us; it has a class of its own for this."""
    monkeypatch.setattr(ray, "kill", lambda handle: None)
    actors = [ScriptedActor(), ScriptedActor(end=ActorUnschedulableError("its node does not exist any more"))]
    spec = cluster_actors(ClusterSettings("one", "/"))[0]
    told: list[str] = []
    keeper = Keeper(
        spec, FirstRayNode("here"), create=lambda spec, life: cast(ActorHandle[Any], actors.pop()), tell=told.append
    )
    keeping = asyncio.create_task(keeper.run())
    async with asyncio.timeout(10):
        await keeper.wait_ready()
    assert [text.partition(":")[0] for text in told] == ["api-server died (ActorUnschedulableError)"]
    keeping.cancel()

"""Followers go on whatever happens to their watch: a broken one costs nothing, a forgotten history is a gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from petset.cluster.api.objects import name_of
from petset.cluster.chaos.gate import GateError
from petset.cluster.chaos.observations import Observations
from petset.cluster.chaos.watching import SAMPLE_SECONDS, Follower, sample
from petset.cluster.clock import LoopClock
from petset.cluster.control.client import Client
from petset.cluster.errors import ApiError, Expired, Unavailable
from tests.local import Local, local_cluster

pytestmark = pytest.mark.looptime


class Breakable:
    """A client whose open watches end with an error when told so, and whose lists and watches then fail for a while."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._errors: asyncio.Queue[ApiError] = asyncio.Queue()
        self.is_away = False
        self.is_forgetful = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def break_watch(self, error: ApiError) -> None:
        self._errors.put_nowait(error)

    async def list(self, kind: str, namespace: str = "") -> Any:
        if self.is_away:
            raise Unavailable("nobody is there")
        return await self._client.list(kind, namespace)

    @asynccontextmanager
    async def watch(self, kind: str, namespace: str, *, revision: str) -> AsyncIterator[Any]:
        if self.is_away:
            raise Unavailable("nobody is there")
        if self.is_forgetful:
            self.is_forgetful = False
            raise Expired("history is gone")
        async with self._client.watch(kind, namespace, revision=revision) as events:
            yield self._until_broken(events)

    async def _until_broken(self, events: AsyncIterator[Any]) -> AsyncIterator[Any]:
        error = asyncio.create_task(self._errors.get())
        while True:
            coming = asyncio.ensure_future(anext(events))
            await asyncio.wait((error, coming), return_when=asyncio.FIRST_COMPLETED)
            if error.done():
                coming.cancel()
                raise error.result()
            yield coming.result()


async def create(local: Local, name: str) -> None:
    await local.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})


async def delete(local: Local, name: str) -> None:
    await local.client.delete("ConfigMap", name, "default")


def told(seen: Observations) -> list[tuple[str, str]]:
    return [(each.type, name_of(each.object)) for each in seen.changes if name_of(each.object) != "kube-root-ca.crt"]


async def test_a_broken_watch_is_continued_where_it_was() -> None:
    async with local_cluster(1) as local:
        client, seen = Breakable(local.client), Observations("default", 0.0, 1.0)
        task = asyncio.create_task(Follower("ConfigMap", client, LoopClock(), seen).run())
        await create(local, "a")
        await asyncio.sleep(1)
        client.break_watch(Unavailable("broken"))
        await asyncio.sleep(0.01)
        await create(local, "b")
        await delete(local, "b")
        await asyncio.sleep(5)
        task.cancel()
    assert told(seen) == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "b")]
    assert seen.gaps == []


async def test_a_forgotten_history_is_a_gap_and_the_difference_is_told() -> None:
    async with local_cluster(1) as local:
        client, clock, seen = Breakable(local.client), LoopClock(), Observations("default", 0.0, 1.0)
        task = asyncio.create_task(Follower("ConfigMap", client, clock, seen).run())
        for name in ("a", "b"):
            await create(local, name)
        await asyncio.sleep(1)
        client.is_away = client.is_forgetful = True
        client.break_watch(Unavailable("the server died"))
        lost_at = clock.now()
        await asyncio.sleep(2)
        await delete(local, "a")
        await create(local, "a")
        await delete(local, "b")
        await create(local, "c")
        client.is_away = False
        await asyncio.sleep(5)
        task.cancel()
    assert told(seen)[:2] == [("ADDED", "a"), ("ADDED", "b")]
    assert sorted(told(seen)[2:]) == [("ADDED", "a"), ("ADDED", "c"), ("DELETED", "a"), ("DELETED", "b")]
    [gap] = seen.gaps
    assert gap.since <= lost_at < gap.to


async def test_a_history_that_is_gone_before_the_first_watch_hides_nothing_older_than_the_list() -> None:
    async with local_cluster(1) as local:
        client, clock, seen = Breakable(local.client), LoopClock(), Observations("default", 0.0, 1.0)
        client.is_forgetful = True
        began_at = clock.now()
        task = asyncio.create_task(Follower("ConfigMap", client, clock, seen).run())
        await asyncio.sleep(1)
        task.cancel()
    [gap] = seen.gaps
    assert gap.since >= began_at


async def test_a_gate_that_does_not_answer_leaves_a_sample_out() -> None:
    seen, answers = Observations("default", 0.0, 1.0), [[], GateError("frozen"), []]
    row = {"pid": 7, "namespace": "default", "pod": "web-0", "uid": "a", "node": "node-1", "container": "main"}
    row |= {"container_id": "c", "started_at": "1970-01-01T00:00:05.500000Z", "state": "frozen"}

    async def list_processes() -> list[dict[str, Any]]:
        answer = answers.pop(0)
        if isinstance(answer, GateError):
            raise answer
        return [row, {**row, "namespace": "other"}, {"component": "dns", "pid": 8, "state": "running"}]

    task = asyncio.create_task(sample(list_processes, LoopClock(), seen))
    await asyncio.sleep(SAMPLE_SECONDS * 2.5)
    task.cancel()
    assert [[each.pid for each in sample.processes] for sample in seen.samples] == [[7], [7]]
    assert seen.samples[0].processes[0].started_at == 5.5

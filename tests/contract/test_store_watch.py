"""What every `Backend` promises to watchers: every change once and in order, or Expired."""

from __future__ import annotations

import asyncio

import pytest

from petset.cluster.errors import Expired
from petset.cluster.store.backend import Backend, Change, StoreKey
from tests.contract.stores import KUBIA, KUBIA_0, PODS, SETS, Opener, make, make_many, obj, take, told


class TestWatch:
    async def test_changes_while_watching(self, backend: Backend) -> None:
        with backend.watch(PODS, after=0) as changes:
            made = await make(backend, KUBIA_0, spec=1)
            replaced = await backend.put(KUBIA_0, obj(KUBIA_0, spec=2), expected=1)
            last = await backend.delete(KUBIA_0, obj(KUBIA_0, spec=3), expected=2)
            assert await take(changes, 3) == [
                Change(1, "ADDED", KUBIA_0, made, None),
                Change(2, "MODIFIED", KUBIA_0, replaced, made),
                Change(3, "DELETED", KUBIA_0, last, replaced),
            ]

    async def test_replays_what_came_after_the_revision(self, backend: Backend) -> None:
        await make_many(backend, 4)
        with backend.watch(PODS, after=2) as changes:
            assert told(await take(changes, 2)) == [(3, "ADDED", "p-2"), (4, "ADDED", "p-3")]

    async def test_the_replay_goes_over_into_live_changes(self, backend: Backend) -> None:
        await make_many(backend, 2)
        with backend.watch(PODS, after=1) as changes:
            await make(backend, KUBIA_0)
            assert told(await take(changes, 2)) == [(2, "ADDED", "p-1"), (3, "ADDED", "kubia-0")]

    async def test_another_resource_is_not_seen(self, backend: Backend) -> None:
        await make(backend, KUBIA)
        with backend.watch(PODS, after=0) as changes:
            await make(backend, StoreKey(SETS, "default", "other"))
            await make(backend, KUBIA_0)
            assert told(await take(changes, 1)) == [(3, "ADDED", "kubia-0")]

    async def test_waits_for_a_change(self, backend: Backend) -> None:
        with backend.watch(PODS, after=0) as changes:
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)
            assert not waiting.done()
            await make(backend, KUBIA_0)
            assert (await waiting).revision == 1

    async def test_resumes_where_another_stopped(self, backend: Backend) -> None:
        await make_many(backend, 3)
        with backend.watch(PODS, after=0) as changes:
            seen = (await take(changes, 2))[-1].revision
        await make(backend, KUBIA_0)
        with backend.watch(PODS, after=seen) as changes:
            assert told(await take(changes, 2)) == [(3, "ADDED", "p-2"), (4, "ADDED", "kubia-0")]

    async def test_a_recreated_object_is_added_again(self, backend: Backend) -> None:
        await backend.delete(KUBIA_0, await make(backend, KUBIA_0), expected=1)
        await make(backend, KUBIA_0)
        with backend.watch(PODS, after=1) as changes:
            second, third = await take(changes, 2)
        assert told([second, third]) == [(2, "DELETED", "kubia-0"), (3, "ADDED", "kubia-0")]
        assert third.previous is None

    async def test_every_watcher_gets_every_change(self, backend: Backend) -> None:
        with backend.watch(PODS, after=0) as one, backend.watch(PODS, after=0) as other:
            await make_many(backend, 3)
            assert told(await take(one, 3)) == told(await take(other, 3))

    async def test_a_readable_change_is_already_queued(self, backend: Backend) -> None:
        """Reading first and watching from `revision` is complete: nothing lies between."""
        with backend.watch(PODS, after=0) as changes:
            writing = asyncio.gather(*(make(backend, StoreKey(PODS, "default", f"p-{n}")) for n in range(5)))
            async for change in changes:
                assert backend.revision >= change.revision
                if change.revision == 5:
                    break
            await writing


class TestExpired:
    async def test_a_future_revision(self, backend: Backend) -> None:
        await make(backend, KUBIA_0)
        with pytest.raises(Expired, match="future"), backend.watch(PODS, after=2):
            pytest.fail("entered")

    async def test_compacted_history(self, opener: Opener) -> None:
        async with opener(history_changes=3) as backend:
            await make_many(backend, 5)
            with backend.watch(PODS, after=2) as changes:
                assert told(await take(changes, 3)) == [(3, "ADDED", "p-2"), (4, "ADDED", "p-3"), (5, "ADDED", "p-4")]
            with pytest.raises(Expired, match="too old resource version: 1"), backend.watch(PODS, after=1):
                pytest.fail("entered")

    async def test_other_resources_use_up_the_history_too(self, opener: Opener) -> None:
        async with opener(history_changes=3) as backend:
            await make(backend, KUBIA_0)
            await make_many(backend, 4, resource=SETS)
            with pytest.raises(Expired), backend.watch(PODS, after=1):
                pytest.fail("entered")

    async def test_a_slow_watcher_is_dropped(self, opener: Opener) -> None:
        async with opener(watcher_changes=3) as backend:
            with backend.watch(PODS, after=0) as slow, backend.watch(PODS, after=0) as quick:
                await make_many(backend, 3)
                await take(quick, 3)
                await make(backend, KUBIA_0)
                assert told(await take(quick, 1)) == [(4, "ADDED", "kubia-0")]
                with pytest.raises(Expired, match="too slow"):
                    await anext(slow)
                with pytest.raises(Expired, match="too slow"):
                    await anext(slow)

    async def test_a_full_queue_is_not_yet_too_slow(self, opener: Opener) -> None:
        async with opener(watcher_changes=3) as backend:
            with backend.watch(PODS, after=0) as changes:
                await make_many(backend, 3)
                assert [change.revision for change in await take(changes, 3)] == [1, 2, 3]

    async def test_the_replay_does_not_count(self, opener: Opener) -> None:
        async with opener(watcher_changes=1) as backend:
            await make_many(backend, 4)
            with backend.watch(PODS, after=0) as changes:
                await make(backend, KUBIA_0)
                assert [change.revision for change in await take(changes, 5)] == [1, 2, 3, 4, 5]

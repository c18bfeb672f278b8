"""Group commit, step by step: the disk is a fake whose commits end when and how the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from petset.cluster.errors import AlreadyExists, Conflict, Expired, NotFound, TooManyRequests, Unavailable
from petset.cluster.store import sqlite
from petset.cluster.store.backend import StoreKey
from petset.cluster.store.database import Row
from petset.cluster.store.sqlite import SqliteBackend

A, B, C = (StoreKey("pods", "default", name) for name in "abc")


def obj(key: StoreKey, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": key.name, "namespace": key.namespace}, **fields}


@dataclass
class Disk:
    """Commits stand in `begun` until the test ends them."""

    begun: list[tuple[list[Row], int, asyncio.Future[None]]] = field(default_factory=list)

    async def commit(self, rows: list[Row], revision: int) -> None:
        outcome = asyncio.get_running_loop().create_future()
        self.begun.append((rows, revision, outcome))
        await outcome

    async def ends(self, error: Exception | None = None) -> tuple[list[str], int]:
        """End the oldest commit; answers the names in it and its revision."""
        await settle()
        rows, revision, outcome = self.begun.pop(0)
        if error:
            outcome.set_exception(error)
        else:
            outcome.set_result(None)
        await settle()
        return [row.key.name + ("" if row.value else " deleted") for row in rows], revision


async def settle() -> None:
    """Let every task run until it waits for the disk."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def backend(disk: Disk) -> AsyncIterator[SqliteBackend]:
    opened = SqliteBackend(disk.commit)
    async with opened.committing():
        yield opened


def put(backend: SqliteBackend, key: StoreKey, *, expected: int = 0, **fields: Any) -> asyncio.Task[dict[str, Any]]:
    return asyncio.create_task(backend.put(key, obj(key, **fields), expected=expected))


def delete(backend: SqliteBackend, key: StoreKey, *, expected: int) -> asyncio.Task[dict[str, Any]]:
    return asyncio.create_task(backend.delete(key, obj(key), expected=expected))


async def stored(backend: SqliteBackend, disk: Disk, key: StoreKey) -> None:
    task = put(backend, key)
    await disk.ends()
    await task


def version(answer: dict[str, Any]) -> str:
    return str(answer["metadata"]["resourceVersion"])


class TestDurability:
    async def test_nothing_is_seen_before_the_commit_ends(self, backend: SqliteBackend, disk: Disk) -> None:
        with backend.watch("pods", after=0) as changes:
            task, watching = put(backend, A), asyncio.ensure_future(anext(changes))
            await settle()
            assert (backend.revision, backend.get(A), backend.objects("pods")) == (0, None, [])
            assert not task.done()
            assert not watching.done()
            await disk.ends()
            assert (backend.revision, version(task.result()), watching.result().revision) == (1, "1", 1)
            assert backend.get(A) is task.result()

    async def test_writes_gather_while_a_commit_runs(self, backend: SqliteBackend, disk: Disk) -> None:
        first = put(backend, A)
        await settle()
        later = [put(backend, B), put(backend, C)]
        assert await disk.ends() == (["a"], 1)
        assert first.done()
        assert not any(task.done() for task in later)
        assert await disk.ends() == (["b", "c"], 3)
        assert [version(task.result()) for task in later] == ["2", "3"]
        assert (backend.statistics.writes, backend.statistics.commits) == (3, 2)

    async def test_one_row_for_each_key_of_a_batch(self, backend: SqliteBackend, disk: Disk) -> None:
        tasks = [put(backend, A), put(backend, B)]
        await settle()
        tasks += [put(backend, A, expected=1, spec=2), delete(backend, B, expected=2)]
        await disk.ends()
        assert [type(await task) for task in tasks[:2]] == [dict, dict]
        tasks += [put(backend, C)]
        assert await disk.ends() == (["a", "b deleted"], 4)
        assert await disk.ends() == (["c"], 5)

    async def test_a_batch_is_published_in_order(self, backend: SqliteBackend, disk: Disk) -> None:
        tasks = [put(backend, key) for key in (C, A, B)]
        with backend.watch("pods", after=0) as changes:
            await disk.ends()
            names = [(await anext(changes)).key.name for _ in tasks]
        assert names == ["c", "a", "b"]

    async def test_a_cancelled_caller_does_not_take_its_write_back(self, backend: SqliteBackend, disk: Disk) -> None:
        task = put(backend, A)
        await settle()
        task.cancel()
        await settle()
        assert not task.done(), "its caller may hold a lock until the write can be read"
        await disk.ends()
        assert task.cancelled()
        assert backend.get(A) is not None

    async def test_an_object_that_is_no_json_changes_nothing(self, backend: SqliteBackend, disk: Disk) -> None:
        with pytest.raises(TypeError):
            await backend.put(A, obj(A, spec=object()), expected=0)
        task = put(backend, A)
        await disk.ends()
        assert version(await task) == "1"


class TestChecksAgainstWritesInFlight:
    async def test_a_conflict_waits_until_its_cause_can_be_read(self, backend: SqliteBackend, disk: Disk) -> None:
        await stored(backend, disk, A)
        winner = put(backend, A, expected=1, spec="winner")
        loser = put(backend, A, expected=1, spec="loser")
        await settle()
        assert not loser.done()
        await disk.ends()
        assert version(await winner) == "2"
        with pytest.raises(Conflict):
            loser.result()

    async def test_a_second_creation_waits_for_the_first(self, backend: SqliteBackend, disk: Disk) -> None:
        tasks = [put(backend, A), put(backend, A)]
        await settle()
        assert not tasks[1].done()
        await disk.ends()
        with pytest.raises(AlreadyExists):
            await tasks[1]

    async def test_what_is_published_refuses_at_once(self, backend: SqliteBackend, disk: Disk) -> None:
        await stored(backend, disk, A)
        replacing = put(backend, A, expected=1)
        stale = put(backend, A, expected=9)
        await settle()
        with pytest.raises(Conflict):
            stale.result()
        await disk.ends()
        await replacing

    async def test_a_creation_may_follow_a_deletion_in_flight(self, backend: SqliteBackend, disk: Disk) -> None:
        await stored(backend, disk, A)
        deletion = delete(backend, A, expected=1)
        await settle()
        creation = put(backend, A)
        await disk.ends()
        await disk.ends()
        assert (version(await deletion), version(await creation)) == ("2", "3")

    async def test_a_replacement_waits_for_a_deletion_in_flight(self, backend: SqliteBackend, disk: Disk) -> None:
        await stored(backend, disk, A)
        deletion = delete(backend, A, expected=1)
        await settle()
        replacement = put(backend, A, expected=1)
        await disk.ends()
        await deletion
        with pytest.raises(NotFound):
            await replacement


FULL = OSError("disk full")


class TestFailedCommit:
    async def test_its_writers_cannot_know(self, backend: SqliteBackend, disk: Disk) -> None:
        tasks = [put(backend, A), put(backend, B)]
        await disk.ends(FULL)
        for task in tasks:
            with pytest.raises(Unavailable, match="could not commit: disk full") as caught:
                await task
            assert not caught.value.definite
            assert caught.value.__cause__ is FULL
        assert (backend.revision, backend.objects("pods")) == (0, [])
        assert (backend.statistics.commits, backend.statistics.failed_commits) == (0, 1)

    async def test_the_next_write_begins_at_the_published_state(self, backend: SqliteBackend, disk: Disk) -> None:
        await stored(backend, disk, A)
        failed = put(backend, A, expected=1, spec="failed")
        await disk.ends(FULL)
        with pytest.raises(Unavailable):
            await failed
        again = put(backend, A, expected=1, spec="again")
        await disk.ends()
        assert version(await again) == "2"
        assert (await again)["spec"] == "again"

    async def test_writes_gathered_behind_it_are_numbered_anew(self, backend: SqliteBackend, disk: Disk) -> None:
        failed = [put(backend, A), put(backend, B)]
        await settle()
        behind = put(backend, C)
        await disk.ends(FULL)
        assert await disk.ends() == (["c"], 1)
        assert version(await behind) == "1"
        assert [type(task.exception()) for task in failed] == [Unavailable, Unavailable]

    async def test_a_write_that_stood_on_it_is_refused(self, backend: SqliteBackend, disk: Disk) -> None:
        await stored(backend, disk, A)
        deletion = delete(backend, A, expected=1)
        await settle()
        creation = put(backend, A)
        await disk.ends(FULL)
        with pytest.raises(Unavailable):
            await deletion
        with pytest.raises(AlreadyExists):
            await creation

    async def test_a_write_that_it_stood_against_happens(self, backend: SqliteBackend, disk: Disk) -> None:
        await stored(backend, disk, A)
        failed = put(backend, A, expected=1, spec="failed")
        waiting = put(backend, A, expected=1, spec="second")
        await disk.ends(FULL)
        with pytest.raises(Unavailable):
            await failed
        await disk.ends()
        assert (await waiting)["spec"] == "second"
        assert version(await waiting) == "2"


class TestBounds:
    async def test_too_many_waiting_writes(
        self, backend: SqliteBackend, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite, "WAITING_WRITES", 2)
        first = put(backend, StoreKey("pods", "default", "first"))
        await settle()
        behind = [put(backend, A), put(backend, B)]
        with pytest.raises(TooManyRequests):
            await put(backend, C)
        await disk.ends()
        await disk.ends()
        await asyncio.gather(first, *behind)


class TestClosing:
    async def test_what_waits_is_still_committed(self, disk: Disk) -> None:
        backend = SqliteBackend(disk.commit)

        async def open_and_close() -> None:
            async with backend.committing():
                put(backend, A)
                await settle()
                put(backend, B)
                await settle()

        closing = asyncio.create_task(open_and_close())
        await settle()
        assert await disk.ends() == (["a"], 1)
        assert not closing.done()
        assert await disk.ends() == (["b"], 2)
        await closing
        with pytest.raises(Unavailable, match="closed"):
            await backend.put(C, obj(C), expected=0)

    async def test_watches_end(self, disk: Disk) -> None:
        backend = SqliteBackend(disk.commit)
        with backend.watch("pods", after=0) as changes:
            async with backend.committing():
                waiting = asyncio.ensure_future(anext(changes))
                await settle()
            with pytest.raises(StopAsyncIteration):
                await waiting
        with backend.watch("pods", after=0) as changes:
            assert [change async for change in changes] == []

    async def test_cancelling_the_committer_fails_every_writer(self, disk: Disk) -> None:
        backend = SqliteBackend(disk.commit)

        async def open_and_hang() -> None:
            async with backend.committing():
                pass

        writing = put(backend, A)
        closing = asyncio.create_task(open_and_hang())
        await settle()
        behind = put(backend, B)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        for task in (writing, behind):
            with pytest.raises(Unavailable):
                await task

    async def test_an_error_in_the_block_stays_what_it_is(self, disk: Disk) -> None:
        with pytest.raises(Expired):
            async with SqliteBackend(disk.commit).committing():
                raise Expired("mine")

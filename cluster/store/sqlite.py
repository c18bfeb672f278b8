"""A backend that survives: the index of memory.py, made durable by SQLite with group commit.

     put, delete ──▶ admitted: checked, numbered, stamped ──▶ waiting (at most WAITING_WRITES)
                                                                 │  all that wait, as one batch
     acknowledged ◀── watchers ◀── readable ◀── published ◀── committer: one transaction, in a thread of its own

A write is checked against all earlier writes, those in flight included, so its number and its stamp are final at
once; but nobody can read, watch or be told of it before its batch is on disk. While one batch is being written the
next one gathers: under load one disk flush pays for many writes, and when idle a write waits for nobody.

A write that only an unpublished one stands against waits for that one's end and is checked again: whoever is told
Conflict can read the state that caused it. When a commit fails (disk full), its writers are told Unavailable (nobody
can know what a crash would leave on disk), memory stays at the last published state, and the writes that gathered
behind are checked again from there, since they were admitted on top of what now never happened.

A caller that is cancelled while it waits does not take its write back, and ends when that has settled: what it holds
meanwhile (an admission's turn) it holds until its write can be read. History is not kept on disk: after a restart
watches from before it are told Expired.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

import orjson

from petset.cluster.api.objects import Object
from petset.cluster.cancellation import to_the_end
from petset.cluster.errors import ApiError, TooManyRequests, Unavailable
from petset.cluster.store.backend import StoreKey
from petset.cluster.store.database import Database, Row
from petset.cluster.store.index import HISTORY_CHANGES, WATCHER_CHANGES, Index, refusal, revision_of, stamped

WAITING_WRITES: Final = 10_000
"""How many writes may wait for the next batch; a further one is refused with TooManyRequests."""

Commit = Callable[[list[Row], int], Awaitable[None]]
"""Makes a batch durable, up to and including that revision; raises when it may not be durable."""


class _Fate(Enum):
    IN_FLIGHT = "in flight"
    PUBLISHED = "published"
    FAILED = "failed"
    DISPLACED = "displaced"
    """Not written: an earlier write failed, so this one has to be checked again."""


@dataclass(slots=True, eq=False)
class _Write:
    key: StoreKey
    object: Object
    revision: int
    deleted: bool
    row: Row
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    fate: _Fate = _Fate.IN_FLIGHT
    cause: Exception | None = None

    def settle(self, fate: _Fate, cause: Exception | None = None) -> None:
        self.fate, self.cause = fate, cause
        self.settled.set()


@dataclass(slots=True)
class Statistics:
    """What happened since the file was opened: `writes / commits` is the mean size of a batch."""

    writes: int = 0
    commits: int = 0
    failed_commits: int = 0


class SqliteBackend(Index):
    """See `Backend`; made by `open`. `commit` is how a batch becomes durable."""

    def __init__(
        self, commit: Commit, *, history_changes: int = HISTORY_CHANGES, watcher_changes: int = WATCHER_CHANGES
    ) -> None:
        super().__init__(history_changes=history_changes, watcher_changes=watcher_changes)
        self.statistics = Statistics()
        self._commit = commit
        self._waiting: list[_Write] = []
        self._newest: dict[StoreKey, _Write] = {}
        """The last unpublished write of each key: what the next write of that key is checked against."""
        self._assigned = 0
        """The newest revision given to a write."""
        self._wake = asyncio.Event()
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path, *, history_changes: int = HISTORY_CHANGES, watcher_changes: int = WATCHER_CHANGES
    ) -> AsyncIterator[SqliteBackend]:
        """Open the file at `path` (made if absent) and load it. On exit the waiting writes are still committed, then
        watches end. Raises Unavailable when the file is in use, damaged or not a store."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="store") as thread:
            database = await loop.run_in_executor(thread, Database.open, path)
            try:
                revision, stored = await loop.run_in_executor(thread, database.load)

                async def commit(rows: list[Row], revision: int) -> None:
                    await loop.run_in_executor(thread, database.commit, rows, revision)

                backend = cls(commit, history_changes=history_changes, watcher_changes=watcher_changes)
                backend.restore(revision, stored)
                async with backend.committing():
                    yield backend
            finally:
                # Shielded: the file is closed after its last commit even when this task is cancelled meanwhile.
                await asyncio.shield(loop.run_in_executor(thread, database.close))

    def restore(self, revision: int, stored: Iterable[tuple[StoreKey, Object]]) -> None:
        """Begin with the objects of an earlier run, which had come to that revision."""
        for key, obj in stored:
            self._load(key, obj)
        self._begin_at(revision)
        self._assigned = revision

    async def put(self, key: StoreKey, obj: Object, *, expected: int) -> Object:
        return await self._write(key, obj, expected=expected, deleted=False)

    async def delete(self, key: StoreKey, obj: Object, *, expected: int) -> Object:
        return await self._write(key, obj, expected=expected, deleted=True)

    async def _write(self, key: StoreKey, obj: Object, *, expected: int, deleted: bool) -> Object:
        while True:
            if obstacle := self._obstacle(key, expected=expected, deleted=deleted):
                await obstacle.settled.wait()
                continue
            write = self._admit(key, obj, deleted=deleted)
            await to_the_end(write.settled.is_set, write.settled.wait)
            if write.fate is _Fate.PUBLISHED:
                return write.object
            if write.fate is _Fate.FAILED:
                raise Unavailable(f"the store could not commit: {write.cause}") from write.cause

    def _obstacle(self, key: StoreKey, *, expected: int, deleted: bool) -> _Write | None:
        """The unpublished write whose end must be awaited; None when the write may be admitted. Raises the refusal
        that the published state already justifies."""
        if self._closed:
            raise Unavailable("the store is closed")

        def refused(current: int) -> ApiError | None:
            return refusal(key, current=current, expected=expected, deleting=deleted)

        published = refused(revision_of(self.get(key)))
        newest = self._newest.get(key)
        if newest is None:
            if published:
                raise published
            return None
        if not refused(0 if newest.deleted else newest.revision):
            return None
        if published:
            raise published
        return newest

    def _admit(self, key: StoreKey, obj: Object, *, deleted: bool) -> _Write:
        """Number and stamp a write that may happen, and let it wait for the next batch."""
        if len(self._waiting) >= WAITING_WRITES:
            raise TooManyRequests("the store has too many writes waiting for the disk")
        revision = self._assigned + 1
        fresh = stamped(obj, revision)
        row = Row(key, revision, None if deleted else orjson.dumps(fresh))
        write = _Write(key, fresh, revision, deleted, row)
        self._assigned = revision
        self._newest[key] = write
        self._waiting.append(write)
        self._wake.set()
        return write

    @asynccontextmanager
    async def committing(self) -> AsyncIterator[None]:
        """Run the committer; on exit it finishes what waits, and the backend is closed."""
        # A bare task rather than a TaskGroup, which would wrap every exception of the caller's block in a group.
        committer = asyncio.create_task(self._run(), name="store committer")
        try:
            yield
        finally:
            self._closed = True
            self._wake.set()
            await committer

    async def _run(self) -> None:
        try:
            while self._waiting or not self._closed:
                await self._wake.wait()
                self._wake.clear()
                if self._waiting:
                    await self._commit_waiting()
        finally:
            self._closed = True
            unwritten, self._waiting = self._waiting, []
            self._fail(unwritten, RuntimeError("the store was closed before the commit"))
            self._broadcast.close()

    async def _commit_waiting(self) -> None:
        batch, self._waiting = self._waiting, []
        last_rows = {write.key: write.row for write in batch}
        try:
            await self._commit(list(last_rows.values()), batch[-1].revision)
        except Exception as error:  # whatever it was, every writer of the batch must hear of it
            self.statistics.failed_commits += 1
            self._fail(batch, error)
            return
        except asyncio.CancelledError:
            self._fail(batch, RuntimeError("the store was closed during the commit"))
            raise
        self.statistics.commits += 1
        self.statistics.writes += len(batch)
        for write in batch:
            self._publish(write.key, write.object, revision=write.revision, deleted=write.deleted)
            if self._newest[write.key] is write:
                del self._newest[write.key]
            write.settle(_Fate.PUBLISHED)

    def _fail(self, batch: list[_Write], cause: Exception) -> None:
        """Return to the published state, and let the writes that gathered behind the batch be checked again."""
        displaced, self._waiting = self._waiting, []
        self._newest.clear()
        self._assigned = self._revision
        for write in batch:
            write.settle(_Fate.FAILED, cause)
        for write in displaced:
            write.settle(_Fate.DISPLACED)

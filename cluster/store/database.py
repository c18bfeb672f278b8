"""The file behind `SqliteBackend`: one SQLite database, written by one transaction per batch.

    objects(resource, namespace, name, revision, value)   the newest state of every object, value = JSON
    meta(revision)                                        the newest revision, deletions included

Write-ahead log with `synchronous=FULL`: when `commit` returns, the batch has reached the disk, and no crash of the
process or the machine takes it back. When `commit` raises, the file shows the state before the batch; yet after a
crash right then the batch may turn out to be there, so callers must call the outcome unknown.

The file is locked for as long as it is open (`locking_mode=EXCLUSIVE`): nobody else can read or write it. It is
readable for its owner only, since it holds Secrets. All methods block and belong to one thread.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from petset.cluster.api.objects import Object
from petset.cluster.errors import Unavailable
from petset.cluster.store.backend import StoreKey

FORMAT: Final = 1
"""The layout of the tables, kept in `user_version`; 0 is a file in which nothing was ever made."""

_TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
);
CREATE TABLE meta (revision INTEGER NOT NULL);
INSERT INTO meta VALUES (0);
PRAGMA user_version = {FORMAT};
COMMIT;
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What a batch leaves of one key: its last state as JSON, or None when it was deleted."""

    key: StoreKey
    revision: int
    value: bytes | None


class Database:
    """An open file. `open` makes it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    def open(cls, path: Path) -> Database:
        """Open the file, made first if it is absent. Raises Unavailable: in use, unreadable, or not ours."""
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise Unavailable(f"cannot open the store {path}: {error}") from error
        try:
            _prepare(connection)
        except (sqlite3.Error, _Foreign) as error:
            connection.close()
            raise Unavailable(f"cannot open the store {path}: {_explain(error)}") from error
        return cls(connection, path)

    def load(self) -> tuple[int, list[tuple[StoreKey, Object]]]:
        """The newest revision and every object. Raises Unavailable when the file is damaged."""
        try:
            ((revision,),) = self._connection.execute("SELECT revision FROM meta")
            rows = self._connection.execute("SELECT resource, namespace, name, value FROM objects")
            return revision, [(StoreKey(*key), orjson.loads(value)) for *key, value in rows]
        except (sqlite3.Error, ValueError) as error:
            raise Unavailable(f"the store {self._path} is damaged: {error}") from error

    def commit(self, rows: Sequence[Row], revision: int) -> None:
        """Make a batch durable: at most one row per key. Raises sqlite3.Error: nothing of it is visible."""
        puts = [(*row.key, row.revision, row.value) for row in rows if row.value is not None]
        deletions = [row.key for row in rows if row.value is None]
        connection = self._connection
        if connection.in_transaction:  # the rollback below failed too, the last time
            connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", puts)
            connection.executemany("DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?", deletions)
            connection.execute("UPDATE meta SET revision = ?", (revision,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # after some errors SQLite has already rolled back
                connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Fold the log into the file and let go of it."""
        self._connection.close()


class _Foreign(Exception):
    """The file is a database, but not one that this version can use."""


def _prepare(connection: sqlite3.Connection) -> None:
    # The locking mode must come first: it decides how the write-ahead log is opened.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")  # takes the lock, which EXCLUSIVE then keeps
    connection.execute("COMMIT")
    version = _single(connection, "PRAGMA user_version")
    if version == 0 and _single(connection, "SELECT count(*) FROM sqlite_schema") == 0:
        connection.executescript(_TABLES)
    elif version != FORMAT:
        raise _Foreign(f"it is no store of this version (format {version}, not {FORMAT})")


def _single(connection: sqlite3.Connection, query: str) -> Any:
    return connection.execute(query).fetchone()[0]


def _explain(error: Exception) -> str:
    # The low byte is the error's family: BUSY has several extended codes.
    if isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
        return "it is in use by another process"
    return str(error)

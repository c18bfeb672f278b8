"""The file of `SqliteBackend`: what a reopened one knows, and which files are refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from petset.cluster.errors import Expired, Unavailable
from petset.cluster.store.backend import StoreKey
from petset.cluster.store.sqlite import SqliteBackend

A, B = (StoreKey("pods", "default", name) for name in "ab")


def obj(key: StoreKey, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": key.name, "namespace": key.namespace}, **fields}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def used(path: Path) -> Path:
    """A file with pod a at revision 3, after pod b was made (2) and deleted (4)."""
    async with SqliteBackend.open(path) as backend:
        await backend.put(A, obj(A, spec=1), expected=0)
        await backend.put(B, obj(B), expected=0)
        await backend.put(A, obj(A, spec="ü"), expected=1)
        await backend.delete(B, obj(B), expected=2)
    return path


async def test_a_reopened_store_has_its_objects_and_its_revision(used: Path) -> None:
    stamped = {"name": "a", "namespace": "default", "resourceVersion": "3"}
    async with SqliteBackend.open(used) as backend:
        assert backend.revision == 4
        assert backend.objects("pods") == [{"metadata": stamped, "spec": "ü"}]


async def test_numbers_go_on_after_a_deletion_was_the_last_write(used: Path) -> None:
    async with SqliteBackend.open(used) as backend:
        made = await backend.put(B, obj(B), expected=0)
    assert made["metadata"]["resourceVersion"] == "5"


async def test_history_does_not_survive(used: Path) -> None:
    async with SqliteBackend.open(used) as backend:
        with pytest.raises(Expired), backend.watch("pods", after=3):
            pytest.fail("entered")
        with backend.watch("pods", after=4) as changes:
            await backend.put(B, obj(B), expected=0)
            assert (await anext(changes)).revision == 5


async def test_the_file_is_readable_for_its_owner_only(path: Path) -> None:
    async with SqliteBackend.open(path) as backend:
        await backend.put(A, obj(A), expected=0)
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600}


async def test_a_second_opener_is_refused(used: Path) -> None:
    async with SqliteBackend.open(used) as backend:
        with pytest.raises(Unavailable, match=r"store\.db: it is in use by another process"):
            async with SqliteBackend.open(used):
                pytest.fail("opened")
        await backend.put(B, obj(B), expected=0)


def overwrite(path: Path) -> None:
    path.write_bytes(b"this is no database" * 100)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def change(*statements: str) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    return apply


def become_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        pytest.param(overwrite, "cannot open the store .*file is not a database", id="not a database"),
        pytest.param(cut, "store .*malformed", id="cut off"),
        pytest.param(change("UPDATE objects SET value = '{\"a'"), "store .* is damaged", id="value that is no JSON"),
        pytest.param(change("DELETE FROM meta"), "store .* is damaged", id="no revision"),
        pytest.param(change("DROP TABLE meta"), "store .* is damaged: no such table", id="no table"),
        pytest.param(change("PRAGMA user_version = 2"), "no store of this version .format 2, not 1", id="newer format"),
        pytest.param(change("PRAGMA user_version = 0"), "no store of this version .format 0", id="foreign database"),
        pytest.param(become_directory, "cannot open the store", id="a directory"),
    ],
)
async def test_one_clear_error(used: Path, harm: Callable[[Path], None], message: str) -> None:
    harm(used)
    with pytest.raises(Unavailable, match=message):
        async with SqliteBackend.open(used):
            pytest.fail("opened")


async def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file or directory"):
        async with SqliteBackend.open(tmp_path / "none" / "store.db"):
            pytest.fail("opened")

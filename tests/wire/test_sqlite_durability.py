"""Acknowledged means on disk: a process that writes is killed in the middle, and its file is opened again.

The child prints a line `<name> <count> <revision>` for each acknowledged write, and `failed` for each refused one.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from petset.cluster.errors import Unavailable
from petset.cluster.store.backend import StoreKey
from petset.cluster.store.sqlite import SqliteBackend

ROOT = Path(__file__).parents[2]
"""Where the child finds the package, installed or not."""

COMMON = """
import asyncio, os, resource, sys
from pathlib import Path
from petset.cluster.errors import Unavailable
from petset.cluster.store.backend import StoreKey
from petset.cluster.store.sqlite import SqliteBackend

async def write(backend, name, count, expected, padding=""):
    obj = {"metadata": {"name": name}, "count": count, "padding": padding}
    answer = await backend.put(StoreKey("nodes", "", name), obj, expected=expected)
    revision = int(answer["metadata"]["resourceVersion"])
    os.write(1, f"{name} {count} {revision}\\n".encode())
    return revision
"""

WRITE_FOR_EVER = """
async def write_for_ever(backend, name):
    revision = 0
    for count in range(1_000_000):
        revision = await write(backend, name, count, revision)

async def main():
    async with SqliteBackend.open(Path(sys.argv[1])) as backend:
        await asyncio.gather(*(write_for_ever(backend, f"node-{number}") for number in range(16)))
"""

FILL_THE_DISK = """
async def main():
    async with SqliteBackend.open(Path(sys.argv[1])) as backend:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
        for number in range(8):
            try:
                await write(backend, f"node-{number}", 0, 0, padding="x" * 100_000)
            except Unavailable as error:
                assert not error.definite
                assert backend.get(StoreKey("nodes", "", f"node-{number}")) is None
                os.write(1, b"failed\\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await write(backend, "after", 0, 0)
"""


@contextmanager
def child(program: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    script = f"{COMMON}{program}\nasyncio.run(main())"
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def acknowledged(lines: list[str]) -> dict[str, tuple[int, int]]:
    """The last (count, revision) that each name was told. A kill may cut the last line short."""
    return {
        name: (int(count), int(revision))
        for name, count, revision in (line.split() for line in lines if line.endswith("\n") and line != "failed\n")
    }


@pytest.mark.parametrize("acknowledgements", [1, 100, 500])
async def test_every_acknowledged_write_survives_a_kill(tmp_path: Path, acknowledgements: int) -> None:
    path = tmp_path / "store.db"
    with child(WRITE_FOR_EVER, path) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(acknowledgements)]
        process.kill()
        lines += process.stdout.readlines()
        assert process.wait() == -signal.SIGKILL

    told = acknowledged(lines)
    async with SqliteBackend.open(path) as backend:
        for name, (count, revision) in told.items():
            found = backend.get(StoreKey("nodes", "", name))
            assert found is not None
            assert found["count"] >= count
            assert int(found["metadata"]["resourceVersion"]) >= revision
        assert backend.revision >= max(revision for _, revision in told.values())
        assert backend.revision == max(int(each["metadata"]["resourceVersion"]) for each in backend.objects("nodes"))


async def test_a_file_belongs_to_one_process_until_that_dies(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with child(WRITE_FOR_EVER, path) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(Unavailable, match="in use by another process"):
            async with SqliteBackend.open(path):
                pytest.fail("opened")
        assert process.poll() is None
    async with SqliteBackend.open(path) as backend:
        assert backend.revision > 0


async def test_a_full_disk_fails_writes_and_loses_none(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with child(FILL_THE_DISK, path) as process:
        assert process.stdout
        lines = process.stdout.readlines()
        assert process.wait() == 0
    told = acknowledged(lines)
    assert lines.count("failed\n") == 8 - (len(told) - 1) > 0
    assert told["after"] == (0, len(told))  # a failed write leaves no gap in the numbers
    async with SqliteBackend.open(path) as backend:
        assert [each["metadata"]["name"] for each in backend.objects("nodes")] == sorted(told)
        assert backend.revision == len(told)

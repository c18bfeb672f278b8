"""The cluster's lock, on real files; another process stands in for another supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from petset.cluster import lock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@contextmanager
def held_by_another_process(path: Path, text: str) -> Iterator[int]:
    """Another process holds the lock, with `text` in the file."""
    program = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "file.write(sys.argv[2] or str(__import__('os').getpid())); file.flush()\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path), text], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process.pid
        finally:
            process.kill()


def test_nobody_holds_a_lock_that_was_never_made(path: Path) -> None:
    assert lock.holder(path) is None
    assert not path.exists()


def test_the_holder_is_the_process_that_acquired(path: Path) -> None:
    descriptor = lock.acquire(path)
    assert descriptor is not None
    assert lock.holder(path) == os.getpid()
    os.close(descriptor)
    assert lock.holder(path) is None


def test_a_held_lock_cannot_be_acquired_and_names_its_holder(path: Path) -> None:
    with held_by_another_process(path, "") as process_id:
        assert lock.acquire(path) is None
        assert lock.holder(path) == process_id


def test_a_killed_holder_holds_nothing(path: Path) -> None:
    with held_by_another_process(path, ""):
        pass
    assert path.read_text() != ""
    assert lock.holder(path) is None
    descriptor = lock.acquire(path)
    assert descriptor is not None
    os.close(descriptor)

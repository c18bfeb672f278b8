"""A container's log: its lines on disk, its rotation, and what a client reads of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from petset.cluster.api.cri import LogRequest
from petset.cluster.node.exec import terminal_size
from petset.cluster.node.log_file import FILE_BYTES, KEPT_FILES, MAX_PIECE_BYTES, LogFile, log_time
from petset.cluster.node.log_reader import read_log
from tests.apis import SetClock

T0 = "2026-01-01T00:00:00.000000000Z"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def log(tmp_path: Path, clock: SetClock) -> LogFile:
    return LogFile(tmp_path / "0.log", clock)


async def text(log: LogFile, **options: Any) -> str:
    return b"".join([piece async for piece in read_log(log, LogRequest("uid", "main", 0, **options))]).decode()


async def test_lines_are_written_whole_with_time_and_stream(log: LogFile, tmp_path: Path) -> None:
    log.write("stdout", b"one\ntw")
    log.write("stderr", b"bad\n")
    log.write("stdout", b"o\n")
    log.write("stdout", b"no newline")
    assert (tmp_path / "0.log").read_text() == f"{T0} stdout F one\n{T0} stderr F bad\n{T0} stdout F two\n"
    log.finish()
    assert (tmp_path / "0.log").read_text().endswith(f"{T0} stdout P no newline\n")
    assert await text(log) == "one\nbad\ntwo\nno newline"


async def test_a_long_line_is_put_together_again(log: LogFile) -> None:
    long = b"x" * (3 * MAX_PIECE_BYTES)
    for at in range(0, len(long), 1000):
        log.write("stdout", long[at : at + 1000])
    log.write("stdout", b"\nnext\n")
    shown = await text(log, timestamps=True)
    assert shown == f"{T0} {long.decode()}\n{T0} next\n"


def fill(log: LogFile, clock: SetClock) -> None:
    for number in range(1, 6):
        log.write("stdout" if number % 2 else "stderr", f"line {number}\n".encode())
        clock.seconds += 10


READINGS = {
    "all": ({}, [1, 2, 3, 4, 5]),
    "tail": ({"tail_lines": 2}, [4, 5]),
    "tail of more than there is": ({"tail_lines": 100}, [1, 2, 3, 4, 5]),
    "tail of nothing": ({"tail_lines": 0}, []),
    "since": ({"since": SetClock().seconds + 25}, [4, 5]),
    "tail, then since": ({"tail_lines": 3, "since": SetClock().seconds + 35}, [5]),
    "one stream": ({"stream": "stderr"}, [2, 4]),
}


@pytest.mark.parametrize(("options", "numbers"), READINGS.values(), ids=READINGS)
async def test_readings(log: LogFile, clock: SetClock, options: dict[str, Any], numbers: list[int]) -> None:
    fill(log, clock)
    assert await text(log, **options) == "".join(f"line {number}\n" for number in numbers)


async def test_a_limit_of_bytes(log: LogFile, clock: SetClock) -> None:
    fill(log, clock)
    assert await text(log, limit_bytes=9) == "line 1\nli"


def kept_sizes(log: LogFile, generations: range) -> list[int]:
    """The sizes of the files that are there, in bytes."""
    return [os.path.getsize(log.path(each)) for each in generations if os.path.exists(log.path(each))]


async def test_full_files_make_way_and_are_still_read(log: LogFile) -> None:
    piece = b"y" * 63 + b"\n"
    block = piece * 16384
    for _ in range(80):
        log.write("stdout", block)
    log.write("stdout", b"the end\n")
    generations = range(log.generation + 1)
    sizes = kept_sizes(log, generations)
    assert len(sizes) == KEPT_FILES
    assert sum(sizes) < KEPT_FILES * (FILE_BYTES + 4 * len(block))
    assert await text(log, tail_lines=2) == (piece + b"the end\n").decode()
    everything = await text(log)
    assert everything.endswith("the end\n")
    assert len(everything) > (KEPT_FILES - 2) * FILE_BYTES // 2
    deep = await text(log, tail_lines=200_000)
    assert deep.count("\n") == 200_000


async def test_following_ends_with_the_container_and_misses_nothing_over_a_rotation(log: LogFile) -> None:
    following = asyncio.create_task(text(log, follow=True))
    block = (b"z" * 1023 + b"\n") * 1024
    for _ in range(15):
        log.write("stdout", block)
        await asyncio.sleep(0)
    log.write("stdout", b"last\n")
    log.finish()
    shown = await following
    assert shown.count("\n") == 15 * 1024 + 1
    assert shown.endswith("last\n")


async def test_a_disk_that_is_full_costs_lines_only(clock: SetClock) -> None:
    log = LogFile(Path("/dev/full"), clock)
    log.write("stdout", b"lost\n")
    assert log.lost_bytes > 0
    assert not log.ended


def test_times_compare_as_texts() -> None:
    assert log_time(0.5) == "1970-01-01T00:00:00.500000000Z" < log_time(1.0)


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (b'{"Width":99,"Height":33}', (99, 33)),
        (b'{"Width":0,"Height":33}', None),
        (b'{"Width":70000,"Height":33}', None),
        (b"[]", None),
        (b"\xff", None),
        (b'{"Width":null,"Height":1}', None),
    ],
    ids=["size", "zero", "too large", "no object", "no JSON", "null"],
)
def test_terminal_sizes(message: bytes, size: tuple[int, int] | None) -> None:
    assert terminal_size(message) == size

"""Termination messages: the file first, the log's end only after a failure and only when it is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from petset.cluster.clock import SystemClock
from petset.cluster.node.last_words import FILE_BYTES, LOG_BYTES, LOG_LINES, Words, last_words
from petset.cluster.node.log_file import LogFile

LINE = "0123456789" * 10


@pytest.mark.parametrize(
    ("written", "logged", "from_log", "failed", "expected"),
    [
        pytest.param("broken", "a log\n", True, True, "broken", id="the file wins"),
        pytest.param("done", "a log\n", True, False, "done", id="after success too"),
        pytest.param("", "a log\nits end\n", True, True, "a log\nits end\n", id="an empty file: the log"),
        pytest.param(None, "a log\n", True, True, "a log\n", id="no file: the log"),
        pytest.param("", "a log\n", False, True, "", id="not with policy File"),
        pytest.param("", "a log\n", True, False, "", id="not after success"),
        pytest.param("x" * FILE_BYTES + "end", "", False, True, "x" * (FILE_BYTES - 3) + "end", id="the file's end"),
        pytest.param("", f"{LINE}\n" * 100, True, True, (f"{LINE}\n" * 100)[-LOG_BYTES:], id="the log's last bytes"),
        pytest.param("", "l\n" * 200, True, True, "l\n" * LOG_LINES, id="the log's last lines"),
    ],
)
def test_the_message(
    tmp_path: Path, written: str | None, logged: str, from_log: bool, failed: bool, expected: str
) -> None:
    file = tmp_path / "words"
    if written is not None:
        file.write_text(written)
    log = LogFile(tmp_path / "0.log", SystemClock())
    log.write("stdout", logged.encode())
    log.finish()
    assert last_words(Words(None if written is None else file, from_log), log, failed=failed) == expected


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "0.log", SystemClock())
    assert "Is a directory" in last_words(Words(tmp_path, from_log=True), log, failed=True)


def test_the_end_of_a_log_of_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("petset.cluster.node.log_file.FILE_BYTES", 100)
    log = LogFile(tmp_path / "0.log", SystemClock())
    for number in range(10):
        log.write("stdout", f"line {number}\n".encode())
    assert log.generation > 2
    assert last_words(Words(None, from_log=True), log, failed=True).splitlines()[-3:] == ["line 7", "line 8", "line 9"]

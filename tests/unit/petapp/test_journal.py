"""The journal: what was acknowledged is there, what was cut short is not, and costs nobody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from petset.petapp.journal import JournalFile, entries_of, record


def test_entries_come_back_in_their_order(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path / "not there yet")
    assert journal.entries() == []
    for entry in ("first", "zweiter ü", "third"):
        journal.append(entry)
    assert JournalFile(tmp_path / "not there yet").entries() == ["first", "zweiter ü", "third"]


@pytest.mark.parametrize("kept", range(1, len(record("torn")) - 1))
def test_a_record_that_was_cut_short_is_not_there_and_the_next_one_is(kept: int) -> None:
    assert entries_of(record("before") + record("torn")[:kept] + record("after")) == ["before", "after"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"00000000 text\n", id="another checksum"),
        pytest.param(b"text\n", id="no checksum"),
        pytest.param(b"\n\n", id="empty lines"),
    ],
)
def test_what_is_no_record_is_not_shown(content: bytes) -> None:
    assert entries_of(content + record("whole")) == ["whole"]


def test_a_disk_that_takes_a_part_only_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, write = JournalFile(tmp_path), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:5]))
    with pytest.raises(OSError, match="a part of the entry only"):
        journal.append("lost")
    monkeypatch.undo()
    journal.append("kept")
    assert journal.entries() == ["kept"]


def test_nothing_is_acknowledged_before_the_journals_name_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    refuses = True

    def fsync(descriptor: int) -> None:
        if refuses:
            raise OSError("the disk is broken")
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", fsync)
    journal = JournalFile(tmp_path)
    with pytest.raises(OSError, match="broken"):
        journal.append("first")
    refuses = False
    journal.append("second")
    journal.append("third")
    path = str(tmp_path / "journal.log")
    assert synced == [path, str(tmp_path), path]

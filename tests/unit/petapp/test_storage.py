"""The data file is always whole: a crash at any step leaves the old content or the new."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from petset.petapp.storage import MAX_BYTES, DataFile


@pytest.fixture
def data_file(tmp_path: Path) -> DataFile:
    return DataFile(tmp_path)


def test_nothing_was_stored_yet(data_file: DataFile) -> None:
    assert data_file.read() is None


@pytest.mark.parametrize(
    "data", [b"", b"Hey there!", b"\xff\x00\n", b"x" * MAX_BYTES], ids=["empty", "text", "binary", "largest"]
)
def test_what_is_stored_comes_back_as_it_was(data_file: DataFile, data: bytes) -> None:
    data_file.store(b"before")
    data_file.store(data)
    assert data_file.read() == data


def test_a_store_leaves_the_data_file_alone_in_its_folder(data_file: DataFile, tmp_path: Path) -> None:
    data_file.store(b"one")
    data_file.store(b"two")
    assert os.listdir(tmp_path) == ["kubia.txt"]


def test_the_data_outlives_the_program(data_file: DataFile, tmp_path: Path) -> None:
    data_file.store(b"kept")
    assert DataFile(tmp_path).read() == b"kept"


def test_a_crash_between_write_and_rename_leaves_the_old_data(data_file: DataFile, tmp_path: Path) -> None:
    data_file.store(b"old")
    staged = data_file.stage(b"new")
    assert staged.read_bytes() == b"new"
    assert staged.parent == tmp_path, "a rename is atomic only within one file system"

    after_the_crash = DataFile(tmp_path)
    after_the_crash.prepare()
    assert after_the_crash.read() == b"old"
    assert os.listdir(tmp_path) == ["kubia.txt"], "what the crash left is swept"


def test_two_writers_on_one_disk_never_mix(data_file: DataFile, tmp_path: Path) -> None:
    mine = data_file.stage(b"mine")
    theirs = DataFile(tmp_path).stage(b"theirs, longer")
    assert (mine.read_bytes(), theirs.read_bytes()) == (b"mine", b"theirs, longer")


def test_a_failed_store_keeps_the_old_data_and_leaves_no_rest(tmp_path: Path) -> None:
    (tmp_path / "kubia.txt").mkdir()
    with pytest.raises(OSError):
        DataFile(tmp_path).store(b"new")
    assert os.listdir(tmp_path) == ["kubia.txt"]


def test_a_vanished_folder_is_an_error_and_not_made_anew(tmp_path: Path) -> None:
    data_file = DataFile(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        data_file.store(b"new")
    assert not (tmp_path / "gone").exists()


def test_prepare_makes_the_folder(tmp_path: Path) -> None:
    data_file = DataFile(tmp_path / "var" / "data")
    data_file.prepare()
    data_file.store(b"first")
    assert data_file.read() == b"first"

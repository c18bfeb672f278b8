"""Folders that programs wrote are looked through and removed, whatever the programs made of them."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from petset.cluster.api.cri import Volume
from petset.cluster.node.volume_folder import prepare
from petset.cluster.trees import measure, remove_tree, walk


def nest(place: Path, depth: int, name: str = "d") -> None:
    """A folder in a folder in a folder …, made as a program makes what no path can name."""
    place.mkdir()
    here = os.open(place, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


DEEP = sys.getrecursionlimit() + 50


@pytest.mark.parametrize(
    ("depth", "name"), [pytest.param(DEEP, "d", id="deeper-than-the-stack"), pytest.param(60, "d" * 200, id="too-long")]
)
def test_a_deep_folder_is_measured_given_away_and_removed(tmp_path: Path, depth: int, name: str) -> None:
    nest(tmp_path / "deep", depth, name)
    assert measure(tmp_path / "deep") >= 0
    prepare(tmp_path / "deep", Volume("v", "disk", source="v"), can_mount=False, group=os.getgid())
    remove_tree(tmp_path / "deep")
    assert [*tmp_path.iterdir()] == []


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    place = tmp_path / "place"
    place.mkdir()
    (place / "link").symlink_to(kept)
    (place / "loop").symlink_to("loop")
    (place / "dangling").symlink_to("nowhere")
    assert sorted(entry.name for entry in walk(place)) == ["dangling", "link", "loop"]
    remove_tree(place)
    (tmp_path / "itself").symlink_to(kept)
    remove_tree(tmp_path / "itself")
    assert [each.name for each in tmp_path.rglob("*")] == ["kept", "file"]


def test_folders_that_are_shut_and_odd_names(tmp_path: Path) -> None:
    place = tmp_path / "place"
    for name in ("a b/c\nd", "shut/0", "-rf/…", "0/1/2"):
        (place / name).mkdir(parents=True)
        (place / name / "file").touch()
    (place / "shut").chmod(0)
    remove_tree(place)
    assert [*tmp_path.iterdir()] == []


def test_a_removal_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "place/a/b/c").mkdir(parents=True)
    (tmp_path / "place/a/b/file").touch()
    (tmp_path / "place/0").touch()

    def full(path: str, mode: int = 0o777) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(os, "mkdir", full)
    remove_tree(tmp_path / "place")
    assert [*tmp_path.iterdir()] == []


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    remove_tree(tmp_path / "absent")
    assert [*walk(tmp_path / "absent")] == []
    (tmp_path / "file").touch()
    remove_tree(tmp_path / "file")
    assert [*tmp_path.iterdir()] == []


def test_what_cannot_be_removed_is_said_when_the_rest_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "place" / name).mkdir(parents=True)
        (tmp_path / "place" / name / "file").touch()
    unlink = os.unlink
    kept: list[str] = []

    def grudging(path: str) -> None:
        if not kept:
            kept.append(path)
            raise PermissionError(1, "not permitted", path)
        unlink(path)

    monkeypatch.setattr(os, "unlink", grudging)
    with pytest.raises(PermissionError):
        remove_tree(tmp_path / "place")
    assert sum(each.is_file() for each in tmp_path.rglob("*")) == 1
    monkeypatch.undo()
    remove_tree(tmp_path / "place")
    assert [*tmp_path.iterdir()] == []

"""Volumes on the machine: files that change in one step, hostPath types, emptyDirs, groups."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from petset.cluster.api.cri import MountFailure, RuntimeFailure, Volume
from petset.cluster.node.volume_folder import prepare, write_files

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def config(**files: bytes) -> Volume:
    return Volume("config", "files", files={name.replace("_", "/"): content for name, content in files.items()})


def shown(place: Path) -> dict[str, bytes]:
    """What a program sees: the visible files, by path."""
    files = (file for top in place.iterdir() if not top.name.startswith("..") for file in [top, *top.rglob("*")])
    return {str(file.relative_to(place)): file.read_bytes() for file in files if file.is_file()}


def test_files_are_links_into_one_folder(tmp_path: Path) -> None:
    assert write_files(tmp_path / "v", config(a=b"1", deep_b=b"2"))
    assert shown(tmp_path / "v") == {"a": b"1", "deep/b": b"2"}
    assert os.readlink(tmp_path / "v" / "a") == "..data/a"
    assert os.readlink(tmp_path / "v" / "deep") == "..data/deep"


def test_an_update_turns_one_link(tmp_path: Path) -> None:
    place = tmp_path / "v"
    write_files(place, config(a=b"1", gone=b"x"))
    with (place / "a").open("rb") as opened:
        before = os.readlink(place / "..data")
        assert write_files(place, config(a=b"2", new=b"y"))
        assert opened.read() == b"1"
    assert os.readlink(place / "..data") != before
    assert shown(place) == {"a": b"2", "new": b"y"}
    assert sorted(entry.name for entry in place.iterdir()) == sorted(["..data", "..2", "a", "new"])


def test_what_is_up_to_date_is_not_touched(tmp_path: Path) -> None:
    write_files(tmp_path / "v", config(a=b"1"))
    before = os.readlink(tmp_path / "v" / "..data")
    assert not write_files(tmp_path / "v", config(a=b"1"))
    assert os.readlink(tmp_path / "v" / "..data") == before


def test_a_new_mode_is_a_change(tmp_path: Path) -> None:
    write_files(tmp_path / "v", config(a=b"1"))
    changed = Volume("config", "files", files={"a": b"1", "b": b"2"}, mode=0o400, modes={"b": 0o755})
    assert write_files(tmp_path / "v", changed)
    modes = {name: stat.S_IMODE((tmp_path / "v" / name).stat().st_mode) for name in ("a", "b")}
    assert modes == {"a": 0o400, "b": 0o755}


def test_an_interrupted_update_is_made_good(tmp_path: Path) -> None:
    place = tmp_path / "v"
    write_files(place, config(a=b"1"))
    (place / "..2").mkdir()
    (place / "..2" / "half").write_bytes(b"")
    (place / "..data_tmp").symlink_to("..2")
    write_files(place, config(a=b"2"))
    assert shown(place) == {"a": b"2"}
    assert not (place / "..2" / "half").exists()


@pytest.mark.parametrize("name", ["../x", "/x", "..data", "..hidden/x"])
def test_no_file_leaves_its_volume_or_hides_in_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(RuntimeFailure):
        write_files(tmp_path / "v", Volume("config", "files", files={name: b""}))
    assert not (tmp_path / "x").exists()


def place_with(folder: Path, what: str) -> Path:
    place = folder / "host" / "thing"
    place.parent.mkdir()
    if what == "directory":
        place.mkdir()
    elif what == "file":
        place.touch()
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
    return place


def host_path(path_type: str) -> Volume:
    return Volume("v", "hostPath", source="/srv/thing", path_type=path_type)


@pytest.mark.parametrize(
    ("path_type", "there", "found"),
    [
        pytest.param("", "nothing", stat.S_ISDIR, id="no type makes a folder"),
        pytest.param("", "file", stat.S_ISREG, id="no type takes what is there"),
        pytest.param("DirectoryOrCreate", "nothing", stat.S_ISDIR, id="DirectoryOrCreate makes one"),
        pytest.param("Directory", "directory", stat.S_ISDIR, id="Directory"),
        pytest.param("FileOrCreate", "nothing", stat.S_ISREG, id="FileOrCreate makes one"),
        pytest.param("File", "file", stat.S_ISREG, id="File"),
        pytest.param("Socket", "socket", stat.S_ISSOCK, id="Socket"),
    ],
)
def test_a_host_path_is_made_or_found(tmp_path: Path, path_type: str, there: str, found: object) -> None:
    place = place_with(tmp_path, there)
    prepare(place, host_path(path_type), can_mount=False, group=None)
    assert callable(found)
    assert found(place.stat().st_mode)


@pytest.mark.parametrize(
    ("path_type", "there", "words"),
    [
        pytest.param("Directory", "nothing", "is not a directory", id="no Directory"),
        pytest.param("Directory", "file", "is not a directory", id="Directory that is a file"),
        pytest.param("DirectoryOrCreate", "file", "is not a directory", id="DirectoryOrCreate that is a file"),
        pytest.param("File", "directory", "is not a file", id="File that is a folder"),
        pytest.param("FileOrCreate", "directory", "is not a file", id="FileOrCreate that is a folder"),
        pytest.param("Socket", "file", "is not a socket file", id="Socket"),
        pytest.param("CharDevice", "file", "is not a character device", id="CharDevice"),
        pytest.param("BlockDevice", "nothing", "is not a block device", id="BlockDevice"),
    ],
)
def test_a_host_path_of_another_type_is_refused(tmp_path: Path, path_type: str, there: str, words: str) -> None:
    place = place_with(tmp_path, there)
    with pytest.raises(MountFailure) as caught:
        prepare(place, host_path(path_type), can_mount=False, group=None)
    assert str(caught.value) == (
        f'MountVolume.SetUp failed for volume "v" : hostPath type check failed: /srv/thing {words}'
    )
    assert place.exists() == (there != "nothing")


def test_an_empty_dir_is_open_to_every_user(tmp_path: Path) -> None:
    prepare(tmp_path / "v", Volume("v", "empty"), can_mount=False, group=None)
    assert stat.S_IMODE((tmp_path / "v").stat().st_mode) == 0o777


@needs_root
@pytest.mark.parametrize(
    ("volume", "mode"),
    [
        pytest.param(Volume("v", "disk", source="v"), 0o664, id="disk"),
        pytest.param(Volume("v", "disk", source="v", read_only=True), 0o644, id="read-only disk"),
        pytest.param(Volume("v", "hostPath", source="/v"), 0o604, id="hostPath stays as it is"),
    ],
)
def test_the_group_of_the_pod_gets_the_volume(tmp_path: Path, volume: Volume, mode: int) -> None:
    place = tmp_path / "v"
    place.mkdir()
    (place / "old").touch()
    (place / "old").chmod(0o604)
    prepare(place, volume, can_mount=False, group=4711)
    given = volume.kind == "disk"
    assert {path.stat().st_gid == 4711 for path in (place, place / "old")} == {given}
    assert stat.S_IMODE((place / "old").stat().st_mode) == mode
    assert bool(place.stat().st_mode & stat.S_ISGID) == given


@needs_root
def test_the_group_of_the_pod_may_read_its_files(tmp_path: Path) -> None:
    secret = Volume("v", "files", files={"a": b"1"}, mode=0o400)
    prepare(tmp_path / "v", secret, can_mount=False, group=4711)
    file = (tmp_path / "v" / "a").stat()
    assert (file.st_gid, stat.S_IMODE(file.st_mode)) == (4711, 0o440)
    assert not write_files(tmp_path / "v", secret, group=4711)

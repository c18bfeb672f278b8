"""A volume's folder on the machine: what is put there before a pod starts, while it runs, and taken away after it.

    files      ..data ─▶ ..3 (a folder with all files)      a.conf ─▶ ..data/a.conf      deep ─▶ ..data/deep
               an update makes ..4, turns ..data to it in one rename, and removes ..3: programs see all old files or all
               new ones (the kubelet's AtomicWriter); a folder that is up to date is not touched
    empty      open to every user; one in memory is a tmpfs of its size where this machine may mount, else a folder
    hostPath   made or checked as its `type` asks (pkg/volume/hostpath)
    disk       made when it is not there

A pod's `fsGroup` gets every volume but hostPaths, with Kubernetes' mode bits (pkg/volume/volume_linux.go), where the
machine's user may give files away; elsewhere all files are that user's, and so are all programs.

Names come from manifests: none may leave its folder.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import psutil

from petset.cluster.api.cri import MountFailure, RuntimeFailure, Volume
from petset.cluster.network import syscalls
from petset.cluster.trees import walk

_DATA = "..data"
_NEXT_DATA = "..data_tmp"

_CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


def prepare(place: Path, volume: Volume, *, can_mount: bool, group: int | None) -> None:
    """Make the volume's folder ready at `place`. Raises OSError, MountFailure or RuntimeFailure."""
    match volume.kind:
        case "files":
            write_files(place, volume, group=group)
        case "hostPath":
            _prepare_host_path(place, volume)
        case "empty":
            place.mkdir(parents=True, exist_ok=True)
            if volume.in_memory and can_mount:
                size = f",size={volume.size_bytes}" if volume.size_bytes else ""
                _mount_memory(place, f"mode=0777{size}")
            else:
                place.chmod(0o777)
        case "disk":
            place.mkdir(parents=True, exist_ok=True)
    if group is not None and volume.kind in ("empty", "disk"):
        _give_to_group(place, group)
        for path in _tree(place):
            with suppress(FileNotFoundError):  # another pod has the disk too, and removed it
                _open_to_group(path, read_only=volume.read_only)


def make_shared_memory(place: Path) -> None:
    """A folder in memory that can be a pod's /dev/shm. Raises OSError."""
    place.mkdir(parents=True, exist_ok=True)
    _mount_memory(place, "mode=1777")


def _mount_memory(place: Path, options: str) -> None:
    syscalls.mount("memory", str(place), "tmpfs", syscalls.NO_SET_UID | syscalls.NO_DEVICES, options)


def unmount_below(folder: Path) -> None:
    """Take away every mount below a folder, so that it can be moved and removed."""
    for mounted in psutil.disk_partitions(all=True):
        if Path(mounted.mountpoint).is_relative_to(folder):
            syscalls.unmount_tree(mounted.mountpoint)


def write_files(place: Path, volume: Volume, *, group: int | None = None) -> bool:
    """Make `place` show exactly the files of a volume; whether anything changed. Raises OSError, RuntimeFailure."""
    place.mkdir(parents=True, exist_ok=True)
    current = _current(place)
    wanted = _wanted(volume, group)
    if current is not None and _content(current) == wanted:
        return False
    fresh = place / f"..{_number(current) + 1}"
    shutil.rmtree(fresh, ignore_errors=True)  # what an interrupted update left
    fresh.mkdir()
    for name, (content, mode) in wanted.items():
        file = inside(fresh, _visible(name))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)
    if group is not None:
        _give_to_group(fresh, group)
    (place / _NEXT_DATA).unlink(missing_ok=True)
    (place / _NEXT_DATA).symlink_to(fresh.name)
    os.replace(place / _NEXT_DATA, place / _DATA)
    _link(place, {PurePosixPath(name).parts[0] for name in volume.files})
    if current is not None:
        shutil.rmtree(current, ignore_errors=True)
    return True


def inside(base: Path, relative: str) -> Path:
    """`base/relative`, which must not lead out of `base`, also not through links. Raises RuntimeFailure."""
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or "\0" in relative:
        raise RuntimeFailure(f"path {relative!r} must stay inside its volume")
    if not Path(os.path.realpath(base / path)).is_relative_to(os.path.realpath(base)):
        raise RuntimeFailure(f"path {relative!r} leaves its volume through a link")
    return base / path


def _open_to_group(path: str, *, read_only: bool) -> None:
    """The group may read, and write unless `read_only`; what is made later in a folder belongs to it too."""
    mode = os.lstat(path).st_mode
    if not stat.S_ISLNK(mode):
        bits = 0o440 if read_only else 0o660
        os.chmod(path, stat.S_IMODE(mode) | bits | (0o2110 if stat.S_ISDIR(mode) else 0))


def _give_to_group(place: Path, group: int) -> None:
    for path in _tree(place):
        try:
            os.chown(path, -1, group, follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError:  # not ours to give, or no group that this user namespace knows
            return


def _tree(place: Path) -> Iterator[str]:
    yield os.fspath(place)
    yield from (entry.path for entry in walk(place))


def _current(place: Path) -> Path | None:
    """The folder that the volume shows now."""
    with suppress(OSError):
        return place / os.readlink(place / _DATA)
    return None


def _number(folder: Path | None) -> int:
    return int(folder.name.lstrip(".")) if folder is not None else 0


def _wanted(volume: Volume, group: int | None) -> dict[str, tuple[bytes, int]]:
    group_bits = 0 if group is None else 0o440
    return {
        str(PurePosixPath(name)): (content, volume.modes.get(name, volume.mode) | group_bits)
        for name, content in volume.files.items()
    }


def _content(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (Path(entry.path) for entry in walk(folder) if entry.is_file(follow_symlinks=False))
    return {str(file.relative_to(folder)): (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) for file in files}


def _visible(name: str) -> str:
    """A file's path, when it cannot be taken for one of ours. Raises RuntimeFailure."""
    if PurePosixPath(name).parts[:1] and PurePosixPath(name).parts[0].startswith(".."):
        raise RuntimeFailure(f"path {name!r} must not begin with two dots")
    return name


def _link(place: Path, names: set[str]) -> None:
    """A link for each file or folder at the top; those of files that are gone go too."""
    shown = {entry.name for entry in _shown(place)}
    for name in names - shown:
        (place / name).symlink_to(f"{_DATA}/{name}")
    for name in shown - names:
        (place / name).unlink()


def _shown(place: Path) -> Iterator[Path]:
    return (entry for entry in place.iterdir() if not entry.name.startswith(".."))


def _prepare_host_path(place: Path, volume: Volume) -> None:
    """Raises MountFailure in the words of Kubernetes when something else is there."""
    wanted, makes = (
        volume.path_type.removesuffix("OrCreate"),
        not volume.path_type or volume.path_type.endswith("OrCreate"),
    )
    if makes and not place.exists():
        if wanted == "File":
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        else:
            place.mkdir(parents=True)
    if not wanted:
        return
    is_right, words = _CHECKS[wanted]
    if not place.exists() or not is_right(place.stat().st_mode):
        problem = f"hostPath type check failed: {volume.source} is not {words}"
        raise MountFailure(f'MountVolume.SetUp failed for volume "{volume.name}" : {problem}')

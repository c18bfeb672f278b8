"""A container's own view of the files: the host's, read-only, with everything of the pod's own in its place.

    scratch (a tmpfs, gone with the container)
      root/            becomes /
        usr etc var …  overlays: the host's folder below, `upper/…` above: may be written, the host never changes
        tmp run dev    fresh; dev/pts is the container's own, dev/shm the pod's
        proc           of its own PID namespace
        sys, and folders with other file systems mounted in them: the host's, read-only
        <mounts>       volumes, at the paths that the manifest names; missing folders on the way are made

Called in the container's first process, a fork of the warm parent with a single thread, after it has entered the
pod's namespaces. Works for root and, in the cluster's user namespace, for everybody else: overlays are made of single
folders, because a user namespace may not lift a folder off others that are mounted in it.

What it does not do: limit a program that is root on the host (it could mount what it likes). Scratch files live in
memory, SCRATCH_SHARE of it per container at the most.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import PurePosixPath

from petset.cluster.network import syscalls

SCRATCH_SHARE = "25%"

_FRESH = {"dev": 0o755, "proc": 0o555, "run": 0o755, "sys": 0o555, "tmp": 0o1777}
_WRITABLE = ("/var/lib", "/var/log", "/var/cache", "/var/spool", "/usr/local", "/etc")
"""Where a program of another user's expects to write; in a user namespace the host's folders are not its own."""
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_OLD_ROOT = ".host"


@dataclass(frozen=True)
class PodRoot:
    """`scratch` is an empty folder to mount on; `files` (path -> source) are copied, `mounts` (path -> source, read
    only) bound; `folders` are made if missing; `hidden` folders of the host appear empty. `shared_memory` is the folder
    that becomes /dev/shm; without one it is the container's own."""

    scratch: str
    mounts: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    shared_memory: str = ""


def enter_root(wanted: PodRoot) -> None:
    """Make the root and live in it, in a mount namespace of one's own. Raises OSError."""
    syscalls.unshare(syscalls.NEW_MOUNT)
    syscalls.mount("none", "/", "", syscalls.RECURSIVE | syscalls.SLAVE)
    opened = {target: os.open(source, os.O_PATH | os.O_CLOEXEC) for target, (source, _) in wanted.mounts.items()}
    copies = {target: _content(source) for target, source in wanted.files.items()}
    _Builder(wanted, _mounted_below_root()).build()
    syscalls.pivot_root(f"{wanted.scratch}/root", f"{wanted.scratch}/root/{_OLD_ROOT}")
    os.chdir("/")
    for target, content in copies.items():
        _replace_file(target, content)
    for target, descriptor in sorted(opened.items()):  # outer mounts before those inside of them
        _bind(descriptor, target, read_only=wanted.mounts[target][1])
        os.close(descriptor)
    for folder in wanted.folders:
        _make_folder(folder)
    syscalls.unmount_tree(f"/{_OLD_ROOT}")
    os.rmdir(f"/{_OLD_ROOT}")


class _Builder:
    """Builds `<scratch>/root` from the old root, in front of which we still are."""

    def __init__(self, wanted: PodRoot, mounted: frozenset[str]) -> None:
        self._wanted = wanted
        self._mounted = mounted
        self._host_is_ours = os.stat("/").st_uid == os.geteuid()

    @cached_property
    def _needed(self) -> list[str]:
        """Folders that must be writable, or be made: those on the way to them are ours then."""
        return [os.path.realpath(path) for path in (*self._wanted.mounts, *self._wanted.folders, *_WRITABLE)]

    def build(self) -> None:
        scratch = self._wanted.scratch
        options = f"mode=0755,size={SCRATCH_SHARE}"
        syscalls.mount("scratch", scratch, "tmpfs", syscalls.NO_SET_UID, options)
        os.chdir(scratch)
        for name in ("root", "upper", "work"):
            os.mkdir(name)
        syscalls.mount("root", "root", "", syscalls.BIND)
        os.mkdir(f"root/{_OLD_ROOT}")
        self._fill_folder("/", skip=(*_FRESH, "lost+found"))
        for name, mode in _FRESH.items():
            os.mkdir(f"root/{name}")
            os.chmod(f"root/{name}", mode)
        syscalls.mount("proc", "root/proc", "proc", syscalls.NO_SET_UID | syscalls.NO_DEVICES | syscalls.NO_EXEC)
        _bind_read_only("/sys", "root/sys")
        _make_devices(self._wanted.shared_memory)
        for folder in (*interpreter_folders(), *self._wanted.hidden):
            self._keep_or_hide(folder)

    def _fill_folder(self, folder: str, skip: Iterable[str] = ()) -> None:
        """The children of a folder that is ours: links as they are, folders as overlays or deeper, files bound."""
        for entry in os.scandir(folder):
            place = f"root{entry.path}"
            if entry.name in skip or entry.path in self._wanted.files:
                continue
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), place)
            elif not entry.is_dir():
                if folder != "/" and entry.is_file():
                    _make_file(place)
                    _bind_read_only(entry.path, place)
            elif not os.access(entry.path, os.R_OK | os.X_OK):
                os.mkdir(place)
            elif not self._has_mounts(entry.path):
                self._overlay(entry.path) if os.listdir(entry.path) else _make_like(entry.path, place)
            elif folder == "/" or any(_is_below(path, entry.path) for path in self._needed):
                os.mkdir(place)
                self._fill_folder(entry.path)
            else:
                os.mkdir(place)
                _bind_read_only(entry.path, place)

    def _overlay(self, folder: str) -> None:
        for kind in ("upper", "work"):
            _make_folder(os.path.dirname(f"{kind}{folder}"))
        os.mkdir(f"root{folder}")
        os.mkdir(f"work{folder}")
        _make_like(folder, f"upper{folder}")
        if not self._host_is_ours:
            for path in self._needed:
                if _is_below(path, folder):
                    self._own_the_way(path)
        # Relative paths: a folder's name may hold what separates options.
        data = f"lowerdir={_escape(folder)},upperdir={_escape('upper' + folder)},workdir={_escape('work' + folder)}"
        syscalls.mount("overlay", f"root{folder}", "overlay", 0, data)

    def _own_the_way(self, path: str) -> None:
        """Folders of ours above the host's of the same name: merged, but ours to write in."""
        for parent in reversed((path, *map(str, PurePosixPath(path).parents))):
            if os.path.isdir(parent) and not os.path.exists(f"upper{parent}"):
                _make_like(parent, f"upper{parent}")

    def _has_mounts(self, folder: str) -> bool:
        return any(_is_below(path, folder) for path in self._mounted)

    def _keep_or_hide(self, folder: str) -> None:
        place = f"root{folder}"
        if folder in self._wanted.hidden:
            if os.path.isdir(place):
                syscalls.mount("hidden", place, "tmpfs", syscalls.READ_ONLY | syscalls.NO_SET_UID, "size=4k,mode=0555")
        elif not os.path.isdir(place):
            os.makedirs(place)
            _bind_read_only(folder, place)


@cache
def interpreter_folders() -> list[str]:
    """What Python itself loads modules from, where the container could not see it: below /tmp and the like.

    The same for every container: the warm parent asks once, so that its forks need not.
    """
    known = {sys.prefix, sys.base_prefix, *(path for path in sys.path if os.path.isdir(path))}
    return sorted(path for path in map(os.path.abspath, known) if path.split("/")[1] in _FRESH)


def _mounted_below_root() -> frozenset[str]:
    """Every mount point but the root."""
    lines = _content("/proc/self/mountinfo").splitlines()
    return frozenset(_unescaped(line.split(b" ", 5)[4]) for line in lines) - {"/"}


def _unescaped(path: bytes) -> str:
    """proc(5), mountinfo: spaces and the like are octal."""
    return os.fsdecode(path.decode("unicode_escape").encode("latin-1") if b"\\" in path else path)


def _make_devices(shared_memory: str) -> None:
    for name in _DEVICES:
        _make_file(f"root/dev/{name}")
        syscalls.mount(f"/dev/{name}", f"root/dev/{name}", "", syscalls.BIND)
    for name, target in _LINKS.items():
        os.symlink(target, f"root/dev/{name}")
    for name in ("pts", "shm"):
        os.mkdir(f"root/dev/{name}")
    os.chmod("root/dev/shm", 0o1777)
    if shared_memory:
        syscalls.mount(shared_memory, "root/dev/shm", "", syscalls.BIND)
    options = "newinstance,ptmxmode=0666"
    syscalls.mount("devpts", "root/dev/pts", "devpts", syscalls.NO_SET_UID | syscalls.NO_EXEC, options)


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def _bind(descriptor: int, target: str, *, read_only: bool) -> None:
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        _make_folder(target)
    elif not os.path.exists(target):
        _make_folder(os.path.dirname(target))
        _make_file(target)
    syscalls.mount(f"/proc/self/fd/{descriptor}", target, "", syscalls.BIND | syscalls.RECURSIVE)
    if read_only:
        syscalls.make_read_only(target)


def _bind_read_only(source: str, target: str) -> None:
    syscalls.mount(source, target, "", syscalls.BIND | syscalls.RECURSIVE)
    syscalls.make_read_only(target)


def _replace_file(path: str, content: bytes) -> None:
    """A file of our own, also where the host has a link."""
    _make_folder(os.path.dirname(path))
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "wb", buffering=0) as file:
        file.write(content)


def _make_folder(path: str) -> None:
    if not os.path.isdir(path):
        os.makedirs(path, exist_ok=True)


def _make_like(folder: str, path: str) -> None:
    """An empty folder with the mode of another."""
    os.mkdir(path)
    os.chmod(path, stat.S_IMODE(os.stat(folder).st_mode))


def _make_file(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _escape(path: str) -> str:
    return "".join("\\" + letter if letter in "\\,:" else letter for letter in path)

"""The system calls of namespaces, mounts and processes that Python 3.11 does not have; errors are OSErrors that name
the call.

Network, UTS and IPC namespaces belong to a thread, so one thread of a process may visit another (`visiting`). User,
mount and PID namespaces belong to a process: only a process with a single thread may change them.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

NEW_MOUNT = 0x00020000
NEW_UTS = 0x04000000
NEW_IPC = 0x08000000
NEW_USER = 0x10000000
NEW_PID = 0x20000000
NEW_NETWORK = 0x40000000

READ_ONLY = 0x1
NO_SET_UID = 0x2
NO_DEVICES = 0x4
NO_EXEC = 0x8
BIND = 0x1000
RECURSIVE = 0x4000
SLAVE = 0x80000

_DETACH = 0x2
_MOUNT_SETATTR = 442
"""The number is the same on every architecture, as of all system calls since 2019."""
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_ATTRIBUTE_READ_ONLY = 0x1

_SET_PARENT_DEATH_SIGNAL = 1

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int, still_there: Callable[[], bool]) -> None:
    """Receive signal `number` when the parent (thread) ends; end at once when it is gone already.

    Survives exec, not fork.
    """
    prctl(_SET_PARENT_DEATH_SIGNAL, ctypes.c_ulong(number))
    if not still_there():
        os._exit(128 + number)


def prctl(option: int, argument: Any) -> None:
    """`argument` as ctypes hands it to C."""
    zero = ctypes.c_ulong(0)
    _check(_libc.prctl(option, argument, zero, zero, zero), f"prctl {option}")


def unshare(flags: int) -> None:
    """Give this thread (or process) fresh namespaces. NEW_PID takes effect for children only."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def enter(descriptor: int, kind: int = 0) -> None:
    """Enter the namespace of a descriptor; `kind` (one NEW_… value) makes sure that it is of that kind."""
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)), "setns")


def enter_path(path: str, kind: int = 0) -> None:
    """Enter the namespace that a path names, such as /proc/<pid>/ns/net."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(descriptor, kind)
    finally:
        os.close(descriptor)


@contextmanager
def visiting(path: str) -> Iterator[None]:
    """This thread inside the network namespace of `path`, then back. Must not be suspended (no await) in between."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter_path(path, NEW_NETWORK)
        try:
            yield
        finally:
            enter(home, NEW_NETWORK)
    finally:
        os.close(home)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    arguments = [text.encode() or None for text in (source, target, kind)]
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None), f"mount {target}")


def unmount_tree(target: str) -> None:
    """Take a mount with all below it out of sight at once; it ends when nobody uses it any more."""
    _check(_libc.umount2(target.encode(), ctypes.c_int(_DETACH)), f"umount {target}")


def pivot_root(new_root: str, old_root: str) -> None:
    _check(_libc.pivot_root(new_root.encode(), old_root.encode()), f"pivot_root {new_root}")


def make_read_only(path: str) -> None:
    """A mount and everything mounted below it (Linux 5.12)."""
    attributes = struct.pack("QQQQ", _ATTRIBUTE_READ_ONLY, 0, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_MOUNT_SETATTR), ctypes.c_int(_AT_FDCWD), path.encode(), ctypes.c_uint(_AT_RECURSIVE),
        attributes, ctypes.c_size_t(len(attributes)),
    )  # fmt: skip
    _check(result, f"mount_setattr {path}")


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")

"""Has the kernel ask somebody before a program changes files: a seccomp filter with user notification.

    program ── fsync(fd) ──▶ kernel ── "may it?" ──▶ listener (disk_watch.py, in the machine)
            ◀── as usual, or an error ──────────────┘

The filter belongs to the program and to all that it starts, for good; without privileges it costs them the right to
gain any (no_new_privs). What asks: writes to descriptors above 2, fsync and its kin, opens for writing, and what
changes folders. What does not: reads, sockets, a program's output, memory-mapped files. `io_uring_setup` is refused
with ENOSYS, as on a kernel without it, since nobody could ask there. Only calls of the machine's own architecture ask:
x86-64 and arm64 are known.

Numbers: <asm/unistd_64.h>, <asm-generic/unistd.h>, <linux/seccomp.h>, <linux/filter.h>.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Deed = Literal["write", "sync", "open", "create", "change"]
"""`open` for writing, `create` where there is no such file; `change`: folders are made, names removed or changed."""


@dataclass(frozen=True)
class Call:
    """One system call that asks. Arguments by their number: `fd` a descriptor; or `path`, relative to the folder that
    descriptor `folder` is open on (-1: the working directory); `flags` those of an open."""

    name: str
    deed: Deed
    fd: int = -1
    folder: int = -1
    path: int = -1
    flags: int = -1


_CALLS = (
    *(Call(name, "write", fd=0) for name in ("write", "pwrite64", "writev", "pwritev", "pwritev2")),
    *(Call(name, "write", fd=0) for name in ("fallocate", "ftruncate", "sendfile")),
    Call("copy_file_range", "write", fd=2),
    *(Call(name, "sync", fd=0) for name in ("fsync", "fdatasync", "sync_file_range")),
    Call("open", "open", path=0, flags=1),
    Call("openat", "open", folder=0, path=1, flags=2),
    Call("creat", "open", path=0),
    *(Call(name, "change", path=0) for name in ("mkdir", "rmdir", "unlink")),
    *(Call(name, "change", folder=0, path=1) for name in ("mkdirat", "unlinkat", "renameat", "renameat2")),
    Call("rename", "change", path=1),
)
_NUMBERS: Mapping[str, Mapping[str, int]] = {
    "x86_64": {
        "write": 1, "pwrite64": 18, "writev": 20, "pwritev": 296, "pwritev2": 328, "fallocate": 285, "ftruncate": 77,
        "sendfile": 40, "copy_file_range": 326, "fsync": 74, "fdatasync": 75, "sync_file_range": 277, "open": 2,
        "openat": 257, "creat": 85, "mkdir": 83, "rmdir": 84, "unlink": 87, "mkdirat": 258, "unlinkat": 263,
        "renameat": 264, "renameat2": 316, "rename": 82, "seccomp": 317, "io_uring_setup": 425,
    },
    "aarch64": {
        "write": 64, "pwrite64": 68, "writev": 66, "pwritev": 70, "pwritev2": 287, "fallocate": 47, "ftruncate": 46,
        "sendfile": 71, "copy_file_range": 285, "fsync": 82, "fdatasync": 83, "sync_file_range": 84, "openat": 56,
        "mkdirat": 34, "unlinkat": 35, "renameat": 38, "renameat2": 276, "seccomp": 277, "io_uring_setup": 425,
    },
}  # fmt: skip
_AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_SET_MODE_FILTER, _GET_ACTION_AVAILABLE = 1, 2
_NEW_LISTENER, _WAIT_KILLABLE = 1 << 3, 1 << 5
_ALLOW, _ASK, _REFUSE = 0x7FFF0000, 0x7FC00000, 0x00050000
_NO_NEW_PRIVILEGES = 38
_LOAD, _JUMP_EQUAL, _JUMP_SET, _JUMP_GREATER, _RETURN = 0x20, 0x15, 0x45, 0x25, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_LAST_STANDARD_STREAM = 2

_libc = ctypes.CDLL(None, use_errno=True)


def known_calls() -> Mapping[int, Call]:
    """The calls that ask, by their number on this machine; none where the architecture is unknown."""
    numbers = _NUMBERS.get(platform.machine(), {})
    return {numbers[call.name]: call for call in _CALLS if call.name in numbers}


def refusal() -> str:
    """Why this machine cannot do it; "" when it can."""
    if not known_calls():
        return f"system calls of {platform.machine()} are not known here"
    wanted = ctypes.c_uint32(_ASK)
    if _seccomp(_GET_ACTION_AVAILABLE, 0, ctypes.byref(wanted)) != 0:
        return f"the kernel has no seccomp user notification ({os.strerror(ctypes.get_errno())})"
    return ""


def install() -> int:
    """Put this thread, and all it will start, under the filter; the listener's descriptor. Raises OSError."""
    program = b"".join(_program(known_calls()))
    code = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    listener = -1
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):  # the second for kernels before 5.19
        listener = _filter(flags, header)
        if listener >= 0 or ctypes.get_errno() != errno.EINVAL:
            break
    if listener < 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
    return listener


def _filter(flags: int, header: bytes) -> int:
    listener = _seccomp(_SET_MODE_FILTER, flags, header)
    if listener < 0 and ctypes.get_errno() == errno.EACCES:
        _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        listener = _seccomp(_SET_MODE_FILTER, flags, header)
    return listener


def _seccomp(operation: int, flags: int, argument: object) -> int:
    return int(_libc.syscall(_NUMBERS[platform.machine()]["seccomp"], operation, flags, argument))


def _program(calls: Mapping[int, Call]) -> Iterable[bytes]:
    """Classic BPF: one block per call, each of which ends in an answer."""
    machine = platform.machine()
    yield _step(_LOAD, value=_ARCHITECTURE_AT)
    yield _step(_JUMP_EQUAL, value=_AUDIT_ARCHITECTURE[machine], then=1)
    yield _step(_RETURN, value=_ALLOW)
    yield _step(_LOAD, value=_NUMBER_AT)
    yield _step(_JUMP_EQUAL, value=_NUMBERS[machine]["io_uring_setup"], otherwise=1)
    yield _step(_RETURN, value=_REFUSE | errno.ENOSYS)
    for number, call in calls.items():
        block = [*_answer(call)]
        yield _step(_JUMP_EQUAL, value=number, otherwise=len(block))
        yield from block
    yield _step(_RETURN, value=_ALLOW)


def _answer(call: Call) -> Iterable[bytes]:
    """Arguments count by their lower halves (both architectures are little-endian)."""
    if call.flags >= 0:
        yield _step(_LOAD, value=_ARGUMENTS_AT + 8 * call.flags)
        yield _step(_JUMP_SET, value=_FOR_WRITING, then=1)
        yield _step(_RETURN, value=_ALLOW)
    elif call.deed == "write":
        yield _step(_LOAD, value=_ARGUMENTS_AT + 8 * call.fd)
        yield _step(_JUMP_GREATER, value=_LAST_STANDARD_STREAM, then=1)
        yield _step(_RETURN, value=_ALLOW)
    yield _step(_RETURN, value=_ASK)


def _step(code: int, *, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("HBBI", code, then, otherwise, value)

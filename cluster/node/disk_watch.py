"""Faults of disks: the machine answers when a container is about to change files on a volume.

    container ── write, fsync, open … ──▶ kernel asks (syscall_filter.py) ──▶ DiskWatch
              ◀── goes on; EIO, ENOSPC, EROFS; or goes on later ──────────────┘

A container with persistent volumes is started under the filter when the cluster was brought up with `--disk-faults`;
the listener comes back over a socket that goes with it. Without a fault the answer is "go on", which costs a change's
way to this process and back. With one, the file is looked up (its descriptor in /proc, or the path in the program's
memory), and what lies on the volume gets the fault:

    fill-disk        writes (also into the middle of a file) and new files fail with ENOSPC
    read-only-disk   these, opening for writing, new folders, renaming and removing fail with EROFS, also through
                     descriptors that were opened before
    fail-fsync       fsync, fdatasync and sync_file_range fail with EIO; what was written may be there or not
    slow-fsync       they begin `delay_ms` later

Not reached: memory-mapped writes, O_SYNC's own flush, and commands of `kubectl exec`, which run outside of the filter.
A machine that is frozen freezes its containers' writes with it. Faults act on what happens after they were injected.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import select
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from petset.cluster.node.syscall_filter import Call, Deed, known_calls

FAULTS = ("fill-disk", "read-only-disk", "fail-fsync", "slow-fsync")
MAX_PATH_BYTES = 4096

_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_QUESTION = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_GO_ON = 1
_WORKING_DIRECTORY = 0xFFFFFF9C
"""AT_FDCWD, as an unsigned number."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DiskFault:
    """A fault of one volume. `delay_ms` is slow-fsync's."""

    kind: str
    delay_ms: float = 0.0


def verdict(fault: DiskFault, deed: Deed) -> int:
    """The error number that a deed gets; 0: none."""
    match fault.kind, deed:
        case "fill-disk", "write" | "create":
            return errno.ENOSPC
        case "read-only-disk", "write" | "open" | "create" | "change":
            return errno.EROFS
        case "fail-fsync", "sync":
            return errno.EIO
        case _:
            return 0


Places = Mapping[str, str]
"""Where a container sees its persistent volumes: path -> unique name."""


def volume_at(path: str, places: Places) -> str:
    """The volume that a path lies on, "" for none; of one that is mounted inside another, the inner one."""
    mounted = [place for place in places if PurePosixPath(path).is_relative_to(place)]
    return places[max(mounted, key=len)] if mounted else ""


class DiskWatch:
    """One container's questions; `faults` (unique name of a volume -> its faults) is the machine's, and may change."""

    def __init__(self, places: Places, faults: Mapping[str, list[DiskFault]]) -> None:
        self._places = places
        self._faults = faults
        self._calls = known_calls()
        self._ours, self.theirs = socket.socketpair()
        """`theirs` goes with the launch and is the caller's to close."""
        self._ours.setblocking(False)
        self._listener = -1
        asyncio.get_running_loop().add_reader(self._ours, self._receive_listener)

    def close(self) -> None:
        """The container has ended."""
        loop = asyncio.get_running_loop()
        if self._ours.fileno() >= 0:
            loop.remove_reader(self._ours)
            self._ours.close()
        if self._listener >= 0:
            loop.remove_reader(self._listener)
            os.close(self._listener)
            self._listener = -1

    def _receive_listener(self) -> None:
        _, descriptors, _, _ = socket.recv_fds(self._ours, 1, 1)
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._ours)
        self._ours.close()
        if descriptors:  # none: it ended before it was under the filter
            self._listener = descriptors[0]
            loop.add_reader(self._listener, self._serve)

    def _serve(self) -> None:
        """One question; the kernel says when there are more."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        found = poll.poll(0)
        if not found or not found[0][1] & select.POLLIN:
            if found:  # nobody is left under the filter
                self.close()
            return
        question = bytearray(_QUESTION.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, question)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):  # who asked has died meanwhile
                return
            raise
        number, pid, _, call, _, _, *arguments = _QUESTION.unpack(question)
        self._answer(number, self._judge(pid, self._calls[call], arguments))

    def _answer(self, question: int, fault: tuple[int, float]) -> None:
        error, delay_seconds = fault
        if delay_seconds:
            asyncio.get_running_loop().call_later(delay_seconds, self._answer, question, (error, 0.0))
            return
        if self._listener < 0:
            return
        answer = _ANSWER.pack(question, 0, -error, 0 if error else _GO_ON)
        try:
            fcntl.ioctl(self._listener, _SEND, bytearray(answer))
        except OSError as failure:
            if failure.errno != errno.ENOENT:
                raise

    def _judge(self, pid: int, call: Call, arguments: list[int]) -> tuple[int, float]:
        """(error number or 0, seconds to wait before it)"""
        if not any(self._faults.values()):
            return 0, 0.0
        try:
            path = _path_of(pid, call, arguments)
        except (OSError, OverflowError):  # it has gone, or its pointer leads nowhere: the kernel will tell it so
            return 0, 0.0
        faults = self._faults.get(volume_at(path, self._places), ())
        is_new = call.deed == "open" and not os.path.exists(f"/proc/{pid}/root{path}")
        deed: Deed = "create" if is_new else call.deed
        error = next((found for each in faults if (found := verdict(each, deed))), 0)
        delay_ms = sum(each.delay_ms for each in faults if call.deed == "sync")
        return error, delay_ms / 1000.0


def _path_of(pid: int, call: Call, arguments: list[int]) -> str:
    """The file that a call is about, as its program sees it. Raises OSError: the program has gone."""
    if call.fd >= 0:
        return os.readlink(f"/proc/{pid}/fd/{arguments[call.fd] & 0xFFFFFFFF}")
    path = _text_at(pid, arguments[call.path])
    if path.startswith("/"):
        return os.path.normpath(path)
    folder = _WORKING_DIRECTORY if call.folder < 0 else arguments[call.folder] & 0xFFFFFFFF
    base = f"/proc/{pid}/cwd" if folder == _WORKING_DIRECTORY else f"/proc/{pid}/fd/{folder}"
    return os.path.normpath(os.path.join(os.readlink(base), path))


def _text_at(pid: int, address: int) -> str:
    """A path in a program's memory; the page after it may not be there."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        text = memory.read(MAX_PATH_BYTES - address % MAX_PATH_BYTES)
        if b"\0" not in text:
            text += memory.read(MAX_PATH_BYTES)
    return os.fsdecode(text.split(b"\0", 1)[0])

"""Namespaces of its own around a whole process tree: the datacenter that a cluster lives in.

    opener ──fork──► gate ──fork──► init (PID 1 inside) ──fork──► the function, and all that it starts
     outside          outside        reaps, passes SIGTERM on

The gate makes the namespaces: user (unless the opener is root; inside, the opener's user is root), network, mount,
PID, IPC, UTS. Inside there is a loopback interface and nothing else of the host's network; files are the host's.

Nothing inside can outlive the opener: it dies ─► the kernel kills the gate ─► the kernel kills init ─► with the PID
namespace's init, every process of it. The same when the gate or init is killed, or when the function returns.

The opener must have a single thread when it opens (a user namespace cannot be made otherwise).
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from petset.cluster.network import syscalls

_NAMESPACES = (
    syscalls.NEW_NETWORK | syscalls.NEW_MOUNT | syscalls.NEW_PID | syscalls.NEW_IPC | syscalls.NEW_UTS
)  # fmt: skip
_WATCHED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1


class EnclosureFailed(Exception):
    """The kernel refused namespaces; the message says which call and why."""


class Enclosure:
    """An open enclosure, seen from outside."""

    def __init__(self, gate_pid: int) -> None:
        self.gate_pid = gate_pid

    @classmethod
    def open(cls, run: Callable[[], int]) -> Enclosure:
        """Run a function inside, in a process of its own; its result is the exit status. Raises EnclosureFailed."""
        report, report_end = os.pipe()
        opener = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        gate_pid = os.fork()
        if gate_pid == 0:
            os.close(report)
            _gate(run, opener=opener, report=report_end, mask_before=before)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(report_end)
        with os.fdopen(report, "rb") as file:
            error = file.read().decode()
        if error:
            os.waitpid(gate_pid, 0)
            raise EnclosureFailed(error)
        return cls(gate_pid)

    def terminate(self) -> None:
        """Ask the function's process to end (SIGTERM)."""
        os.kill(self.gate_pid, signal.SIGTERM)

    def wait(self) -> int:
        """Wait for the end; the function's result, or 128 + signal."""
        _, status = os.waitpid(self.gate_pid, 0)
        return _exit_code(status)


def enter_own_user_namespace() -> None:
    """Become root over namespaces of one's own, without being root outside. Needs a single thread. Raises OSError."""
    user, group = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.NEW_USER)
    for name, content in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)


def raise_loopback() -> None:
    """Bring up `lo` of this thread's network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, _GET_FLAGS, request), 16)
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


def _gate(run: Callable[[], int], *, opener: int, report: int, mask_before: set[int | signal.Signals]) -> NoReturn:
    try:
        syscalls.die_with_parent(signal.SIGKILL, lambda: os.getppid() == opener)
        if os.geteuid() != 0:
            enter_own_user_namespace()
        syscalls.unshare(_NAMESPACES)
        gate_lives, gate_end = os.pipe()
        init_pid = os.fork()
        if init_pid == 0:
            os.close(gate_end)
            _init(run, gate_lives=gate_lives, report=report, mask_before=mask_before)
        os.close(report)
        os._exit(_stand_by(init_pid))
    except BaseException as error:
        os.write(report, str(error).encode()[:4096] or b"unknown")
        os._exit(1)


def _init(
    run: Callable[[], int], *, gate_lives: int, report: int, mask_before: set[int | signal.Signals]
) -> NoReturn:  # fmt: skip
    try:
        syscalls.die_with_parent(signal.SIGKILL, lambda: not select.select([gate_lives], [], [], 0)[0])
        syscalls.mount("none", "/", "", syscalls.RECURSIVE | syscalls.SLAVE)
        syscalls.mount("proc", "/proc", "proc", syscalls.NO_SET_UID | syscalls.NO_DEVICES | syscalls.NO_EXEC)
        raise_loopback()
        resident_pid = os.fork()
        if resident_pid == 0:
            os.close(report)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask_before)
            _reside(run)
        os.close(report)
        os._exit(_stand_by(resident_pid))
    except BaseException as error:
        os.write(report, str(error).encode()[:4096] or b"unknown")
        os._exit(1)


def _reside(run: Callable[[], int]) -> NoReturn:
    status = 1
    try:
        status = run()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status & 0xFF)


def _stand_by(child_pid: int) -> int:
    """Pass signals to the child and reap whatever ends here, until the child has ended; its exit code."""
    while True:
        if signal.sigwait(_WATCHED) != signal.SIGCHLD:
            os.kill(child_pid, signal.SIGTERM)
            continue
        while True:
            ended_pid, status = os.waitpid(-1, os.WNOHANG)
            if ended_pid == child_pid:
                return _exit_code(status)
            if ended_pid == 0:
                break


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code

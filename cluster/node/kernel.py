"""What the node asks of the Linux kernel about its processes: who dies with whom, and who inherits orphans.

A *subreaper* becomes the parent of all its descendants that lose their own. The parent-death signal belongs to the
parent's *thread*: whoever starts a process that must die with it does so from a thread that lives as long as it does.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable

LOOK_AGAIN_SECONDS = 0.02
"""How soon to look for orphans again while there are some."""

_SET_PARENT_DEATH_SIGNAL = 1
_SET_NAME = 15
_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)
_python = ctypes.PyDLL(None, use_errno=True)
"""The same, called without letting go of the interpreter's lock: a fork must not find it free."""


def bare_fork() -> int:
    """Like os.fork, without what Python does in a child for its threads, locks and random numbers.

    That would touch some 0.5 MiB of memory which the child otherwise shares. For a process with a single thread, whose
    child uses none of those, or forks with os.fork before it does. Raises OSError.
    """
    pid = int(_python.fork())
    if pid < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return pid


def die_with_parent(number: int, parent_pid: int) -> None:
    """Receive signal `number` when the parent (thread) ends; end at once when it is gone already.

    Survives exec, not fork.
    """
    _prctl(_SET_PARENT_DEATH_SIGNAL, ctypes.c_ulong(number))
    if os.getppid() != parent_pid:
        os._exit(128 + number)


def become_subreaper() -> None:
    """Inherit this process's orphaned descendants from now on. Survives exec, not fork."""
    _prctl(_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))


def name_process(name: str) -> None:
    """The name that `ps` and `top` show; the kernel keeps 15 bytes."""
    _prctl(_SET_NAME, ctypes.c_char_p(name.encode()))


def child_pids() -> list[int]:
    """This single-threaded process's children, zombies included.

    May miss one while another child ends (proc(5)): look again after each SIGCHLD.
    """
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        import psutil  # only there: every container would carry it

        return [child.pid for child in psutil.Process().children()]


def kill_all(pids: Iterable[int]) -> list[int]:
    """SIGKILL each; answers those that may not be signalled (they changed their user)."""
    refused = []
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        except PermissionError:
            refused.append(pid)
    return refused


def end_all_children() -> None:
    """SIGKILL for every child, and for what falls to us from them, until none is left that may be signalled."""
    refused: list[int] = []
    while True:
        refused += kill_all(pid for pid in child_pids() if pid not in refused)
        signal.sigtimedwait({signal.SIGCHLD}, LOOK_AGAIN_SECONDS)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                continue
        except ChildProcessError:
            return
        if set(child_pids()) <= set(refused):
            return


def _prctl(option: int, argument: ctypes.c_ulong | ctypes.c_char_p) -> None:
    zero = ctypes.c_ulong(0)
    if _libc.prctl(option, argument, zero, zero, zero) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl {option}: {os.strerror(error)}")

"""What the node asks of the Linux kernel about its processes: who dies with whom, and who inherits orphans.

A *subreaper* becomes the parent of all its descendants that lose their own. The parent-death signal belongs to the
parent's *thread*: whoever starts a process that must die with it does so from a thread that lives as long as it does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

from petset.cluster.network import syscalls

LOOK_AGAIN_SECONDS = 0.02
"""How soon to look for orphans again while there are some."""

ALL_SIGNALS = frozenset(int(number) for number in signal.valid_signals())
_PYTHON_IGNORES = frozenset({signal.SIGPIPE, signal.SIGXFSZ})

_SIGNAL_SET_BYTES = 128
"""Of a sigset_t, in every C library for Linux."""
_SIGNAL_WORD_BYTES = 8
_SIGNAL_INFO_BYTES = 128
_SET_NAME = 15
_SET_CHILD_SUBREAPER, _GET_CHILD_SUBREAPER = 36, 37

_python = ctypes.PyDLL(None, use_errno=True)
"""The C library, called without letting go of the interpreter's lock: a fork must not find it free."""
_python.PyOS_AfterFork_Child.restype = None


def bare_fork() -> int:
    """Like os.fork, without what Python does in a child for its threads, locks and random numbers.

    That would touch some 0.5 MiB of memory which the child otherwise shares. For a process with a single thread, whose
    child uses none of those, or calls `finish_fork` before it does. Raises OSError.
    """
    pid = int(_python.fork())
    if pid < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return pid


def finish_fork() -> None:
    """What `bare_fork` left out, in its child or in a child of that one."""
    _python.PyOS_AfterFork_Child()


def default_signals() -> None:
    """Ignore what a fresh Python ignores, and nothing else: a cluster that a script starts in the background, or with
    nohup, must not hand on that it is deaf to Ctrl-C. For the parent of containers, which cost less without this.
    """
    for number in ALL_SIGNALS - _PYTHON_IGNORES:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def block_signals() -> None:
    """All of them. Python's own function makes an object for each signal of the answer, in every fork."""
    _python.pthread_sigmask(signal.SIG_SETMASK, b"\xff" * _SIGNAL_SET_BYTES, None)


def unblock_signals() -> None:
    _python.pthread_sigmask(signal.SIG_SETMASK, bytes(_SIGNAL_SET_BYTES), None)


def open_signals(numbers: Iterable[int]) -> int:
    """A descriptor that is readable while one of these signals, which are blocked, waits to be taken. Raises OSError.

    Python's own handlers would be every fork's: to undo one costs a fork 50 pages of memory.
    """
    word = sum(1 << number - 1 for number in numbers).to_bytes(_SIGNAL_WORD_BYTES, sys.byteorder)
    wanted = word.ljust(_SIGNAL_SET_BYTES, b"\0")
    descriptor = int(_python.signalfd(-1, wanted, os.O_CLOEXEC | os.O_NONBLOCK))  # signalfd takes open's flags
    if descriptor < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"signalfd: {os.strerror(error)}")
    return descriptor


def take_signals(descriptor: int) -> set[int]:
    """What arrived since `open_signals`, or since the last call."""
    infos = os.read(descriptor, 16 * _SIGNAL_INFO_BYTES)
    return {
        int.from_bytes(infos[start : start + 4], sys.byteorder) for start in range(0, len(infos), _SIGNAL_INFO_BYTES)
    }


def die_with_parent(number: int, parent_pid: int) -> None:
    """Receive signal `number` when the parent (thread) ends; end at once when it is gone already (syscalls.py)."""
    syscalls.die_with_parent(number, lambda: os.getppid() == parent_pid)


def become_subreaper() -> None:
    """Inherit this process's orphaned descendants from now on. Survives exec, not fork."""
    syscalls.prctl(_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))


def name_process(name: str) -> None:
    """The name that `ps` and `top` show; the kernel keeps 15 bytes."""
    syscalls.prctl(_SET_NAME, ctypes.c_char_p(name.encode()))


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


def is_subreaper() -> bool:
    answer = ctypes.c_int()
    syscalls.prctl(_GET_CHILD_SUBREAPER, ctypes.byref(answer))
    return bool(answer.value)


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


def end_inherited_children(patience_seconds: float) -> None:
    """SIGKILL for what this process has inherited as a subreaper, until nothing is left that may be signalled.

    What it has started itself is in its own session, and stays: whoever starts a session of its own must not be there.
    For a process with threads. Blocks, `patience_seconds` at the most.
    """
    import psutil  # only there: every container would carry it

    refused = set[int]()
    give_up_at = time.monotonic() + patience_seconds
    while time.monotonic() < give_up_at:
        children = [child.pid for child in psutil.Process().children()]
        inherited = [pid for pid in children if _is_in_another_session(pid) and pid not in refused]
        if not inherited:
            return
        refused.update(kill_all(inherited))
        time.sleep(LOOK_AGAIN_SECONDS)
        for pid in inherited:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _is_in_another_session(pid: int) -> bool:
    try:
        return os.getsid(pid) != os.getsid(0)
    except ProcessLookupError:  # a child of ours that somebody has waited for
        return False

"""A container in namespaces: what surrounds its program, which is PID 1 there.

    warm parent ─fork─► PID 1 of a fresh PID namespace: enters the pod's network, UTS and IPC,
                        makes its root (pod_root.py), becomes the program

So a program that has no handler for SIGTERM does not hear it, as in every container: the kernel keeps signals from a
PID 1 that did not ask for them, SIGKILL of its node's apart. What it leaves behind is its own, too; when it ends, the
kernel ends everything in there with it. A further command enters the namespaces of a container that runs; what it
leaves behind stays until the container ends, as in Kubernetes.

A container may live among the processes of another one (`targetContainerName`) or of the machine (`hostPID`) instead.
An ordinary process looks after it there:

    warm parent ─fork─► keeper ─fork─► enters and makes the same
                          │                │
                follows into all that ◄─ "made"
                          └── "here": a pipe ends ──► becomes the program
                passes signals on, adopts what the program leaves behind, and ends it

The work is the program's, not the keeper's, because every page of the warm parent that a fork writes to becomes its
own. No program runs before its keeper is behind the same root, for `/proc/<keeper>/root` would lead it out. The keeper
can only exit with a code, so the program's real end, signal included, goes through a pipe (`status_fd`). Killed itself,
it leaves to the namespace whatever the program had started.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from petset.cluster.network import syscalls
from petset.cluster.node import kernel
from petset.cluster.node.pod_root import PodRoot, enter_root

STATUS_BYTES = 4
_SHARED_BY_POD = {"net": syscalls.NEW_NETWORK, "uts": syscalls.NEW_UTS, "ipc": syscalls.NEW_IPC}
_KEEPER_NAME = "keeper"
OUTSIDE = 0
"""The process id of a parent that lives in another PID namespace."""


@dataclass(frozen=True)
class Isolation:
    """`namespaces` (kind -> path) are entered; of a kind that is not among them, net apart, fresh ones are made.

    `processes_of` is the id of a container that shares its processes; `host_processes`: the machine shares its own.
    """

    hostname: str
    root: PodRoot
    namespaces: Mapping[str, str] = field(default_factory=dict)
    processes_of: str = ""
    host_processes: bool = False

    @property
    def needs_keeper(self) -> bool:
        """Whether its processes are not in a namespace of their own."""
        return bool(self.processes_of) or self.host_processes

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Isolation:
        root = dict(message["root"])
        mounts = {target: (source, read_only) for target, (source, read_only) in root["mounts"].items()}
        lists = {name: tuple(root[name]) for name in ("folders", "hidden")}
        return cls(**{**message, "root": PodRoot(**{**root, **lists, "mounts": mounts})})


@contextmanager
def children_in_new_process_namespace() -> Iterator[None]:
    """The next child is PID 1 of a namespace of its own. Needs a single thread."""
    with _children_at_home_again():
        syscalls.unshare(syscalls.NEW_PID)
        yield


@contextmanager
def children_in_process_namespace_of(pid: int) -> Iterator[None]:
    """The next child lives in the PID namespace of a process."""
    with _children_at_home_again():
        syscalls.enter_path(f"/proc/{pid}/ns/pid", syscalls.NEW_PID)
        yield


@contextmanager
def _children_at_home_again() -> Iterator[None]:
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        syscalls.enter(home, syscalls.NEW_PID)
        os.close(home)


def become_isolated(isolation: Isolation) -> None:
    """In PID 1 of a namespace of its own: all else that surrounds its program. Raises OSError."""
    kernel.die_with_parent(signal.SIGKILL, OUTSIDE)  # once more in the end (launch.py): a change of user undoes it
    _surround(isolation)


def become_kept(isolation: Isolation, *, status_fd: int, warm_parent_pid: int) -> int:
    """In a bare fork, which becomes a keeper: returns in a child of it, which is to become the program. Answers the
    keeper's process id. Raises OSError.
    """
    kernel.block_signals()
    os.setsid()
    kernel.die_with_parent(signal.SIGKILL, warm_parent_pid if isolation.host_processes else OUTSIDE)
    kernel.become_subreaper()
    keeper_pid = os.getpid()
    made, says_made = os.pipe()
    here, says_here = os.pipe()
    program_pid = kernel.bare_fork()
    if program_pid != 0:
        os.close(says_made)
        os.close(here)
        if os.read(made, 1):  # else it ended before, which `_look_after` will find
            _follow(program_pid)
        os.close(says_here)
        _look_after(program_pid, status_fd)
    kernel.finish_fork()
    os.close(says_here)
    _surround(isolation)
    os.write(says_made, b".")
    os.read(here, 1)
    return keeper_pid


def _surround(isolation: Isolation) -> None:
    """Enter and make everything but the PID namespace, for this process."""
    for kind, flag in _SHARED_BY_POD.items():
        if path := isolation.namespaces.get(kind):
            syscalls.enter_path(path, flag)
        elif kind != "net":
            syscalls.unshare(flag)
    enter_root(isolation.root)
    socket.sethostname(isolation.hostname)


def _follow(program_pid: int) -> None:
    """Go where the program will be."""
    program = os.pidfd_open(program_pid)
    syscalls.enter(program, syscalls.NEW_MOUNT | syscalls.NEW_NETWORK | syscalls.NEW_UTS | syscalls.NEW_IPC)
    os.close(program)


def join_container(pid: int) -> None:
    """Enter the namespaces of a container's PID 1; its PID namespace was entered by the fork. Raises OSError."""
    descriptors = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in (*_SHARED_BY_POD, "mnt")]
    for descriptor in descriptors:
        syscalls.enter(descriptor)
        os.close(descriptor)


def program_status(status_pipe: int, own_status: int) -> int:
    """How the program ended, as a wait status: what its keeper has told, or how that one ended itself."""
    told = os.read(status_pipe, STATUS_BYTES)
    return int.from_bytes(told, "little") if len(told) == STATUS_BYTES else own_status


def _look_after(program_pid: int, status_fd: int) -> NoReturn:
    kernel.name_process(_KEEPER_NAME)
    for name in os.listdir("/proc/self/fd"):
        if int(name) != status_fd:
            _close(int(name))
    while True:
        number = signal.sigwaitinfo(kernel.ALL_SIGNALS).si_signo
        if number == signal.SIGCHLD:
            _reap(program_pid, status_fd)
        else:
            os.kill(program_pid, number)


def _reap(program_pid: int, status_fd: int) -> None:
    """Ends this process with the program."""
    while True:
        ended_pid, status = os.waitpid(-1, os.WNOHANG)
        if ended_pid == program_pid:
            _end_the_rest()
            os.write(status_fd, status.to_bytes(STATUS_BYTES, "little"))
            os._exit(max(0, os.waitstatus_to_exitcode(status)))
        if ended_pid == 0:
            return


def _end_the_rest() -> None:
    """What a namespace that ends with its PID 1 does by itself."""
    while left := kernel.child_pids():
        if len(kernel.kill_all(left)) == len(left):  # they changed their user: out of reach
            return
        os.waitpid(-1, 0)


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return  # the listing's own

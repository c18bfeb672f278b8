"""What turns a fresh fork of the warm parent into a container: the few steps between fork and the program.

    fork ─► own session ─► dies with the parent ─► inherits its orphans ─► files closed, its streams put in place
         ─► folder, environment ─► "I am up" (the report pipe closes) ─► exec, or call the Python function

With `isolation` the fork goes into the container's namespaces first (isolation.py). Without it, the first process is
the subreaper of everything it starts, as PID 1 is in a container: what its programs leave behind becomes its child, so
a container is always one tree below its first process. A Python program ends with the return of its function: output is
flushed, `atexit` handlers and daemon threads are not waited for.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import gc
import importlib
import inspect
import os
import signal
import socket
import sys
import termios
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from petset.cluster.api.cri import START_ERROR_EXIT_CODE
from petset.cluster.node import kernel, syscall_filter
from petset.cluster.node.isolation import OUTSIDE, Isolation, become_isolated, become_kept, join_container
from petset.cluster.node.users import become_user

_DESCRIPTORS_END = os.sysconf("SC_OPEN_MAX")

WATCHER = -1
"""Among a launch's targets: no descriptor of the program's, but where the listener of its filter is sent to."""


@dataclass(frozen=True)
class Launch:
    """One process tree to start: `python` (`module:function`, called with `argv` as sys.argv) or else exec of `argv`.

    `stdio` says, for each descriptor that comes along (warm_link.py), which of the program's it becomes; without any,
    output is captured (see warm_loop.OUTPUT_BYTES). With `tty` its stdin is a terminal, and becomes the controlling
    one. `inside` names the container that a command belongs to; it ends with it. `user` is whom it takes itself for
    (users.py). With `isolation` it lives in namespaces, a command in those of its container.
    """

    id: str
    argv: tuple[str, ...]
    cwd: str
    python: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    stdio: tuple[tuple[int, ...], ...] = ()
    tty: bool = False
    inside: str = ""
    user: str = ""
    isolation: Isolation | None = None

    @property
    def joins(self) -> str:
        """The container among whose processes it is to live; "" for processes of its own."""
        return self.inside or (self.isolation.processes_of if self.isolation else "")

    def to_message(self) -> dict[str, Any]:
        isolation = self.isolation and {**vars(self.isolation), "root": vars(self.isolation.root)}
        return {**vars(self), "isolation": isolation}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Launch:
        stdio = tuple(tuple(targets) for targets in message["stdio"])
        isolation = Isolation.from_message(message["isolation"]) if message["isolation"] else None
        return cls(**{**message, "argv": tuple(message["argv"]), "stdio": stdio, "isolation": isolation})


class IsolationFailed(Exception):
    """The container's surroundings cannot be made: a mount, mostly."""


@dataclass(frozen=True)
class Birth:
    """What a fresh fork is given: `descriptors` (the program's number -> ours) become its stdin, stdout and stderr.

    `status_fd` is for the end of a program with a keeper; `container_pid` is the container that a command joins.
    """

    parent_pid: int
    descriptors: Mapping[int, int]
    report_fd: int
    status_fd: int = -1
    container_pid: int = 0


def become(launch: Launch, birth: Birth) -> NoReturn:
    """Never returns. A start that fails is told on the report pipe in words; an empty report means success."""
    report_fd = birth.report_fd
    try:
        parent_pid = _isolate(launch.isolation, birth) if launch.isolation else birth.parent_pid
        _settle(launch, parent_pid=parent_pid, descriptors=birth.descriptors, report_fd=report_fd)
        if launch.python:
            for name, value in launch.env.items():  # `update` costs a fork 40 pages of memory
                os.environ[name] = value
            os.close(report_fd)
            _run_python(launch.python)
        os.execvpe(launch.argv[0], launch.argv, {**os.environ, **launch.env})
    except IsolationFailed as error:
        os.write(report_fd, str(error).encode()[:4096])
    except (OSError, ValueError) as error:
        os.write(report_fd, _start_error(launch, error).encode()[:4096])
    except BaseException:
        os.write(report_fd, traceback.format_exc(limit=3).encode()[:4096])
    finally:
        os._exit(START_ERROR_EXIT_CODE)


def _isolate(isolation: Isolation, birth: Birth) -> int:
    """Go where the program is to live; the process id of the parent as seen from there."""
    try:
        if birth.container_pid:
            join_container(birth.container_pid)
            return birth.parent_pid if isolation.host_processes else OUTSIDE
        if isolation.needs_keeper:
            return become_kept(isolation, status_fd=birth.status_fd, warm_parent_pid=birth.parent_pid)
        become_isolated(isolation)
        return OUTSIDE
    except OSError as error:
        raise IsolationFailed(f"cannot set up the container: {error}") from error


def _settle(launch: Launch, *, parent_pid: int, descriptors: Mapping[int, int], report_fd: int) -> None:
    os.setsid()
    os.umask(0o022)
    if launch.user:
        become_user(launch.user, own_network=launch.isolation is not None)
    kernel.die_with_parent(signal.SIGKILL, parent_pid)
    if launch.isolation is None:
        kernel.become_subreaper()
    kernel.name_process(launch.title)
    _reset_signals(for_exec=not launch.python)
    watcher = descriptors.get(WATCHER, -1)
    for target, descriptor in descriptors.items():
        if target != WATCHER:
            os.dup2(descriptor, target)
    _close_all_but(report_fd, watcher)
    if launch.tty:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(launch.cwd)
    sys.argv = [*launch.argv]
    if watcher >= 0:
        _go_under_watch(watcher)


def _go_under_watch(watcher: int) -> None:
    """From here on somebody is asked about changes to files (disk_watch.py)."""
    listener = syscall_filter.install()
    with socket.socket(fileno=watcher) as line:
        socket.send_fds(line, [b"."], [listener])
    os.close(listener)


def _reset_signals(*, for_exec: bool) -> None:
    """The warm parent has no handlers of its own, and ignores what Python does; other programs expect to die of it."""
    if for_exec:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    kernel.unblock_signals()


def _close_all_but(*kept: int) -> None:
    """Every other descriptor from 3 on, without a list of them."""
    first = 3
    for descriptor in sorted(number for number in kept if number >= first):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, _DESCRIPTORS_END)


def _run_python(target: str) -> NoReturn:
    gc.freeze()  # else the first collection would write to all that the warm parent has made since its own
    gc.enable()
    exit_code = 1
    try:
        exit_code = _call(target)
    except BaseException:
        traceback.print_exc()
    finally:
        _flush_and_exit(exit_code)


def _call(target: str) -> int:
    """The exit code of the function: what it returns or gives to sys.exit, by Python's own rules."""
    module, _, name = target.partition(":")
    try:
        function = getattr(sys.modules.get(module) or importlib.import_module(module), name)
        result = asyncio.run(function()) if inspect.iscoroutinefunction(function) else function()
    except SystemExit as end:
        result = end.code
    if result is None or isinstance(result, int):
        return int(result or 0) & 0xFF
    print(result, file=sys.stderr)
    return 1


def _flush_and_exit(exit_code: int) -> NoReturn:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # the program closed its output, or the disk is full
        exit_code = exit_code or 120  # what Python itself exits with when that flush fails
    finally:
        os._exit(exit_code)


def _start_error(launch: Launch, error: OSError | ValueError) -> str:
    """In the words of runc, which users of Kubernetes know."""
    program = launch.argv[0] if launch.argv else ""
    if not isinstance(error, OSError):
        return f'exec: "{program}": {error}'
    reason = (error.strerror or str(error)).lower()
    if error.filename == launch.cwd:
        return f'chdir to cwd ("{launch.cwd}"): {reason}'
    if error.errno == errno.ENOENT and "/" not in program:
        return f'exec: "{program}": executable file not found in $PATH'
    return f'exec: "{program}": {reason}'

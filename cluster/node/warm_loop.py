"""The warm parent's loop: forks containers, passes signals on, reports ends (warm_parent.py has the whole picture).

    channel ─► launch: fork, wait for the report pipe ─► "started" or "failed"
    SIGCHLD ─► reap ─► kill orphans until none is left ─► "exited"
    pipe    ─► the first OUTPUT_BYTES of a captured output

Single-threaded: a process id cannot be reused between looking it up and signalling it, for only this loop reaps.

Messages in: `{"do": "preload", "modules": […]}` first, then `{"do": "launch", …Launch}` and
`{"do": "signal", "id", "signal"}`. Out: `{"did": "ready", "pid"}`, `{"did": "started", "id", "pid"}`,
`{"did": "failed", "id", "error"}` and `{"did": "exited", "id", "exit_code", "signal", "output"}`; bytes travel as
latin-1 text. The descriptors of a launch with `stdio` come over a socket of their own, in one packet sent just before
its message. What goes wrong in here is told on stderr, the node's warm-parent.log.
"""

from __future__ import annotations

import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

from petset.cluster.node import kernel
from petset.cluster.node.frames import FrameDecoder, encode
from petset.cluster.node.isolation import (
    children_in_new_process_namespace,
    children_in_process_namespace_of,
    program_status,
)
from petset.cluster.node.launch import Birth, Launch, become
from petset.cluster.node.pod_root import interpreter_folders

OUTPUT_BYTES = 10 * 1024
"""How much of a captured output is kept, its beginning; the rest is read and dropped."""

ORPHAN_SECONDS = 2.0


@dataclass
class _Child:
    """A first process that has not been reaped. `pipe` and `output` are of a captured output; -1 without one."""

    launch: Launch
    pid: int
    pipe: int = -1
    output: bytearray = field(default_factory=bytearray)
    status_pipe: int = -1
    """Where a keeper tells how its program ended; -1 without one."""


def serve(channel_fd: int, passing_fd: int) -> None:
    """Serve the machine at the other end until it hangs up. Raises BrokenPipeError when that is while we speak."""
    with socket.socket(fileno=channel_fd) as channel, socket.socket(fileno=passing_fd) as passing:
        WarmParent(channel, passing).serve()


class WarmParent:
    """Serves one machine over one socket until it closes; its children then die with it.

    `passing` brings the descriptors of launches.
    """

    def __init__(self, channel: socket.socket, passing: socket.socket) -> None:
        self._channel = channel
        self._passing = passing
        self._decoder = FrameDecoder()
        self._selector = selectors.DefaultSelector()
        self._children: dict[str, _Child] = {}
        self._ended: list[tuple[_Child, int]] = []
        """Reaped, with their wait status, but not reported while something of theirs may live."""
        self._report_anyway_at = 0.0
        self._untouchable: set[int] = set()

    def serve(self) -> None:
        """SIGCHLD and SIGTERM are blocked."""
        signals = kernel.open_signals((signal.SIGCHLD, signal.SIGTERM))
        self._selector.register(self._channel, selectors.EVENT_READ)
        self._selector.register(signals, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select(kernel.LOOK_AGAIN_SECONDS if self._ended else None):
                if key.fd == signals:
                    if signal.SIGTERM in kernel.take_signals(signals):
                        kernel.end_all_children()
                        return
                elif key.fileobj is self._channel:
                    if not self._receive():
                        return
                else:
                    self._read_output(key.data)
            self._reap()
            self._report_ended()

    def _receive(self) -> bool:
        data = self._channel.recv(65536)
        for message in self._decoder.feed(data):
            match message.pop("do"):
                case "preload":
                    preload(message["modules"])
                    settle_down()
                    self._send({"did": "ready", "pid": os.getpid()})
                case "launch":
                    self._launch(Launch.from_message(message))
                case "signal":
                    self._signal(message["id"], message["signal"])
        return bool(data)

    def _send(self, message: dict[str, Any]) -> None:
        self._channel.sendall(encode(message))

    # -- starting -------------------------------------------------------------------------------------------------

    def _launch(self, launch: Launch) -> None:
        passed = socket.recv_fds(self._passing, 1, len(launch.stdio))[1] if launch.stdio else []
        try:
            self._launch_with(launch, passed)
        finally:
            for descriptor in passed:
                os.close(descriptor)

    def _launch_with(self, launch: Launch, passed: list[int]) -> None:
        if (host := launch.joins) and host not in self._children:
            self._send({"did": "failed", "id": launch.id, "error": "the container is not running"})
            return
        try:
            child, error = self._fork(launch, passed)
        except OSError as failure:  # no more processes or descriptors
            self._send({"did": "failed", "id": launch.id, "error": f"fork: {failure.strerror}"})
            return
        if error:
            os.waitpid(child.pid, 0)
            self._close_output(child)
            _close_if_open(child.status_pipe)
            self._send({"did": "failed", "id": launch.id, "error": error})
            return
        self._children[launch.id] = child
        if child.pipe >= 0:
            self._selector.register(child.pipe, selectors.EVENT_READ, child)
        self._send({"did": "started", "id": launch.id, "pid": child.pid})

    def _fork(self, launch: Launch, passed: list[int]) -> tuple[_Child, str]:
        """The new child and what went wrong on its way to the program, if anything."""
        descriptors = {target: own for own, targets in zip(passed, launch.stdio, strict=True) for target in targets}
        container_pid = self._children[launch.inside].pid if launch.inside else 0
        with ExitStack() as undo, ExitStack() as theirs:
            output, output_fd = (-1, -1) if launch.stdio else _pipe(undo, theirs)
            captured = {} if launch.stdio else {1: output_fd, 2: output_fd}
            report, report_fd = _pipe(undo, theirs)
            status, status_fd = _pipe(undo, theirs) if has_keeper(launch) else (-1, -1)
            birth = Birth(os.getpid(), descriptors | captured, report_fd, status_fd, container_pid)
            with self._process_namespace(launch):
                pid = kernel.bare_fork() if has_keeper(launch) else os.fork()
                if pid == 0:
                    become(launch, birth)
            undo.pop_all()
        if output >= 0:
            os.set_blocking(output, False)
        with os.fdopen(report, "rb") as file:  # ends when the child closes it, or execs
            error = file.read().decode(errors="replace")
        return _Child(launch, pid, output, status_pipe=status), error

    def _process_namespace(self, launch: Launch) -> AbstractContextManager[None]:
        """Where the next child's process id lives."""
        if launch.isolation is None or (launch.isolation.host_processes and not launch.inside):
            return nullcontext()
        if launch.joins:
            return children_in_process_namespace_of(self._children[launch.joins].pid)
        return children_in_new_process_namespace()

    # -- ending ---------------------------------------------------------------------------------------------------

    def _signal(self, child_id: str, number: int) -> None:
        child = self._children.get(child_id)
        if child is None:
            return
        try:
            if number == signal.SIGKILL:
                os.killpg(child.pid, number)  # the whole group at once; who left it is found as an orphan
            else:
                os.kill(child.pid, number)
        except OSError as error:  # it changed its user
            print(f"cannot signal {child.launch.title} ({child.pid}): {error}", file=sys.stderr, flush=True)

    def _reap(self) -> None:
        by_pid = {child.pid: child for child in self._children.values()}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._untouchable.discard(pid)
            if child := by_pid.get(pid):
                self._bury(child, status)

    def _bury(self, child: _Child, status: int) -> None:
        del self._children[child.launch.id]
        if child.status_pipe >= 0:
            status = program_status(child.status_pipe, status)
            os.close(child.status_pipe)
        if not self._ended:
            self._report_anyway_at = time.monotonic() + ORPHAN_SECONDS
        self._ended.append((child, status))
        for other in self._children.values():
            if other.launch.inside == child.launch.id:
                self._signal(other.launch.id, signal.SIGKILL)

    def _report_ended(self) -> None:
        if not self._ended or (self._kill_orphans() and time.monotonic() < self._report_anyway_at):
            return
        ended, self._ended = self._ended, []
        for child, status in ended:
            if child.pipe >= 0:
                self._read_output(child)
                self._close_output(child)
            code = os.waitstatus_to_exitcode(status)
            self._send(
                {
                    "did": "exited",
                    "id": child.launch.id,
                    "exit_code": code if code >= 0 else 128 - code,
                    "signal": max(0, -code),
                    "output": child.output.decode("latin-1"),
                }
            )

    def _kill_orphans(self) -> bool:
        """Kill what ended containers left behind; True while there is some."""
        known = {child.pid for child in self._children.values()} | self._untouchable
        orphans = [pid for pid in kernel.child_pids() if pid not in known]
        self._untouchable.update(kernel.kill_all(orphans))
        return bool(orphans)

    # -- captured output ------------------------------------------------------------------------------------------

    def _read_output(self, child: _Child) -> None:
        """Keep the beginning. Reads no more than a pipe holds at a time, so that nobody can keep us here."""
        try:
            data = os.read(child.pipe, 1024 * 1024)
        except BlockingIOError:
            return
        child.output += data[: OUTPUT_BYTES - len(child.output)]
        if not data:
            self._close_output(child)

    def _close_output(self, child: _Child) -> None:
        if child.pipe >= 0:
            if child.pipe in self._selector.get_map():
                self._selector.unregister(child.pipe)
            os.close(child.pipe)
            child.pipe = -1


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    """(the end to read from, the end to write to), each closed with its stack."""
    reading, writing = os.pipe()
    ours.callback(os.close, reading)
    theirs.callback(os.close, writing)
    return reading, writing


def _close_if_open(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


def has_keeper(launch: Launch) -> bool:
    """Whether the next fork only looks after another one, the program's (isolation.py)."""
    return launch.isolation is not None and not launch.inside and launch.isolation.needs_keeper


def preload(modules: Iterable[str]) -> None:
    """Import the guests and make everything loaded so far permanent, so that forks share its memory.

    A guest that cannot be imported is its own containers' failure; here it goes to the log.
    """
    gc.disable()
    for name in modules:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit):
            print(f"cannot preload {name}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
    if "aiohttp" in sys.modules:
        _warm_up()
    interpreter_folders()
    gc.collect()
    gc.freeze()


def settle_down() -> None:
    """What every container begins with: output line by line, and nothing of this process's environment but PATH."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a TextIOWrapper, as Python starts with
    path = os.environ.get("PATH", os.defpath)
    os.environ.clear()
    os.environ["PATH"] = path


def _warm_up() -> None:
    from petset.cluster.node.warm_up import warm_up  # not at the top: it loads aiohttp

    try:
        warm_up()
    except OSError as error:
        print(f"pods will start slower: {error}", file=sys.stderr, flush=True)

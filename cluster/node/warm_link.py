"""The machine's end of a warm parent (warm_parent.py): one `WarmLink` is one life of one warm parent.

    boot ─► ready ─► launch, signal … ─► the channel ends ─► everything launched here counts as killed

The channel's end *is* the death notice: the kernel closes it when the warm parent dies, whatever the reason. The link
then waits for the guard, which ends after the last process of that life, so that whoever boots a successor finds no
port, lock or file still held. What outlived both of them, for they were killed at the same moment, falls to the machine
where that is a subreaper (actors/node.py), and is ended here.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from petset.cluster.api.cri import START_ERROR_EXIT_CODE, RuntimeFailure
from petset.cluster.node import kernel
from petset.cluster.node.frames import FrameDecoder, encode
from petset.cluster.node.launch import Launch

GUARD_SECONDS = 10.0
"""How long the guard may take to clean up before it is killed itself."""
INHERITED_SECONDS = 5.0


@dataclass(frozen=True)
class Exit:
    """How a process ended. `start_error` is set when its program never ran."""

    exit_code: int
    signal: int = 0
    message: str = ""
    start_error: str = ""
    output: bytes = b""


@dataclass
class Process:
    """A launched process tree. `started` resolves, with the pid or 0, in any case; `ended` when all of it is gone."""

    id: str
    started: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    ended: asyncio.Future[Exit] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def end(self, how: Exit) -> None:
        if not self.started.done():
            self.started.set_result(0)
        if not self.ended.done():
            self.ended.set_result(how)


class WarmLink:
    """Made by `boot`; `wait_dead` is to be awaited by whoever supervises it."""

    def __init__(
        self,
        guard: subprocess.Popen[bytes],
        passing: socket.socket,
        *,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._guard = guard
        self._passing = passing
        self._reader = reader
        self._writer = writer
        self._decoder = FrameDecoder()
        self._processes: dict[str, Process] = {}
        self._ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(), name="warm parent's messages")

    @classmethod
    async def boot(cls, *, log: Path, modules: Sequence[str]) -> WarmLink:
        """Start a warm parent and wait until it is ready. Raises RuntimeFailure when it ends before that.

        Must be called on a thread that lives as long as the machine: the event loop's.
        """
        ours, theirs = socket.socketpair()
        passing, their_passing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        passing.setblocking(False)
        try:
            guard = _spawn(theirs, their_passing, log=log)
        except OSError as error:
            ours.close()
            passing.close()
            raise RuntimeFailure(f"cannot start the container runtime: {error}") from error
        finally:
            theirs.close()
            their_passing.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        link = cls(guard, passing, reader=reader, writer=writer)
        link._send({"do": "preload", "modules": [*modules]})
        try:
            await link._ready
        except BaseException:
            await link.close()
            raise
        return link

    @property
    def pid(self) -> int:
        """The warm parent's process."""
        return self._ready.result()

    @property
    def guard_pid(self) -> int:
        """The process below which everything of this life is."""
        return self._guard.pid

    @property
    def first_pids(self) -> frozenset[int]:
        """The first process of everything launched here that has not ended, commands included."""
        return frozenset(each.started.result() for each in self._processes.values() if each.started.done())

    def launch(self, launch: Launch, descriptors: Sequence[int] = ()) -> Process:
        """Start a process tree; answers at once. Raises RuntimeFailure when that life is over.

        `descriptors` go with `launch.stdio`; they stay the caller's to close.
        """
        if self._reading.done():
            raise RuntimeFailure(f"cannot start {launch.title}: the container runtime died")
        process = Process(launch.id)
        try:
            message = encode({"do": "launch", **launch.to_message()})
            if descriptors:  # before the message that needs them, and only if that can be sent
                socket.send_fds(self._passing, [b"."], [*descriptors])
            self._writer.write(message)
        except (ValueError, OSError) as error:
            raise RuntimeFailure(f"cannot start {launch.title}: {error}") from error
        self._processes[launch.id] = process
        return process

    def signal(self, process_id: str, number: int) -> None:
        """Signal the first process; SIGKILL ends the tree. Unknown ids are no error."""
        if process_id in self._processes:
            self._send({"do": "signal", "id": process_id, "signal": number})

    async def wait_dead(self) -> None:
        """Until the warm parent and all it started are gone."""
        await asyncio.wait([self._reading])
        await self._bury()
        self._reading.result()

    async def close(self) -> None:
        """End the warm parent and everything it started."""
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await self._bury()

    async def _bury(self) -> None:
        self._writer.transport.abort()
        self._passing.close()
        self._guard.terminate()
        await asyncio.to_thread(self._wait_guard)
        if kernel.is_subreaper():
            await asyncio.to_thread(kernel.end_inherited_children, INHERITED_SECONDS)
        for process in [*self._processes.values()]:
            process.end(_died())
        self._processes.clear()

    def _wait_guard(self) -> None:
        try:
            self._guard.wait(GUARD_SECONDS)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()

    def _send(self, message: dict[str, Any]) -> None:
        self._writer.write(encode(message))

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(65536):
                for message in self._decoder.feed(data):
                    self._handle(message)
        except ConnectionError:  # it died with our messages unread
            pass
        finally:
            if not self._ready.done():
                self._ready.set_exception(RuntimeFailure("the container runtime died while it started"))

    def _handle(self, message: dict[str, Any]) -> None:
        match message["did"]:
            case "ready":
                self._ready.set_result(message["pid"])
            case "started":
                self._processes[message["id"]].started.set_result(message["pid"])
            case "failed":
                error = message["error"]
                how = Exit(START_ERROR_EXIT_CODE, message=error, start_error=error)
                self._processes.pop(message["id"]).end(how)
            case "exited":
                how = Exit(message["exit_code"], message["signal"], output=message["output"].encode("latin-1"))
                self._processes.pop(message["id"]).end(how)


def _spawn(theirs: socket.socket, their_passing: socket.socket, *, log: Path) -> subprocess.Popen[bytes]:
    """Exec a fresh Python: never a fork of this process, which may hold threads, locks and Ray."""
    search_path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # slows every pod
    numbers = [theirs.fileno(), their_passing.fileno()]
    with log.open("ab") as stderr:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "petset.cluster.node.warm_parent", *map(str, numbers), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=environment | {"PYTHONPATH": search_path},
            pass_fds=numbers,
            start_new_session=True,
        )


def _died() -> Exit:
    return Exit(128 + signal.SIGKILL, signal.SIGKILL, message="the node's container runtime died")

"""The streams of a container's first process: its output goes to its log and to whoever is attached.

    stdout ─► pump ─► log (log_file.py) ─► each attached client, one after the other
    stderr ─► pump ─┘
    stdin  ◄─────────────────────────────── attached clients

A client that does not read holds the container back (its pipe fills), as with containerd: output that an attached
client was promised is neither lost nor kept in memory. When the client goes, the container goes on. A container with
`stdinOnce` is made for one client, as `kubectl run -i` does, who cannot be there from the first moment: it hears what
was said before it came, up to EARLY_BYTES (with containerd that is lost). The output's end, `done`, is the end of
every process that held it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any

from petset.cluster.node.descriptors import Stdio, read_some
from petset.cluster.node.log_file import LogFile
from petset.cluster.streaming.frames import STDERR, STDOUT

Listener = Callable[[int, bytes], Awaitable[None]]
"""Takes (channel, data) of every piece of output. Raises ConnectionError when nobody listens any more."""

EARLY_BYTES = 64 * 1024

_NAMES = {STDOUT: "stdout", STDERR: "stderr"}


class ContainerIo:
    """Pumps from its making until the output's end; `close` ends it before that. Needs a running loop."""

    def __init__(self, stdio: Stdio, log: LogFile, *, stdin_once: bool, name: str) -> None:
        self.stdio = stdio
        self.log = log
        self.stdin_once = stdin_once
        self._listeners: list[Listener] = []
        self._early: list[tuple[int, bytes]] = []
        self._keeps_early = stdin_once
        pumps = [self._pump(channel, descriptor) for channel, descriptor in stdio.outputs.items()]
        self._work = asyncio.create_task(self._run(pumps), name=f"output of {name}")
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._work.add_done_callback(self._finish)

    @contextlib.asynccontextmanager
    async def attached(self, listener: Listener) -> AsyncIterator[None]:
        """Output goes to `listener` as well, from now on until the block's end or its ConnectionError."""
        while self._early:
            await listener(*self._early.pop(0))
        self._keeps_early = False
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._leave(listener)

    def close(self) -> None:
        """Stop pumping; what was not read is lost."""
        self._work.cancel()

    async def _run(self, pumps: Sequence[Coroutine[Any, Any, None]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for pump in pumps:
                tasks.create_task(pump)

    async def _pump(self, channel: int, descriptor: int) -> None:
        while data := await read_some(descriptor):
            self.log.write(_NAMES[channel], data)
            self._keep_early(channel, data)
            for listener in [*self._listeners]:
                try:
                    await listener(channel, data)
                except ConnectionError:
                    self._leave(listener)

    def _keep_early(self, channel: int, data: bytes) -> None:
        if self._keeps_early:
            self._early.append((channel, data))
            if sum(len(each) for _, each in self._early) > EARLY_BYTES:
                self._keeps_early = False
                self._early.clear()

    def _leave(self, listener: Listener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _finish(self, work: asyncio.Task[None]) -> None:
        self.stdio.close()
        self.log.finish()
        self.done.set_result(None)
        if not work.cancelled() and (error := work.exception()):
            context = {"message": "a container's output is lost", "exception": error}
            work.get_loop().call_exception_handler(context)

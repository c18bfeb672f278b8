"""The machine's side of exec and attach: a program's streams on one connection of frames (streaming/frames.py).

    connection ─► 0 stdin, 4 terminal size, 255 "end of 0" ─► the program
               ◄─ 1 stdout, 2 stderr ◄───────────────────── the program
               ◄─ 3 Status, once everything before it is sent; then the end

A command of exec is a program of the host in the container's environment, folder and process tree; without a
terminal it has pipes. A client that goes away ends its command (the real one may leave it running), never a
container; the end of its input ends a command's, and a container's only under `stdinOnce`. An attached client's
session ends with Success whatever the container's exit code: kubectl reads that from the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from petset.cluster.node.container_io import ContainerIo
from petset.cluster.node.descriptors import Stdio, read_some
from petset.cluster.node.warm_link import Process
from petset.cluster.streaming.frames import (
    CLOSE,
    RESIZE,
    STDIN,
    end_of,
    exited,
    failed,
    frame,
    read_frames,
    succeeded,
)

MAX_TERMINAL_SIZE = 0xFFFF


class Connection:
    """One client on one connection of frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, channel: int, data: bytes) -> None:
        """Wait until the client takes it. Raises ConnectionError."""
        self._writer.write(frame(channel, data))
        await self._writer.drain()

    async def end(self, status: bytes) -> None:
        """The last frame."""
        self._writer.write(status)
        await self._writer.drain()

    async def feed(self, stdio: Stdio, *, to_its_end: bool) -> None:
        """Pass the client's input on until it goes away, and with `to_its_end` also that there is no more."""
        async for channel, data in read_frames(self._reader):
            if channel == STDIN:
                await stdio.write(data)
            elif channel == RESIZE and (size := terminal_size(data)):
                stdio.resize(*size)
            elif to_its_end and (channel, data) == (CLOSE, end_of(STDIN)[-1:]):
                stdio.end_input()


async def serve_command(connection: Connection, process: Process, stdio: Stdio, kill: Callable[[], None]) -> None:
    """Run until the command has ended and its output is sent, or the client went away."""
    feeding = asyncio.create_task(connection.feed(stdio, to_its_end=True), name="input")
    sending = [
        asyncio.create_task(_send_output(connection, channel, descriptor), name="output")
        for channel, descriptor in stdio.outputs.items()
    ]
    try:
        await _first_of(asyncio.shield(process.ended), feeding)
        if not process.ended.done():
            return
        for task in sending:
            await _first_of(task, feeding)
        how = process.ended.result()
        if all(task.done() for task in sending):
            problem = f"error executing command in container: failed to exec in container: {how.start_error}"
            await connection.end(failed(problem) if how.start_error else exited(how.exit_code))
    finally:
        kill()
        for task in (feeding, *sending):
            task.cancel()
        await asyncio.gather(feeding, *sending, return_exceptions=True)
        stdio.close()


async def serve_attached(connection: Connection, io: ContainerIo, *, stdin: bool) -> None:
    """Run until the container's output ends or the client goes away."""
    gone = asyncio.Event()

    async def listen(channel: int, data: bytes) -> None:
        if gone.is_set():
            raise ConnectionResetError
        await connection.send(channel, data)

    feed = connection.feed(io.stdio if stdin else _NO_STDIO, to_its_end=io.stdin_once)
    feeding = asyncio.create_task(feed, name="input")
    try:
        async with io.attached(listen):
            await _first_of(asyncio.shield(io.done), feeding)
        if io.done.done():
            await connection.end(succeeded())
    finally:
        gone.set()
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        if stdin and io.stdin_once:
            io.stdio.end_input()


def terminal_size(message: bytes) -> tuple[int, int] | None:
    """(columns, rows) of a resize message; None when it makes no sense."""
    try:
        size = json.loads(message)
        columns, rows = int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError):
        return None
    return (columns, rows) if 0 < columns <= MAX_TERMINAL_SIZE and 0 < rows <= MAX_TERMINAL_SIZE else None


_NO_STDIO = Stdio((), (), stdin=-1, outputs={})


async def _send_output(connection: Connection, channel: int, descriptor: int) -> None:
    with contextlib.suppress(ConnectionError):  # the input's end says the same
        while data := await read_some(descriptor):
            await connection.send(channel, data)


async def _first_of(*waited: asyncio.Future[Any]) -> None:
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)

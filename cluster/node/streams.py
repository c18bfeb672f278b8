"""The machine's streaming server: exec, attach and logs, each on a socket of its own.

A request is checked at once; then a task serves the machine's end of a socket pair until either side ends it. Bounds:
MAX_STREAMS at a time; per stream one piece of data and the socket's buffers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from itertools import count

from petset.cluster.api.cri import AttachRequest, ExecRequest, LogRequest, RuntimeFailure
from petset.cluster.node.containers import Container, command_launch
from petset.cluster.node.descriptors import open_stdio
from petset.cluster.node.exec import Connection, serve_attached, serve_command
from petset.cluster.node.log_file import LogFile
from petset.cluster.node.log_reader import read_log
from petset.cluster.node.warm_link import WarmLink
from petset.cluster.streaming.frames import READ_BUFFER_BYTES, STDOUT, succeeded

MAX_STREAMS = 256
_KILL = 9

log = logging.getLogger(__name__)

Service = Callable[[Connection], Awaitable[None]]


class StreamServer:
    """The open streams of one machine."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[None]] = set()
        self._numbers = count(1)

    def run(self, link: WarmLink, container: Container, request: ExecRequest) -> socket.socket:
        """Start a command. Raises RuntimeFailure."""
        self._admit()
        try:
            stdio = open_stdio(stdin=request.stdin, tty=request.tty)
        except OSError as error:
            raise RuntimeFailure(f"cannot run a command: {error}") from error
        number = f"stream-{next(self._numbers)}"
        launch = command_launch(container, request.command, number, stdio)
        try:
            process = link.launch(launch, stdio.theirs)
        except RuntimeFailure:
            stdio.close()
            raise
        stdio.handed_over()
        return self._serve(lambda client: serve_command(client, process, stdio, lambda: link.signal(launch.id, _KILL)))

    def attach(self, container: Container, request: AttachRequest) -> socket.socket:
        """Join a container's streams. Raises RuntimeFailure."""
        self._admit()
        return self._serve(lambda client: serve_attached(client, container.io, stdin=request.stdin))

    def log(self, file: LogFile, request: LogRequest) -> socket.socket:
        """Read a log. Raises RuntimeFailure."""
        self._admit()

        async def send_log(client: Connection) -> None:
            async for text in read_log(file, request):
                await client.send(STDOUT, text)
            await client.end(succeeded())

        return self._serve(send_log)

    async def close(self) -> None:
        """End every stream."""
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _admit(self) -> None:
        if len(self._open) >= MAX_STREAMS:
            raise RuntimeFailure(f"{MAX_STREAMS} streams are open on this machine, which is its limit")

    def _serve(self, service: Service) -> socket.socket:
        ours, theirs = socket.socketpair()
        task = asyncio.create_task(_run(service, ours), name="stream")
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        return theirs


async def _run(service: Service, ours: socket.socket) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=READ_BUFFER_BYTES)
    try:
        await service(Connection(reader, writer))
    except ConnectionError:
        return  # the client went away
    except Exception:
        log.exception("a stream failed")
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

"""Hands listening sockets from the supervisor to the actors that serve on them, over a Unix socket (SCM_RIGHTS).

    api-server actor ── "api\n" ──▶ broker (in the supervisor, <run folder>/listeners.sock)
                     ◀── "ok" + the socket ──

The supervisor binds before anything starts and keeps its copy: the port stays the cluster's while an API server is
dead, clients that connect meanwhile wait in the queue, and the recreated actor asks again. On a network of its own
(namespaces) this is also how node ports get in: a request such as `tcp 30080` borrows one (network/host_ports.py).
Only this user can reach the broker: the run folder is 0700.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from petset.cluster.network.host_ports import LENDER_SOCKET, HostPortLender

API = "api"

_TIMEOUT_SECONDS = 10.0
_NAME_BYTES = 64


class ListenerError(Exception):
    """The broker knows no listener of that name, or is gone."""


def broker_path(run_folder: str) -> Path:
    return Path(run_folder) / LENDER_SOCKET


@asynccontextmanager
async def listener_broker(run_folder: str, listeners: Mapping[str, socket.socket]) -> AsyncIterator[None]:
    """Answer requests for `listeners` (looked up at each request) until the block ends."""
    path = broker_path(run_folder)
    lender = HostPortLender()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                name = (await reader.readline()).decode().strip()
            if " " in name:
                await _lend(lender, name, reader, writer)
            else:
                _send(writer, listeners.get(name))
        except (TimeoutError, OSError):
            return  # the asker is gone; it will come again
        finally:
            writer.close()

    server = await asyncio.start_unix_server(answer, path, limit=_NAME_BYTES)
    async with server:
        yield


async def take_listener(run_folder: str, name: str) -> socket.socket:
    """The listening socket of that name, non-blocking. Raises ListenerError."""
    return await asyncio.to_thread(_ask, broker_path(run_folder), name)


async def _lend(
    lender: HostPortLender, request: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Lend a port of the host until the borrower hangs up. A refusal is answered with its errno."""
    try:
        made, give_back = lender.lend(request)
    except (OSError, ValueError, OverflowError) as error:
        writer.write(str(getattr(error, "errno", None) or errno.EINVAL).encode())
        return
    try:
        _send(writer, made)
        await reader.read()
    finally:
        give_back()


def _send(writer: asyncio.StreamWriter, listener: socket.socket | None) -> None:
    """Answer over the raw socket, because transports carry bytes only. One small message always fits its buffer."""
    with writer.get_extra_info("socket").dup() as raw:
        if listener is None:
            raw.send(b"unknown")
        else:
            socket.send_fds(raw, [b"ok"], [listener.fileno()])


def _ask(path: Path, name: str) -> socket.socket:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_SECONDS)
        try:
            connection.connect(str(path))
            connection.sendall(f"{name}\n".encode())
            answer, descriptors, _flags, _address = socket.recv_fds(connection, _NAME_BYTES, 1)
        except OSError as error:
            raise ListenerError(f"the supervisor does not answer ({error})") from error
    if answer != b"ok" or not descriptors:
        raise ListenerError(f"the supervisor has no listener named {name!r}")
    listener = socket.socket(fileno=descriptors[0])
    listener.setblocking(False)
    return listener

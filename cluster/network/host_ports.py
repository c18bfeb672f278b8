"""Ports of the host for a cluster that cannot see it: borrowed, as sockets, from whoever has stayed outside.

    service proxy ── "tcp 30080\n" ──▶ lender (the supervisor, outside)   binds 127.0.0.1:30080 for the first borrower
                  ◀── "ok" + the socket ──                                the same socket for all
                  … connection held open for as long as the port is wanted; with the last one the port is free again

    DNS forwarder ── "udp out\n" ──▶ lender: a fresh socket on the host's network, for this borrower alone and for good

Whoever dies gives back what it had borrowed: the kernel closes its connections.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
LENDER_SOCKET = "listeners.sock"
"""The lender's Unix socket, in the run folder. The supervisor's listener broker answers there."""


_BACKLOG = 512
_TIMEOUT_SECONDS = 2.0
_ANSWER_BYTES = 64
_OUTWARD = {"out": socket.AF_INET, "out6": socket.AF_INET6}
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def borrow_host_port(lender: Path, port: int, kind: socket.SocketKind, resources: ExitStack) -> socket.socket:
    """A bound (TCP: listening) non-blocking socket on the host's 127.0.0.1; given back when `resources` close.

    Raises OSError as binding it would. Blocks for less than a millisecond, unless the lender is stuck.
    """
    return _borrow(lender, f"{_name(kind)} {port}", resources)


def borrow_outward_socket(lender: Path, host: str, *, kind: socket.SocketKind) -> socket.socket:
    """A fresh non-blocking socket on the host's network, of the family that `host` needs: to reach it from there.

    Raises OSError. Blocks for less than a millisecond, unless the lender is stuck.
    """
    with ExitStack() as at_once:
        return _borrow(lender, f"{_name(kind)} {'out6' if ':' in host else 'out'}", at_once)


def _borrow(lender: Path, request: str, resources: ExitStack) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with ExitStack() as undo:
        undo.enter_context(connection)
        connection.settimeout(_TIMEOUT_SECONDS)
        connection.connect(str(lender))
        connection.sendall(f"{request}\n".encode())
        answer, descriptors, _flags, _address = socket.recv_fds(connection, _ANSWER_BYTES, 1)
        if answer != b"ok" or not descriptors:
            raise OSError(int(answer or 0), f"{request} of the host cannot be had")
        made = socket.socket(fileno=descriptors[0])
        made.setblocking(False)
        resources.push(undo.pop_all())
        return made


def _name(kind: socket.SocketKind) -> str:
    return next(name for name, each in _KINDS.items() if each == kind)


@dataclass
class _Lent:
    made: socket.socket
    borrowers: int = 0


@dataclass
class HostPortLender:
    """The other side: which ports are lent, and to how many."""

    _lent: dict[str, _Lent] = field(default_factory=dict)

    def lend(self, request: str) -> tuple[socket.socket, Callable[[], None]]:
        """The socket of a request such as `tcp 30080`, and what to call when it is given back. Raises OSError.

        Raises ValueError for anything else.
        """
        name, _, port = request.partition(" ")
        kind = _KINDS.get(name)
        if kind is None:
            raise ValueError(f"not a port: {request!r}")
        if family := _OUTWARD.get(port):
            made = socket.socket(family, kind)
            return made, made.close
        if request not in self._lent:
            self._lent[request] = _Lent(_bind(int(port), kind))
        self._lent[request].borrowers += 1
        return self._lent[request].made, lambda: self._give_back(request)

    def _give_back(self, request: str) -> None:
        lent = self._lent[request]
        lent.borrowers -= 1
        if not lent.borrowers:
            del self._lent[request]
            lent.made.close()


def _bind(port: int, kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind)
    try:
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((HOST, port))
        if kind == socket.SOCK_STREAM:
            made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made

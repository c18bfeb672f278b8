"""A small nc for containers whose machine has none: bytes from stdin to a connection, and back to stdout.

    nc HOST PORT          connect, send stdin, print what comes until the other side ends
    nc -l [-p] PORT       take one connection (-k: one after the other) and do the same
    nc -z HOST PORT       only look whether somebody listens
    -u UDP   -v say what happens   -w SECONDS give up after such a silence   -N, -n, -q N are taken and mean nothing

Names are resolved by the pod's resolv.conf. Exit code 0, or 1 when nobody answers. Listens on PET_BIND where a pod has
no network of its own.
"""

from __future__ import annotations

import asyncio
import getopt
import os
import selectors
import socket
import sys
from dataclasses import dataclass

from petset.petapp import lookup

CHUNK_BYTES = 1 << 16
USAGE = "usage: nc [-uvz] [-w SECONDS] HOST PORT | nc -l [-kuv] [-w SECONDS] [-p] PORT"


@dataclass(frozen=True)
class Wish:
    """What the command line asks for; `timeout_seconds` None waits for ever."""

    host: str
    port: int
    listens: bool = False
    again: bool = False
    looks: bool = False
    udp: bool = False
    verbose: bool = False
    timeout_seconds: float | None = None


def nc(arguments: list[str]) -> int:
    """Run it; the exit code."""
    try:
        wish = parse(arguments)
    except ValueError as error:
        print(f"nc: {error}\n{USAGE}", file=sys.stderr)
        return 1
    try:
        return _listen(wish) if wish.listens else _connect(wish)
    except OSError as error:
        if wish.verbose or not wish.looks:
            print(f"nc: {wish.host or ''}:{wish.port}: {error.strerror or error}", file=sys.stderr)
        return 1


def parse(arguments: list[str]) -> Wish:
    """Raises ValueError."""
    try:
        pairs, words = getopt.gnu_getopt(arguments, "lkp:zvuw:Nnq:")
    except getopt.GetoptError as error:
        raise ValueError(str(error)) from error
    options = dict(pairs)
    listens = "-l" in options
    if listens and "-p" in options:
        words = [*words, options["-p"]]
    if len(words) != (1 if listens else 2):
        raise ValueError("a port is needed" if listens else "a host and a port are needed")
    if not words[-1].isdigit() or not 0 < int(words[-1]) < 65536:
        raise ValueError(f"{words[-1]!r} is not a port")
    seconds = float(options["-w"]) if "-w" in options else None
    return Wish(
        host="" if listens else words[0], port=int(words[-1]), listens=listens, again="-k" in options,
        looks="-z" in options, udp="-u" in options, verbose="-v" in options, timeout_seconds=seconds,
    )  # fmt: skip


def relay(connection: socket.socket, timeout_seconds: float | None, *, source: int = 0, sink: int = 1) -> None:
    """Both ways, until the other side ends, or nothing comes for so long. Raises OSError."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ, connection)
        try:
            selector.register(source, selectors.EVENT_READ)
        except PermissionError:  # a file, which is always readable: no selector takes it
            while data := os.read(source, CHUNK_BYTES):
                connection.sendall(data)
            _end_sending(connection)
        while ready := selector.select(timeout_seconds):
            for key, _ in ready:
                if key.data is connection:
                    data = connection.recv(CHUNK_BYTES)
                    if not data:
                        return
                    os.write(sink, data)
                elif data := os.read(source, CHUNK_BYTES):
                    connection.sendall(data)
                else:
                    selector.unregister(source)
                    _end_sending(connection)


def _end_sending(connection: socket.socket) -> None:
    if connection.type == socket.SOCK_STREAM:
        connection.shutdown(socket.SHUT_WR)


def _connect(wish: Wish) -> int:
    address = asyncio.run(lookup.address_of(wish.host))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if wish.udp else socket.SOCK_STREAM) as made:
        made.settimeout(wish.timeout_seconds)
        made.connect((address, wish.port))
        if wish.verbose:
            kind = "udp" if wish.udp else "tcp"
            print(f"Connection to {wish.host} {wish.port} port [{kind}/*] succeeded!", file=sys.stderr)
        if not wish.looks:
            relay(made, wish.timeout_seconds)
    return 0


def _listen(wish: Wish) -> int:
    place = (os.environ.get("PET_BIND") or "0.0.0.0", wish.port)
    if wish.udp:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.bind(place)
            made.connect(made.recvfrom(CHUNK_BYTES, socket.MSG_PEEK)[1])
            relay(made, wish.timeout_seconds)
        return 0
    with socket.create_server(place) as listener:
        listener.settimeout(wish.timeout_seconds)
        while True:
            connection, peer = listener.accept()
            if wish.verbose:
                print(f"Connection received on {peer[0]} {peer[1]}", file=sys.stderr)
            with connection:
                relay(connection, wish.timeout_seconds)
            if not wish.again:
                return 0

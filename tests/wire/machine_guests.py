"""Trivial guests for the machine's tests. Each process calls home and keeps the line open: its death hangs up.

    guest ── "name pid namespace\n" ──► HOME (host:port, served by the test) … end of stream = the process is gone

Imported by the warm parent, so it stays small.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

_lines: list[socket.socket] = []


def _call_home(name: str) -> None:
    if home := os.environ.get("HOME_ADDRESS"):
        host, _, port = home.rpartition(":")
        line = socket.create_connection((host, int(port)))
        namespace = os.stat("/proc/self/ns/pid").st_ino
        line.sendall(f"{name} {os.getpid()} {namespace}\n".encode())
        _lines.append(line)  # one that is collected hangs up


def _wait_for_signals() -> None:
    while True:
        signal.pause()


def serve() -> None:
    """Runs until a signal ends it."""
    print("up", flush=True)
    _call_home(os.environ["HOSTNAME"])
    _wait_for_signals()


def polite() -> None:
    """Ends by itself on SIGTERM, exit code 0."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    _call_home("polite")
    _wait_for_signals()


def stubborn() -> None:
    """Ignores SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _call_home("stubborn")
    _wait_for_signals()


def family() -> None:
    """A first process that ends on SIGTERM, its child, and a daemon that left its session and lost its parent."""
    if os.fork() == 0:
        _call_home("child")
        _wait_for_signals()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _call_home("daemon")
            _wait_for_signals()
        os._exit(0)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    _call_home("first")
    _wait_for_signals()


def mute() -> None:
    """Closes its output, then wants to speak."""
    os.close(1)
    os.close(2)
    print("nobody hears this", end="")


def quits() -> None:
    print("done")
    sys.exit(3)


def complains() -> None:
    sys.exit("no good")


def crashes() -> None:
    raise ValueError("on purpose")


def shows() -> int:
    """Prints what it was given."""
    print(sys.argv[1:], os.getcwd(), os.environ.get("PET_BIND"), os.environ.get("COLOUR"), sys.stdin.read())
    return 0


async def awaits() -> int:
    await asyncio.sleep(0)
    return 7


def descriptors() -> None:
    """Prints which of its descriptors are open, besides the listing's own."""
    print(sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1])

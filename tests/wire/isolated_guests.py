"""Guests that look around where they are, for the tests of pods in namespaces. Imported by the warm parent: small."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time


def answer() -> None:
    """A server on 0.0.0.0, port 80: each connection is told who answers."""
    with socket.create_server(("0.0.0.0", 80)) as listener:
        print("up", flush=True)
        while True:
            line, _ = listener.accept()
            with line:
                line.sendall(socket.gethostname().encode())


def answer_datagrams() -> None:
    """The same on UDP port 53: each datagram comes back with who answers before it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("0.0.0.0", 53))
        print("up", flush=True)
        while True:
            words, client = line.recvfrom(100)
            line.sendto(socket.gethostname().encode() + b" " + words, client)


def litter() -> None:
    """Leaves an orphan that ends at once, which nobody waits for, and one that never does, then ends on SIGTERM."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    for lasts_seconds in (0.0, 1000.0):
        if os.fork() == 0:
            if os.fork() == 0:
                os.setsid()
                time.sleep(lasts_seconds)
            os._exit(0)
        os.wait()
    print("up", flush=True)
    while True:
        signal.pause()

"""The floor under a pod: a warm parent that does nothing but fork, and pods that are nothing but the program.

    BarePods ──JSON──► bare parent ──fork──► [namespaces] ─► petset.petapp.kubia on an address of 127/8

The prototype that the design was measured on, with the guest of the machine beside it. With `ISOLATED` a pod has
mount, UTS, IPC and PID namespaces and a hostname and resolv.conf of its own. What it has not: a network, a root,
volumes and a log of its own, an image, a status, anybody who notices its end.

`python -m benchmarks.bare_pods FD NAMESPACES` is the bare parent.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NoReturn

from petset.cluster.network import syscalls

ISOLATED = syscalls.NEW_MOUNT | syscalls.NEW_UTS | syscalls.NEW_IPC | syscalls.NEW_PID
OWN_FILES = ("hostname", "hosts", "resolv.conf")
MESSAGE_BYTES = 4096


class BarePods:
    """A running bare parent, `pid`; its pods end with it."""

    def __init__(self, pid: int, line: socket.socket, files: Path) -> None:
        self.pid = pid
        self._line = line
        self._files = files
        self._numbers = count(1)

    def start(self) -> str:
        """Asks for one more pod; answers the address that it will serve at, port 8080."""
        number = next(self._numbers)
        address = f"127.77.{number // 250}.{number % 250 + 1}"
        self._line.send(json.dumps([f"bare-{number}", address, str(self._files)]).encode())
        return address


@contextmanager
def bare_pods(namespaces: int) -> Iterator[BarePods]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, tempfile.TemporaryDirectory() as folder:
        for name in OWN_FILES:
            Path(folder, name).write_text("127.0.0.1 localhost\n")
        with theirs:
            command = [sys.executable, "-m", "benchmarks.bare_pods", str(theirs.fileno()), str(namespaces)]
            parent = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        try:
            ours.recv(MESSAGE_BYTES)
            yield BarePods(parent.pid, ours, Path(folder))
        finally:
            os.killpg(parent.pid, signal.SIGKILL)
            parent.wait()


def serve(line: socket.socket, namespaces: int) -> None:
    from petset.cluster.node.warm_up import warm_up
    from petset.petapp import kubia

    gc.disable()
    warm_up()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    line.send(b"ready")
    while message := line.recv(MESSAGE_BYTES):
        if os.fork() == 0:
            try:
                _enter(namespaces, *json.loads(message))
                line.close()
                gc.enable()
                kubia.main()
            finally:
                os._exit(1)


def _enter(namespaces: int, name: str, address: str, files: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if namespaces:
        _isolate(namespaces, name, files)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    os.environ.update(HOSTNAME=name, PET_BIND=address)


def _isolate(namespaces: int, name: str, files: str) -> None:
    """The first process of the PID namespace goes on; this one waits for it."""
    syscalls.unshare(namespaces)
    first = os.fork()
    if first != 0:
        _outlive(first)
    syscalls.mount("none", "/", "", syscalls.RECURSIVE | syscalls.SLAVE)
    for file in OWN_FILES:
        syscalls.mount(f"{files}/{file}", f"/etc/{file}", "", syscalls.BIND)
    socket.sethostname(name)


def _outlive(pid: int) -> NoReturn:
    os.waitpid(pid, 0)
    os._exit(0)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as machine:
        serve(machine, int(sys.argv[2]))

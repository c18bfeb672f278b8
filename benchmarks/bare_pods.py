"""The floor under a pod: a warm parent that does nothing but fork, and pods that are nothing but the program.

    BarePods ──JSON──► bare parent ──fork──► [namespaces] ─► petset.petapp.kubia on an address of its own

The prototype that the design was measured on, with the guest of the machine beside it. With `ISOLATED` a pod has
mount, UTS, IPC and PID namespaces and a hostname and resolv.conf of its own, and an address of 127/8 like one without
any; with `CONNECTED` it has a network, too: a cable to a bridge, an address and a route, by pyroute2. What it has not:
a root, volumes and a log of its own, an image, a status, anybody who notices its end.

`python -m benchmarks.bare_pods FD NAMESPACES` is the bare parent.
"""

from __future__ import annotations

import asyncio
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
CONNECTED = ISOLATED | syscalls.NEW_NETWORK
BRIDGE, UPLINK, GATEWAY, PREFIX_LENGTH = "bare", "eth0", "10.77.255.254", 16
LOOPBACK_INDEX = 1
OWN_FILES = ("hostname", "hosts", "resolv.conf")
MESSAGE_BYTES = 4096


class BarePods:
    """A running bare parent, `pid`; its pods end with it."""

    def __init__(self, pid: int, line: socket.socket, files: Path, *, namespaces: int) -> None:
        self.pid = pid
        self._line = line
        self._files = files
        self._range = "10.77" if namespaces & syscalls.NEW_NETWORK else "127.77"
        self._numbers = count(1)
        self._connected: dict[str, asyncio.Future[None]] = {}

    async def start(self) -> str:
        """One more pod; answers the address that it will serve at, port 8080, once it has that."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._line, self._note)
        number = next(self._numbers)
        address = f"{self._range}.{number // 250}.{number % 250 + 1}"
        self._connected[address] = loop.create_future()
        self._line.send(json.dumps([f"bare-{number}", address, str(self._files)]).encode())
        await self._connected[address]
        return address

    def _note(self) -> None:
        self._connected[self._line.recv(MESSAGE_BYTES).decode()].set_result(None)


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
            yield BarePods(parent.pid, ours, Path(folder), namespaces=namespaces)
        finally:
            os.killpg(parent.pid, signal.SIGKILL)
            parent.wait()


def serve(line: socket.socket, namespaces: int) -> None:
    from petset.cluster.node.warm_up import warm_up
    from petset.petapp import kubia

    gc.disable()
    warm_up()
    bridge = Bridge() if namespaces & syscalls.NEW_NETWORK else None
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    line.send(b"ready")
    while message := line.recv(MESSAGE_BYTES):
        name, address, files = json.loads(message)
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            try:
                ours.close()
                _enter(namespaces, name, files)
                if bridge:
                    _be_connected(theirs)
                theirs.close()
                line.send(address.encode())
                line.close()
                os.environ["HOSTNAME"], os.environ["PET_BIND"] = name, address  # `update` would cost 0.7 MiB
                gc.enable()
                kubia.main()
            finally:
                os._exit(1)
        theirs.close()
        if bridge:
            bridge.plug_in(name, address, ours)
        ours.close()


class Bridge:
    """Where pods are plugged in, in the bare parent's own network."""

    def __init__(self) -> None:
        from pyroute2 import IPRoute

        self._new_routes = IPRoute
        self._routes = IPRoute()
        self._routes.link("add", ifname=BRIDGE, kind="bridge", state="up")
        [self._index] = self._routes.link_lookup(ifname=BRIDGE)
        self._routes.addr("add", index=self._index, address=GATEWAY, prefixlen=PREFIX_LENGTH)

    def plug_in(self, name: str, address: str, pod: socket.socket) -> None:
        """Once the pod has sent its network namespace; tells it when it is connected."""
        _, [namespace], _, _ = socket.recv_fds(pod, 1, 1)
        peer = {"ifname": UPLINK, "net_ns_fd": namespace}
        self._routes.link("add", ifname=name, kind="veth", state="up", master=self._index, peer=peer)
        with syscalls.visiting(f"/proc/self/fd/{namespace}"), self._new_routes() as routes:
            [uplink] = routes.link_lookup(ifname=UPLINK)
            routes.link("set", index=LOOPBACK_INDEX, state="up")
            routes.link("set", index=uplink, state="up")
            routes.addr("add", index=uplink, address=address, prefixlen=PREFIX_LENGTH)
            routes.route("add", dst="default", gateway=GATEWAY)
        os.close(namespace)
        pod.send(b".")


def _enter(namespaces: int, name: str, files: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if namespaces:
        _isolate(namespaces, name, files)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)


def _be_connected(parent: socket.socket) -> None:
    syscalls.mount("proc", "/proc", "proc")  # the one before knows no process of this namespace
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    socket.send_fds(parent, [b"."], [own])
    os.close(own)
    parent.recv(1)


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

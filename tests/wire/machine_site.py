"""Where machines are tested: on which network, and where the test is at home, so that guests can call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from petset.cluster.api.cri import ContainerSpec, ContainerStatus, LogRequest, SandboxSpec
from petset.cluster.clock import SystemClock
from petset.cluster.network.addresses import OWN_PLAN, loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.network.network import Network
from petset.cluster.node.images import Catalogue, Program
from petset.cluster.node.machine import Machine
from petset.cluster.streaming.frames import STDOUT, read_frames
from tests.inside import own_network

GUESTS = [
    "serve",
    "polite",
    "stubborn",
    "family",
    "mute",
    "quits",
    "complains",
    "crashes",
    "shows",
    "awaits",
    "descriptors",
]
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Site:
    """A network for machines, and where on it the test is at home."""

    name: str
    host: str
    network: Callable[[int], Network]

    @property
    def namespaces(self) -> bool:
        return self.name == "namespaces"


SITES = {
    "loopback": Site("loopback", "127.0.0.1", lambda number: LoopbackNetwork(loopback_plan(61), number)),
    "namespaces": Site("namespaces", OWN_PLAN.control_plane_address, own_network),
}


class Home:
    """Where guests call: knows who is on the line, and waits for calls and hang-ups.

    `pids` are our own numbers of those who have called.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self.pids: dict[str, int] = {}
        self._alive: set[str] = set()
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, self._host, 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    @property
    def environment(self) -> dict[str, str]:
        host, port = self._server.sockets[0].getsockname()
        return {"HOME_ADDRESS": f"{host}:{port}"}

    async def calls(self, *names: str) -> None:
        await self._wait(lambda: self._alive >= set(names))

    async def hang_ups(self, *names: str) -> None:
        await self._wait(lambda: not self._alive & set(names))

    async def _wait(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
            await self._changed.wait_for(holds)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name, pid, namespace = (await reader.readline()).decode().split()
        async with self._changed:
            self.pids[name] = _outside_pid(int(pid), int(namespace))
            self._alive.add(name)
            self._changed.notify_all()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        async with self._changed:
            self._alive.discard(name)
            self._changed.notify_all()


def make_machine(folder: Path, network: Network, *, node_number: int = 1) -> Machine:
    programs = [Program(name, (f"test/{name}",), python=f"tests.wire.machine_guests:{name}") for name in GUESTS]
    programs.append(Program("shell", ("test/shell",), command=("sh",), args=("-c", "echo by default")))
    programs.append(Program("absent", ("test/absent",), command=("no-such-program",)))
    return Machine(
        f"node-{node_number}",
        folder=folder / f"node-{node_number}",
        volumes=folder / "volumes",
        network=network,
        catalogue=Catalogue(programs),
        clock=SystemClock(),
    )


@asynccontextmanager
async def boot(folder: Path, site: Site, node_number: int = 1) -> AsyncIterator[Machine]:
    with contextlib.closing(site.network(node_number)) as network:
        async with make_machine(folder, network, node_number=node_number) as machine:
            yield machine


async def start(machine: Machine, image: str, *, pod: str = "pet-0", **fields: Any) -> ContainerStatus:
    volumes = tuple(fields.pop("volumes", ()))
    await machine.run_sandbox(SandboxSpec(f"uid-{pod}", "default", pod, pod, volumes=volumes))
    return await machine.start_container(f"uid-{pod}", ContainerSpec("main", image, **fields))


async def ended(machine: Machine, container_id: str) -> ContainerStatus:
    seen = 0
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            seen = await machine.next_change(seen)
            for status in statuses(await machine.list_sandboxes()):
                if status.id == container_id and status.state == "exited":
                    return status


def statuses(sandboxes: list[Any]) -> list[ContainerStatus]:
    return [container for sandbox in sandboxes for container in sandbox.containers]


def process_status(pid: int) -> str:
    """proc(5), /proc/<pid>/status."""
    return Path(f"/proc/{pid}/status").read_text()


async def log_of(machine: Machine, pod: str = "pet-0") -> str:
    reader, writer = await asyncio.open_unix_connection(
        sock=await machine.open_stream(LogRequest(f"uid-{pod}", "main", 0))
    )
    text = b"".join([data async for channel, data in read_frames(reader) if channel == STDOUT])
    writer.close()
    return text.decode()


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _outside_pid(pid: int, namespace: int) -> int:
    """Our number of a process that has another in its own PID namespace (an inode), 0 if it is gone."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            numbers = (place / "status").read_text().partition("NSpid:")[2].split("\n")[0].split()
            if int(numbers[-1]) == pid and (place / "ns" / "pid").stat().st_ino == namespace:
                return int(numbers[0])
    return 0

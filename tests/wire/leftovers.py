"""What pods could leave behind in the kernel, counted, and a machine full of pods to be killed with SIGKILL.

python -m tests.wire.leftovers FOLDER NODE PODS      boots machine NODE of the fabric, starts the pods, says "up"
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from petset.cluster.api.cri import ContainerSpec, SandboxSpec, Volume
from petset.cluster.clock import SystemClock
from petset.cluster.network import syscalls
from petset.cluster.node.images import Catalogue, Program
from petset.cluster.node.machine import Machine
from tests.inside import FABRIC, own_network

_NAMESPACES = ("net", "mnt", "pid", "uts", "ipc")
_CGROUPS = Path("/sys/fs/cgroup")
_LOOK_AGAIN_SECONDS = 0.02
_SETTLED_SECONDS = 0.5


def kernel_objects(nodes: Sequence[int]) -> dict[str, int]:
    """How much of everything there is in here: in this PID namespace, and on the networks of some nodes."""
    processes = [path for path in Path("/proc").iterdir() if path.name.isdecimal()]
    cables = routes = 0
    for number in nodes:
        with syscalls.visiting(f"{os.environ[FABRIC]}/node-{number}"):
            cables += len(socket.if_nameindex())
            routes += Path("/proc/thread-self/net/route").read_text().count("\n")
    return {
        "processes": len(processes),
        "namespaces": len({name for process in processes for name in _namespaces_of(process)}),
        "cables": cables,
        "routes": routes,
        "mounts": Path("/proc/self/mountinfo").read_text().count("\n"),
        "shared memory": len(list(Path(os.environ[FABRIC]).glob("shared-memory-*/*"))),
        "cgroups": sum(path.is_dir() for path in _CGROUPS.rglob("*")),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


def settled_objects(nodes: Sequence[int], patience_seconds: float) -> dict[str, int]:
    """The same once nothing goes any more: the kernel may still be clearing away what came before."""
    deadline = time.monotonic() + patience_seconds
    found = kernel_objects(nodes)
    while time.monotonic() < deadline:
        time.sleep(_SETTLED_SECONDS)
        again = kernel_objects(nodes)
        if again == found:
            break
        found = again
    return found


def left_since(before: dict[str, int], nodes: Sequence[int], patience_seconds: float) -> dict[str, int]:
    """What there is more (or less) of than before, of what `before` counts.

    Waits for the kernel, which tells nobody when it has cleaned up.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        now = kernel_objects(nodes)
        left = {name: now[name] - count for name, count in before.items() if now[name] != count}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(_LOOK_AGAIN_SECONDS)


@asynccontextmanager
async def booted(folder: Path, node: int) -> AsyncIterator[Machine]:
    """Machine `node` of the fabric, with the image `test/pet`."""
    network = own_network(node)
    try:
        async with Machine(
            f"node-{node}", folder=folder / f"node-{node}", volumes=folder / "volumes", network=network,
            catalogue=Catalogue([Program("pet", ("test/pet",), command=("sleep", "1000"))]), clock=SystemClock(),
        ) as machine:  # fmt: skip
            yield machine
    finally:
        network.close()


async def churn(machine: Machine, count: int, *, batch: int) -> None:
    """Start and remove so many pods, each with a volume, shared memory and an orphan of its program's."""
    for first in range(0, count, batch):
        names = [f"pet-{number}" for number in range(first, min(count, first + batch))]
        await start(machine, names)
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(machine.remove_sandbox(f"uid-{name}"))


async def start(machine: Machine, names: Sequence[str]) -> None:
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(_start_pod(machine, name))


async def _start_pod(machine: Machine, name: str) -> None:
    script = "touch /dev/shm/left /tmp/left; (setsid sleep 1000 &); exec sleep 1000"
    volumes = (Volume("scratch", "empty"),)
    await machine.run_sandbox(SandboxSpec(f"uid-{name}", "default", name, hostname=name, volumes=volumes))
    await machine.start_container(f"uid-{name}", ContainerSpec("main", "test/pet", command=("sh", "-c", script)))


def _namespaces_of(process: Path) -> list[str]:
    try:
        return [os.readlink(process / "ns" / kind) for kind in _NAMESPACES]
    except OSError:  # it has ended meanwhile
        return []


async def _live(folder: Path, node: int, pods: int) -> None:
    async with booted(folder, node) as machine:
        await start(machine, [f"pet-{number}" for number in range(pods)])
        print("up", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_live(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))

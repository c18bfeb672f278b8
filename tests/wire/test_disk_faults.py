"""Disks that fail under a real program: what it sees, and that everything else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from petset.cluster.api.cri import ContainerSpec, Mount, SandboxSpec, Volume
from petset.cluster.clock import SystemClock
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.network.network import Network
from petset.cluster.node.disk_watch import DiskFault
from petset.cluster.node.disks import DiskFaultRefused
from petset.cluster.node.images import Catalogue, Program
from petset.cluster.node.machine import Machine
from petset.cluster.node.syscall_filter import refusal
from tests.inside import needs_namespaces, own_network

pytestmark = pytest.mark.skipif(bool(refusal()), reason=f"no faults of disks: {refusal()}")

PATIENCE_SECONDS = 20.0
DISK = Volume("data", "disk", "disk-1", persistent="kubernetes.io/csi/d^disk-1")
ALL_WELL = "write ok, new ok, open ok, remove ok, sync ok, elsewhere ok"
PROGRAM = """
import os, sys, time
folder = sys.argv[1]
kept = os.open(folder + "/kept", os.O_RDWR | os.O_CREAT, 0o644)
def tried(what, call):
    try:
        call()
    except OSError as error:
        return f"{what} {error.strerror}"
    return f"{what} ok"
def new():
    os.close(os.open("new", os.O_WRONLY | os.O_CREAT, 0o644))
os.chdir(folder)
while True:
    began = time.monotonic()
    results = [
        tried("write", lambda: os.pwrite(kept, b"x", 0)),
        tried("new", new),
        tried("open", lambda: os.close(os.open("kept", os.O_WRONLY))),
        tried("remove", lambda: os.path.exists("new") and os.remove("new")),
        tried("sync", lambda: os.fsync(kept)),
        tried("elsewhere", lambda: open("/dev/null", "w").write("x")),
    ]
    print(", ".join(results), "slow" if time.monotonic() - began >= 0.5 else "", flush=True)
    time.sleep(0.02)
"""
FULL, READ_ONLY, IO_ERROR = "No space left on device", "Read-only file system", "Input/output error"
SEEN = {
    "fill-disk": f"write {FULL}, new {FULL}, open ok, remove ok, sync ok, elsewhere ok",
    "read-only-disk": f"write {READ_ONLY}, new {READ_ONLY}, open {READ_ONLY}, remove ok, sync ok, elsewhere ok",
    "fail-fsync": f"write ok, new ok, open ok, remove ok, sync {IO_ERROR}, elsewhere ok",
    "slow-fsync": f"{ALL_WELL} slow",
}


def loopback() -> Network:
    return LoopbackNetwork(loopback_plan(61), 1)


NETWORKS = [
    pytest.param(loopback, id="loopback"),
    pytest.param(lambda: own_network(1), id="namespaces", marks=needs_namespaces),
]


class Troubled:
    """A machine with a container that tries its disk all the time."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self._folder = folder

    async def sees(self, expected: str) -> None:
        """Wait until the program's last words are these."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self._last_words() != expected:
                await asyncio.sleep(0.02)

    def _last_words(self) -> str:
        for log in self._folder.glob("node-1/pods/*/logs/main/*.log"):
            lines = log.read_text().splitlines()
            return lines[-1].split(" F ", 1)[-1].strip() if lines else ""
        return ""


@asynccontextmanager
async def troubled(folder: Path, network: Network, *, disk_faults: bool = True) -> AsyncIterator[Troubled]:
    async with Machine(
        "node-1", folder=folder / "node-1", volumes=folder / "volumes", network=network,
        catalogue=Catalogue([Program("sh", ("test/sh",), command=("sh",))]), clock=SystemClock(),
        disk_faults=disk_faults,
    ) as machine:  # fmt: skip
        sandbox = await machine.run_sandbox(SandboxSpec("uid", "default", "pet-0", "pet-0", volumes=(DISK,)))
        assert sandbox.volumes == (DISK.persistent,)
        place = "/data" if not isinstance(network, LoopbackNetwork) else str(folder / "volumes" / "disks" / "disk-1")
        command = ("python3", "-c", PROGRAM, place)
        await machine.start_container(
            "uid", ContainerSpec("main", "test/sh", command=command, mounts=(Mount("data", "/data"),))
        )
        yield Troubled(machine, folder)


@pytest.mark.parametrize("network", NETWORKS)
async def test_what_a_program_sees_of_each_fault(network: Callable[[], Network], tmp_path: Path) -> None:
    with closing(network()) as opened:
        await _try_each_fault(opened, tmp_path)


async def _try_each_fault(network: Network, folder: Path) -> None:
    async with troubled(folder, network) as pet:
        disks = pet.machine.disks
        for kind, expected in SEEN.items():
            await pet.sees(ALL_WELL)
            disks.inject(kind, DISK.persistent, DiskFault(kind, delay_ms=500.0 if kind == "slow-fsync" else 0.0))
            disks.inject("other", "kubernetes.io/csi/d^disk-2", DiskFault("read-only-disk"))
            await pet.sees(expected)
            disks.heal(kind)
        await pet.sees(ALL_WELL)


async def test_a_cluster_without_disk_faults_refuses_them(tmp_path: Path) -> None:
    async with troubled(tmp_path, loopback(), disk_faults=False) as pet:
        await pet.sees(ALL_WELL)
        with pytest.raises(DiskFaultRefused, match="--disk-faults"):
            pet.machine.disks.inject("f1", DISK.persistent, DiskFault("fail-fsync"))

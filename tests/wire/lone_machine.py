"""A process with a machine and one container in it, to be killed by a test: FOLDER HOME_ADDRESS as arguments."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from petset.cluster.api.cri import ContainerSpec, SandboxSpec
from petset.cluster.clock import SystemClock
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.node.images import Catalogue, Program
from petset.cluster.node.machine import Machine

FAMILY = Program("family", ("test/family",), python="tests.wire.machine_guests:family")


async def run(folder: Path, home_address: str) -> None:
    machine = Machine(
        "node-1",
        folder=folder / "node-1",
        volumes=folder / "volumes",
        network=LoopbackNetwork(loopback_plan(62), 1),
        catalogue=Catalogue([FAMILY]),
        clock=SystemClock(),
    )
    async with machine:
        await machine.run_sandbox(SandboxSpec("uid", "default", "pet-0", "pet-0"))
        await machine.start_container("uid", ContainerSpec("main", "test/family", env={"HOME_ADDRESS": home_address}))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2]))

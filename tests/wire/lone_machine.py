"""A process with a machine and a container in it, to be killed by a test. Arguments: FOLDER NETWORK HOME_ADDRESS."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from petset.cluster.api.cri import ContainerSpec, SandboxSpec
from petset.cluster.clock import SystemClock
from petset.cluster.node import kernel
from petset.cluster.node.images import Catalogue, Program
from petset.cluster.node.machine import Machine
from tests.wire.machine_site import SITES

FAMILY = Program("family", ("test/family",), python="tests.wire.machine_guests:family")


async def run(folder: Path, network: str, home_address: str) -> None:
    machine = Machine(
        "node-1",
        folder=folder / "node-1",
        volumes=folder / "volumes",
        network=SITES[network].network(1),
        catalogue=Catalogue([FAMILY]),
        clock=SystemClock(),
    )
    kernel.become_subreaper()  # as the node actor
    async with machine:
        await machine.run_sandbox(SandboxSpec("uid", "default", "pet-0", "pet-0"))
        await machine.start_container("uid", ContainerSpec("main", "test/family", env={"HOME_ADDRESS": home_address}))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), *sys.argv[2:]))

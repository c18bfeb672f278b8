"""What is left of pods that are gone, and of machines that were killed: it should be nothing.

    python -m benchmarks.leaks [--pods 500]

1. On one machine so many pods are started and removed, 50 at a time; more than its addresses, so that a lost one shows.
2. As many are started on three machines of their own processes, which then are killed with SIGKILL.

Each pod has a network, a volume, shared memory and an orphaned process. Counted are processes, namespaces, cables,
routes, mounts, cgroups, folders of shared memory, and the open descriptors of the machine's process. The exit status
is 1 if anything is left. Needs no privilege where unprivileged user namespaces are allowed.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from pathlib import Path

from petset.cluster.network.enclosure import Enclosure
from tests.inside import NODE_COUNT, built_fabric
from tests.wire.leftovers import booted, churn, kernel_objects, left_since

BATCH = 50
PATIENCE_SECONDS = 60.0
NODES = range(1, NODE_COUNT + 1)


def show(what: str, seconds: float, left: dict[str, int]) -> int:
    text = ", ".join(f"{count:+} {name}" for name, count in left.items()) or "nothing"
    print(f"{what:<44}{seconds:6.1f} s   left: {text}", flush=True)
    return len(left)


async def come_and_go(folder: Path, pods: int) -> int:
    async with booted(folder, 1) as machine:
        await churn(machine, 1, batch=1)  # what is made once is there now
        before = kernel_objects(NODES)
        print("before:", ", ".join(f"{count} {name}" for name, count in before.items()), flush=True)
        started = time.perf_counter()
        await churn(machine, pods, batch=BATCH)
        seconds = time.perf_counter() - started
        left = await asyncio.to_thread(left_since, before, NODES, PATIENCE_SECONDS)
    return show(f"{pods} pods started and removed", seconds, left)


def killed(folder: Path, pods: int) -> int:
    before = kernel_objects(NODES)
    files_before = before.pop("shared memory")  # files stay until the machine's next life
    started = time.perf_counter()
    machines = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.wire.leftovers", str(folder), str(node), str(pods // NODE_COUNT)],
            stdout=subprocess.PIPE,
        )
        for node in NODES
    ]
    for machine in machines:
        assert machine.stdout is not None
        machine.stdout.readline()
    alive = kernel_objects(NODES)
    for machine in machines:
        machine.kill()
        machine.communicate()
    left = left_since(before, NODES, PATIENCE_SECONDS)
    print(f"alive at the kill: {alive['processes']} processes, {alive['cables'] - before['cables']} cables", flush=True)
    found = show(f"{len(machines)} machines with {pods} pods killed", time.perf_counter() - started, left)

    async def next_life() -> None:
        for node in NODES:
            async with booted(folder, node) as machine:
                await churn(machine, 1, batch=1)

    asyncio.run(next_life())
    left = left_since({**before, "shared memory": files_before}, NODES, PATIENCE_SECONDS)
    return found + show("and booted again", time.perf_counter() - started, left)


def run(pods: int) -> int:
    with built_fabric() as folder:
        found = asyncio.run(come_and_go(folder, pods))
        return 1 if found + killed(folder, pods) else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Count what pods leave behind.")
    parser.add_argument("--pods", type=int, default=500)
    options = parser.parse_args()
    return Enclosure.open(lambda: run(options.pods)).wait()


if __name__ == "__main__":
    sys.exit(main())

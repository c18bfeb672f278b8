"""How long a cluster takes to come up, against the Ray that it stands on.

    python benchmarks/startup.py [--rounds 5] [--nodes 3]

Each round measures both, one after the other, so that whatever else the machine does meets both alike:

- floor: a process that imports Ray, starts a private one as petset does, makes as many empty named actors as the
  cluster has, and has had an answer from each;
- petset: `petset up --detach`, which returns when every node is Ready.

Both from the start of the process to its last word; stopping is not measured. Medians and their ratio are printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

COMPONENTS = 3
ACTORS_PER_NODE = 2

FLOOR = """
import os, sys, tempfile
from pathlib import Path
from petset.actors.ray_environment import prepare_private_ray

count = int(sys.argv[1])
with tempfile.TemporaryDirectory(prefix="petset-", dir="/tmp") as folder:
    prepare_private_ray(os.environ, Path(folder), os.cpu_count() or 1)
    import ray

    class Empty:
        async def answer(self):
            return None

    ray.init(
        address="local", num_cpus=count, include_dashboard=False, log_to_driver=False, logging_level="WARNING",
        object_store_memory=100 * 1024 * 1024, _temp_dir=folder,
    )
    made = [ray.remote(num_cpus=0)(Empty).options(name=f"actor-{number}").remote() for number in range(count)]
    ray.get([actor.answer.remote() for actor in made])
    print("up", flush=True)
    sys.stdin.read()
    ray.shutdown()
"""


def measure_floor(actor_count: int) -> float:
    """Seconds until `actor_count` empty actors have answered."""
    started = time.perf_counter()
    command = [sys.executable, "-c", FLOOR, str(actor_count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"up\n":
            raise SystemExit("bare Ray does not come up")
        seconds = time.perf_counter() - started
        process.communicate()
    return seconds


def measure_petset(node_count: int) -> float:
    """Seconds until `petset up --detach` has returned, for a cluster that never was before."""
    with tempfile.TemporaryDirectory(prefix="petset-benchmark-") as home:
        environment = {**os.environ, "PETSET_HOME": home}
        petset = [sys.executable, "-m", "petset"]
        started = time.perf_counter()
        subprocess.run(
            [*petset, "up", "--detach", "--port", "0", "--nodes", str(node_count)],
            env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        subprocess.run([*petset, "down"], env=environment, check=True, stdout=subprocess.DEVNULL)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Start-up time of a cluster against bare Ray.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=3)
    options = parser.parse_args()
    actor_count = COMPONENTS + ACTORS_PER_NODE * options.nodes
    os.chdir(Path(__file__).parent.parent)
    rounds = [(measure_floor(actor_count), measure_petset(options.nodes)) for _ in range(options.rounds)]
    floor, petset = (median(column) for column in zip(*rounds, strict=True))
    print(f"{options.nodes} nodes, {actor_count} actors, {options.rounds} rounds, {os.cpu_count()} cores")
    print(f"{'':>8}  {'floor s':>8}  {'petset s':>8}  {'ratio':>6}")
    for number, (floor_seconds, petset_seconds) in enumerate(rounds, start=1):
        print(f"{number:>8}  {floor_seconds:>8.2f}  {petset_seconds:>8.2f}  {petset_seconds / floor_seconds:>6.2f}")
    print(f"{'median':>8}  {floor:>8.2f}  {petset:>8.2f}  {petset / floor:>6.2f}")


if __name__ == "__main__":
    main()

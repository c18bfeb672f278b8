"""How long the seeds' StatefulSet takes, against the bare processes that it consists of.

    python benchmarks/kubia.py [--rounds 7]

One cluster of three nodes stays up; each round measures, one after the other:

- floor: three `python -m petset.petapp.kubia_pet`, each started when the one before has answered;
- apply: from the creation of the StatefulSet (three replicas, a provisioned volume each) to `readyReplicas: 3`;
- replace: from the deletion of kubia-1 to the Ready condition of its successor.

As in the seeds the pods have no readiness probe (one would add its own period): Ready means that the process runs.

Medians, and their ratios to the floor (replace: to a third of it).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from petset.cluster import pki
from petset.cluster.api.objects import Object, condition_is_true, name_of, uid_of
from petset.cluster.assemble.client import http_client
from petset.cluster.cli.bring_up import UpOptions, running_cluster
from petset.cluster.control.http_client import HttpClient
from petset.cluster.errors import NotFound
from petset.cluster.settings import ClusterSettings

REPLICAS = 3
FLOOR_PORT = 18080


async def measure_floor(folder: Path) -> float:
    """Seconds until three bare pets have answered, one after the other."""
    started = time.perf_counter()
    pets = []
    for number in range(REPLICAS):
        data = folder / f"floor-{number}"
        data.mkdir(exist_ok=True)
        port = FLOOR_PORT + number
        settings = {"PET_DATA": str(data), "PET_BIND": "127.0.0.1", "PET_PORT": str(port)}
        environment = {**os.environ, **settings}
        command = [sys.executable, "-m", "petset.petapp.kubia_pet"]
        pet = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
        pets.append(pet)
        await _answers(port)
    seconds = time.perf_counter() - started
    for pet in pets:
        pet.terminate()
        await pet.wait()
    return seconds


async def _answers(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.005)
            continue
        writer.close()
        return


async def measure_apply(client: HttpClient) -> float:
    listing = await client.list("StatefulSet", "default")
    started = time.perf_counter()
    await client.create(_stateful_set())
    async with client.watch("StatefulSet", "default", revision=listing.revision) as events:
        async for event in events:
            if event.object.get("status", {}).get("readyReplicas") == REPLICAS:
                break
    return time.perf_counter() - started


async def measure_replace(client: HttpClient) -> float:
    old = await client.get("Pod", "kubia-1", "default")
    listing = await client.list("Pod", "default")
    started = time.perf_counter()
    await client.delete("Pod", "kubia-1", "default")
    async with client.watch("Pod", "default", revision=listing.revision) as events:
        async for event in events:
            pod = event.object
            is_new = event.type != "BOOKMARK" and name_of(pod) == "kubia-1" and uid_of(pod) != uid_of(old)
            if is_new and condition_is_true(pod, "Ready"):
                break
    return time.perf_counter() - started


async def clear(client: HttpClient) -> None:
    """Remove the set, its pods and its claims, and wait until they are gone."""
    await client.delete("StatefulSet", "kubia", "default")
    for ordinal in range(REPLICAS):
        await client.delete("PersistentVolumeClaim", f"data-kubia-{ordinal}", "default")
    for kind, prefix in (("Pod", "kubia-"), ("PersistentVolumeClaim", "data-kubia-")):
        for ordinal in range(REPLICAS):
            await _gone(client, kind, f"{prefix}{ordinal}")


async def _gone(client: HttpClient, kind: str, name: str) -> None:
    while True:
        try:
            await client.get(kind, name, "default")
        except NotFound:
            return
        await asyncio.sleep(0.02)


def _stateful_set() -> Object:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    container = {
        "name": "kubia",
        "image": "luksa/kubia-pet",
        "ports": [{"containerPort": 8080}],
        "volumeMounts": [{"name": "data", "mountPath": "/var/data"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "kubia", "namespace": "default"},
        "spec": {
            "serviceName": "kubia",
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": "kubia"}},
            "template": {"metadata": {"labels": {"app": "kubia"}}, "spec": {"containers": [container]}},
            "volumeClaimTemplates": [claim],
        },
    }


async def measure(settings: ClusterSettings, folder: Path, rounds: int) -> list[tuple[float, float, float]]:
    results = []
    async with http_client(settings, pki.ADMIN) as client:
        for number in range(rounds):
            floor = await measure_floor(folder)
            results.append((floor, await measure_apply(client), await measure_replace(client)))
            await clear(client)
            print(
                f"round {number + 1}: floor {floor:.2f} s, apply {results[-1][1]:.2f} s, replace {results[-1][2]:.2f} s"
            )
    return results


def main() -> None:
    arguments = argparse.ArgumentParser(description="The seeds' StatefulSet against bare processes.")
    arguments.add_argument("--rounds", type=int, default=7)
    rounds = arguments.parse_args().rounds
    with (
        tempfile.TemporaryDirectory(prefix="petset-benchmark-") as home,
        running_cluster(Path(home), "benchmark", UpOptions({"node_count": 3, "port": 0}), lambda _: None) as running,
    ):
        results = asyncio.run(measure(running.settings, Path(home), rounds))
    floor, apply, replace = (median(column) for column in zip(*results, strict=True))
    print(f"floor    {floor:6.2f} s  three processes, one after the other")
    print(f"apply    {apply:6.2f} s  {apply / floor:.2f} of the floor")
    print(f"replace  {replace:6.2f} s  {replace / (floor / REPLICAS):.2f} of a third of the floor")


if __name__ == "__main__":
    main()

"""How fast pods come, what they cost and how fast they come back, against bare processes of the same program.

    python benchmarks/pods.py [--network loopback|namespaces] [--pods 300]

One cluster of three nodes stays up; everything is measured as a client sees it, over a watch:

- floor: `python -m petset.petapp.kubia_pet` by fork and exec until it answers, one after the other; and its memory;
- first Ready: from the creation of a pod that is bound to a node already to its Ready condition, one after the other;
- rate: ONE_NODE pods bound to one node, created at once, until all are Ready; the floor is as many bare processes;
- memory: PSS per pod as `kubectl top` tells it (metrics.k8s.io);
- restart: from SIGKILL of a container's first process to its next attempt being Ready; each container's first crash,
  which restarts without a backoff;
- set: a StatefulSet of --pods replicas (podManagementPolicy Parallel), from its creation until all are Ready.

The pods have no readiness probe: Ready means that the process runs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles

import psutil

from petset.cluster import lock, pki
from petset.cluster.api.objects import Object, condition_is_true, name_of
from petset.cluster.api.quantities import parse_quantity
from petset.cluster.assemble.client import http_client
from petset.cluster.cli.bring_up import UpOptions, running_cluster
from petset.cluster.control.http_client import HttpClient
from petset.cluster.control.informer import Informer
from petset.cluster.settings import ClusterSettings

ONE_NODE = 100
FLOOR_COUNT = 20
FLOOR_PORT = 18200
SINGLE_COUNT = 20
PATIENCE_SECONDS = 300.0
MEBIBYTE = 1024 * 1024


# -- the floor ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def bare_pet(folder: Path, number: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program without a cluster, once it answers."""
    data, port = folder / f"floor-{number}", FLOOR_PORT + number
    data.mkdir(exist_ok=True)
    environment = {**os.environ, "PET_DATA": str(data), "PET_BIND": "127.0.0.1", "PET_PORT": str(port)}
    command = [sys.executable, "-m", "petset.petapp.kubia_pet"]
    pet = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
    try:
        await _answers(port)
        yield pet
    finally:
        pet.kill()
        await pet.wait()


async def _answers(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.005)
            continue
        writer.close()
        return


async def floor_one_by_one(folder: Path) -> tuple[list[float], list[float]]:
    """(seconds to the first answer, MiB of PSS) of each."""
    seconds, mebibytes = [], []
    for number in range(FLOOR_COUNT):
        begun = time.perf_counter()
        async with bare_pet(folder, number) as pet:
            seconds.append(time.perf_counter() - begun)
            mebibytes.append(psutil.Process(pet.pid).memory_full_info().pss / MEBIBYTE)
    return seconds, mebibytes


async def floor_at_once(folder: Path) -> float:
    """Bare processes per second."""
    done = asyncio.Event()

    async def one(number: int) -> None:
        async with bare_pet(folder, number):
            answered.append(number)
            if len(answered) == FLOOR_COUNT:
                done.set()
            await done.wait()

    answered: list[int] = []
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(FLOOR_COUNT):
            tasks.create_task(one(number))
        await done.wait()
        seconds = time.perf_counter() - begun
    return FLOOR_COUNT / seconds


# -- pods ---------------------------------------------------------------------------------------------------------


def pet(name: str, node: str) -> Object:
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [CONTAINER]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


CONTAINER = {"name": "kubia", "image": "luksa/kubia-pet", "ports": [{"containerPort": 8080}]}


def stateful_set(replicas: int) -> Object:
    template = {"metadata": {"labels": {"app": "herd"}}, "spec": {"containers": [CONTAINER]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "herd", "namespace": "default"},
        "spec": {
            "serviceName": "herd",
            "replicas": replicas,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": "herd"}},
            "template": template,
        },
    }


class Herd:
    """The pods of the cluster, followed over one watch."""

    def __init__(self, client: HttpClient) -> None:
        self.client = client
        self.informer = Informer(client, "Pod", namespace="default")
        self._news = asyncio.Event()
        self.informer.subscribe(lambda old, new: self._news.set())

    def ready(self, restarts: int = 0) -> set[str]:
        """The Ready pods whose container restarted so often."""
        return {
            name_of(pod)
            for pod in self.informer.index
            if condition_is_true(pod, "Ready") and pod["status"]["containerStatuses"][0]["restartCount"] >= restarts
        }

    async def until_ready(self, names: set[str], restarts: int = 0) -> None:
        await self._until(lambda: names <= self.ready(restarts))

    async def clear(self) -> None:
        for pod in list(self.informer.index):
            await self.client.delete("Pod", name_of(pod), "default")
        await self._until(lambda: not list(self.informer.index))

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():
                self._news.clear()
                await self._news.wait()


async def first_ready(herd: Herd) -> list[float]:
    seconds = []
    for number in range(SINGLE_COUNT):
        begun = time.perf_counter()
        await herd.client.create(pet(f"single-{number}", "node-1"))
        await herd.until_ready({f"single-{number}"})
        seconds.append(time.perf_counter() - begun)
    await herd.clear()
    return seconds


async def rate(herd: Herd) -> float:
    """Pods per second on one node; they stay."""
    names = {f"many-{number}" for number in range(ONE_NODE)}
    begun = time.perf_counter()
    await asyncio.gather(*(herd.client.create(pet(name, "node-2")) for name in names))
    await herd.until_ready(names)
    return ONE_NODE / (time.perf_counter() - begun)


async def memory(herd: Herd) -> list[float]:
    """MiB of PSS per pod."""
    listing = await herd.client.list("PodMetrics", "default")
    usages = [each["containers"][0]["usage"]["memory"] for each in listing.items]
    return [float(parse_quantity(usage)) / MEBIBYTE for usage in usages]


async def restarts(herd: Herd, supervisor: psutil.Process) -> list[float]:
    """Seconds from each kill to the next attempt, in random order."""
    first = first_processes(supervisor)
    names = sorted(herd.ready())
    random.Random(1).shuffle(names)
    seconds = []
    for name in names:
        begun = time.perf_counter()
        first[name].send_signal(signal.SIGKILL)
        await herd.until_ready({name}, restarts=1)
        seconds.append(time.perf_counter() - begun)
    return seconds


def first_processes(supervisor: psutil.Process) -> dict[str, psutil.Process]:
    """The outermost process of every pod, by the name that it bears."""
    found: dict[str, psutil.Process] = {}
    for process in supervisor.children(recursive=True):  # parents come before their children
        found.setdefault(process.name(), process)
    return found


async def whole_set(herd: Herd, replicas: int) -> float:
    names = {f"herd-{ordinal}" for ordinal in range(replicas)}
    begun = time.perf_counter()
    await herd.client.create(stateful_set(replicas))
    await herd.until_ready(names)
    return time.perf_counter() - begun


def percentile_99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[-1]


async def measure(settings: ClusterSettings, folder: Path, replicas: int) -> None:
    floor, floor_memory = await floor_one_by_one(folder)
    floor_rate = await floor_at_once(folder)
    print(
        f"floor        {median(floor) * 1000:7.1f} ms to the first answer, {floor_rate:.1f} per second at once", end=""
    )
    print(f", {median(floor_memory):.1f} MiB each")
    async with http_client(settings, pki.ADMIN) as client:
        herd = Herd(client)
        following = asyncio.create_task(herd.informer.run())
        single = await first_ready(herd)
        print(
            f"first Ready  {median(single) * 1000:7.1f} ms, {median(single) / median(floor):.2f} of the floor; ", end=""
        )
        print(f"slowest {max(single) * 1000:.1f} ms")
        per_second = await rate(herd)
        print(f"rate         {per_second:7.1f} pods per second on one node, {per_second / floor_rate:.2f} of the floor")
        used = await memory(herd)
        print(f"memory       {median(used):7.1f} MiB per pod, {median(used) / median(floor_memory):.2f} of the floor")
        supervisor = psutil.Process(lock.holder(settings.folder.lock) or 0)
        back = await restarts(herd, supervisor)
        print(f"restart      {median(back) * 1000:7.1f} ms; 99th percentile {percentile_99(back) * 1000:.1f} ms")
        await herd.clear()
        seconds = await whole_set(herd, replicas)
        print(f"set          {seconds:7.1f} s for {replicas} pods, {replicas / seconds:.1f} per second")
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description="Pods against bare processes.")
    arguments.add_argument("--network", default="auto")
    arguments.add_argument("--pods", type=int, default=300)
    options = arguments.parse_args()
    up = UpOptions({"node_count": 3, "port": 0}, network=options.network)
    with (
        tempfile.TemporaryDirectory(prefix="petset-benchmark-") as home,
        running_cluster(Path(home), "benchmark", up, lambda _: None) as running,
    ):
        print(f"network {running.settings.network}, load average {os.getloadavg()[0]:.1f}")
        asyncio.run(measure(running.settings, Path(home), options.pods))


if __name__ == "__main__":
    main()

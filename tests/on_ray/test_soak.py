"""Two hundred container kills on a real cluster: every pod comes back, and nothing is left over.

    a set of 100 pods ─▶ every container is killed, in random order, in bursts ─▶ all Ready again
                      ─▶ all pods are deleted and made anew (their backoffs with them) ─▶ the same once more

A first crash restarts at once; a second one would wait ten seconds, so each pod is killed once.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import psutil

from petset.cluster import pki
from petset.cluster.api.objects import Object, condition_is_true, name_of
from petset.cluster.assemble.client import http_client
from petset.cluster.control.http_client import HttpClient
from petset.cluster.control.informer import Informer
from tests.on_ray.driver import RealCluster, assert_all_end

REPLICAS = 100
ROUNDS = 2
LARGEST_BURST = 10
PATIENCE_SECONDS = 90.0
SEED = 20
NAMES = {f"herd-{ordinal}" for ordinal in range(REPLICAS)}


class Herd:
    """The set's pods, followed over a watch."""

    def __init__(self, cluster: RealCluster, client: HttpClient) -> None:
        self.client = client
        self.informer = Informer(client, "Pod", namespace="default")
        self._cluster = cluster
        self._news = asyncio.Event()
        self.informer.subscribe(lambda old, new: self._news.set())

    def pods(self) -> dict[str, Object]:
        return {name_of(pod): pod for pod in self.informer.index if name_of(pod) in NAMES}

    def ready(self, restarts: int) -> set[str]:
        """The Ready pods whose container restarted just so often."""
        return {
            name for name, pod in self.pods().items() if condition_is_true(pod, "Ready") and _restarts(pod) == restarts
        }

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():
                self._news.clear()
                await self._news.wait()

    def processes(self) -> list[psutil.Process]:
        """Each container's processes bear its pod's name."""
        found = []
        for process in self._cluster.processes():
            try:
                if process.name() in NAMES:
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found


def _restarts(pod: Object) -> int:
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


@asynccontextmanager
async def herd_of(cluster: RealCluster) -> AsyncIterator[Herd]:
    async with http_client(cluster.folder.read_settings(), pki.ADMIN) as client:
        herd = Herd(cluster, client)
        following = asyncio.create_task(herd.informer.run())
        await client.create(_herd_set())
        try:
            yield herd
        finally:
            await client.delete("StatefulSet", "herd", "default")
            await herd.until(lambda: not herd.pods())
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def _herd_set() -> Object:
    container = {"name": "main", "image": "registry.k8s.io/pause"}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "herd", "namespace": "default"},
        "spec": {
            "replicas": REPLICAS,
            "serviceName": "herd",
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": "herd"}},
            "template": {"metadata": {"labels": {"app": "herd"}}, "spec": spec},
        },
    }


async def kill_all(victims: list[psutil.Process], random: Random) -> None:
    """Each of them, in random order, in bursts of random size."""
    random.shuffle(victims)
    while victims:
        for _ in range(random.randint(1, LARGEST_BURST)):
            if victims:
                victims.pop().send_signal(signal.SIGKILL)
        await asyncio.sleep(0)


async def test_after_two_hundred_kills_every_pod_is_ready_and_nothing_is_left(shared: RealCluster) -> None:
    random = Random(SEED)
    components = {name: shared.actor_pid(name) for name in ("node-1", "node-2", "kubelet-1", "kubelet-2")}
    killed: list[psutil.Process] = []
    async with herd_of(shared) as herd:
        for number in range(ROUNDS):
            await herd.until(lambda: herd.ready(restarts=0) == NAMES)
            victims = herd.processes()
            assert Counter(each.name() for each in victims) == Counter(NAMES)
            killed += victims
            await kill_all([*victims], random)
            await herd.until(lambda: herd.ready(restarts=1) == NAMES)
            if number < ROUNDS - 1:
                path = "/api/v1/namespaces/default/pods?labelSelector=app%3Dherd"
                await asyncio.to_thread(shared.request, path, method="DELETE")
        assert len(killed) == REPLICAS * ROUNDS
        last = herd.processes()
        assert Counter(each.name() for each in last) == Counter(NAMES)
        assert not {each.pid for each in last} & {each.pid for each in killed}
    assert_all_end([*killed, *last])
    assert {name: shared.actor_pid(name) for name in components} == components
    ready = [condition_is_true(node, "Ready") for node in shared.request("/api/v1/nodes")["items"]]
    assert ready == [True, True]

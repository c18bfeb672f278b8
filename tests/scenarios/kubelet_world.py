"""A world for a kubelet in virtual time: the real API and the real kubelet on a machine without processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from petset.cluster.api.objects import Object, condition, condition_is_true
from petset.cluster.api.schema import load_schemas
from petset.cluster.apiserver.api import make_api
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.clock import LoopClock
from petset.cluster.errors import NotFound
from petset.cluster.kubelet.agent import Kubelet
from petset.cluster.kubelet.config import KubeletConfig, NodeIdentity
from petset.cluster.names import seeded_names
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.store.memory import MemoryBackend
from tests.fakes.client import CuttableClient
from tests.fakes.runtime import FakeProber, FakeRuntime

NODE = NodeIdentity(name="node-1", cluster="test", address="127.64.0.1", pod_cidr="127.64.1.0/24")
DISK_1 = "kubernetes.io/csi/petset.dev/disk^disk-1"
CONFIG = KubeletConfig(nameserver="127.128.0.10", nameserver_port=5353, api_address="127.128.0.1")
STEP_SECONDS = 0.01
SCHEMAS = load_schemas()


@dataclass
class World:
    """One API server, one machine, and the kubelet between them."""

    client: CuttableClient
    direct: LoopbackClient
    runtime: FakeRuntime
    prober: FakeProber
    clock: LoopClock
    kubelets: list[asyncio.Task[None]] = field(default_factory=list)

    def start_kubelet(self) -> None:
        kubelet = Kubelet(NODE, CONFIG, client=self.client, runtime=self.runtime, prober=self.prober, clock=self.clock)
        self.kubelets.append(asyncio.create_task(kubelet.run()))

    async def kill_kubelet(self) -> None:
        task = self.kubelets.pop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def create_pod(self, name: str = "web-0", **spec: Any) -> Object:
        """A pod that the scheduler has bound to the node already."""
        body = {"nodeName": NODE.name, "containers": [container()]} | spec
        return await self.direct.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": body}
        )

    async def pod(self, name: str = "web-0") -> Object:
        return await self.direct.get("Pod", name, "default")

    async def pod_until(
        self, holds: Callable[[Object], Any], name: str = "web-0", *, within_seconds: float = 5.0
    ) -> Object:
        """The pod as soon as `holds` is true of it."""
        pod = await self.pod(name)
        for _ in range(round(within_seconds / STEP_SECONDS)):
            if holds(pod):
                return pod
            await asyncio.sleep(STEP_SECONDS)
            pod = await self.pod(name)
        raise AssertionError(f"not within {within_seconds} s: {pod['status']}")

    async def gone_within(self, seconds: float, name: str = "web-0") -> float:
        """How long it took until the pod was gone, to the step."""
        for step in range(round(seconds / STEP_SECONDS) + 1):
            try:
                await self.pod(name)
            except NotFound:
                return step * STEP_SECONDS
            await asyncio.sleep(STEP_SECONDS)
        raise AssertionError(f"pod {name} is still there after {seconds} s: {await self.pod(name)}")

    async def events(self, name: str = "web-0") -> list[tuple[str, str]]:
        """(reason, message) of the pod's events, in the order in which they were last counted up."""
        listing = await self.direct.list("Event", "default")
        found = [each for each in listing.items if each["involvedObject"]["name"] == name]
        found.sort(key=lambda each: int(each["metadata"]["resourceVersion"]))
        return [(each["reason"], each["message"]) for each in found]

    def running(self, name: str = "web-0") -> int:
        """The attempt of the `main` container that runs."""
        status = self.runtime.container(name, "main")
        assert status.state == "running"
        return status.attempt


def container(name: str = "main", image: str = "web:1", **more: Any) -> Object:
    return {"name": name, "image": image} | more


@asynccontextmanager
async def new_world() -> AsyncIterator[World]:
    clock = LoopClock()
    api = await make_api(
        MemoryBackend(), schemas=SCHEMAS, clock=clock, names=seeded_names(1), addresses=loopback_plan(0)
    )
    direct = LoopbackClient(api)
    world = World(CuttableClient(direct), direct, FakeRuntime(clock), FakeProber(), clock)
    try:
        yield world
    finally:
        while world.kubelets:
            await world.kill_kubelet()


def main_status(pod: Object) -> Object:
    statuses: list[Object] = pod["status"].get("containerStatuses") or [{}]
    return statuses[0]


def condition_of(obj: Object, type_: str) -> Object:
    found = condition(obj, type_)
    assert found is not None
    return found


def is_ready(pod: Object) -> bool:
    return condition_is_true(pod, "Ready")


def is_running(pod: Object) -> bool:
    return "running" in (main_status(pod).get("state") or {})


def waits_for(reason: str) -> Callable[[Object], bool]:
    return lambda pod: ((main_status(pod).get("state") or {}).get("waiting") or {}).get("reason") == reason

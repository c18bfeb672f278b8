"""A whole cluster in one process and virtual time: real API, real controllers, real kubelets, fake machines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from petset.cluster.api.objects import Object, condition_is_true, name_of
from petset.cluster.assemble.local import Link, LocalCluster, direct
from petset.cluster.clock import LoopClock
from petset.cluster.control.client import Client
from petset.cluster.names import seeded_names
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.store.memory import MemoryBackend
from tests.fakes.runtime import FakeProber, FakeRuntime

PATIENCE_SECONDS = 600.0
"""Virtual seconds within which something that must happen has happened."""


@dataclass(frozen=True)
class Local:
    """The cluster, its machines by node name, and the questions that scenarios ask."""

    cluster: LocalCluster
    machines: dict[str, FakeRuntime]
    prober: FakeProber

    @property
    def client(self) -> Client:
        return self.cluster.client

    async def apply(self, *objects: Object) -> None:
        for obj in objects:
            if obj["kind"] not in ("PersistentVolume", "Namespace", "StorageClass", "Node"):
                obj["metadata"].setdefault("namespace", "default")
            await self.client.create(obj)

    async def pods(self) -> dict[str, Object]:
        return {name_of(pod): pod for pod in (await self.client.list("Pod", "default")).items}

    async def until(self, what: str, holds: Callable[[], Any]) -> Any:
        """Wait until an (async) question is answered with something true; what it answered."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (answer := await holds()):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"not within {PATIENCE_SECONDS} s: {what}; pods: {await self.pods()}") from None
        return answer

    async def ready(self, *names: str) -> dict[str, Object]:
        """Wait until exactly these pods exist and all are Ready."""

        async def holds() -> dict[str, Object] | None:
            pods = await self.pods()
            is_ready = all(condition_is_true(pod, "Ready") for pod in pods.values())
            return pods if sorted(pods) == sorted(names) and is_ready else None

        found = await self.until(f"ready: {names}", holds)
        assert isinstance(found, dict)
        return found

    async def attachments(self) -> list[str]:
        """`CLAIM: NODE` of every attached disk, sorted."""
        volumes = {name_of(each): each for each in (await self.client.list("PersistentVolume")).items}
        specs = [each["spec"] for each in (await self.client.list("VolumeAttachment")).items]
        claims = [volumes[each["source"]["persistentVolumeName"]]["spec"]["claimRef"]["name"] for each in specs]
        return sorted(f"{claim}: {each['nodeName']}" for claim, each in zip(claims, specs, strict=True))

    async def events(self, name: str) -> list[tuple[str, str]]:
        """(reason, message) of the events about an object, oldest first."""
        items = (await self.client.list("Event", "default", field_selector=f"involvedObject.name={name}")).items
        items.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [(event["reason"], event["message"]) for event in items]


@asynccontextmanager
async def local_cluster(
    node_count: int = 3, *, prober: FakeProber | None = None, link: Link = direct
) -> AsyncIterator[Local]:
    """Bring one up on the running (virtual-time) loop and wait until its nodes are Ready.

    `link` may put trouble between a component and the API server.
    """
    clock = LoopClock()
    machines = {f"node-{number}": FakeRuntime(clock, node_number=number) for number in range(1, node_count + 1)}
    prober = prober or FakeProber()
    cluster = LocalCluster(
        MemoryBackend(),
        clock=clock,
        names=seeded_names(1),
        addresses=loopback_plan(0),
        runtimes=machines,
        prober=prober,
        link=link,
    )
    async with cluster:
        local = Local(cluster, machines, prober)

        async def nodes_are_ready() -> bool:
            nodes = (await local.client.list("Node")).items
            return len(nodes) == node_count and all(condition_is_true(node, "Ready") for node in nodes)

        await local.until("nodes Ready", nodes_are_ready)
        yield local


def example(path: str) -> list[Object]:
    """The objects of a manifest under examples/."""
    text = (files("petset") / "examples" / path).read_text()
    documents = [document for document in yaml.safe_load_all(text) if document]
    return [item for document in documents for item in document.get("items", [document])]

"""A whole cluster on real processes, sockets and TLS in one process, without Ray: API, controllers, kubelets, DNS.

Everything is wired by the same functions that the actors call (petset.cluster.assemble); only the nodes' machines
are reached directly instead of over Ray. Slots 50 to 59 of the loopback network are its.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from petset.actors.dns import run_dns
from petset.cluster import pki
from petset.cluster.api.objects import Object, condition_is_true
from petset.cluster.api.schema import load_schemas
from petset.cluster.apiserver.api import make_api
from petset.cluster.assemble.api_server import serve_api
from petset.cluster.assemble.client import http_client
from petset.cluster.assemble.controllers import run_controllers
from petset.cluster.assemble.kubelet import run_kubelet
from petset.cluster.certificates import ensure_certificates
from petset.cluster.clock import SystemClock
from petset.cluster.kubeconfig import write_kubeconfig
from petset.cluster.names import system_names
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.node.catalogue_files import shipped_programs
from petset.cluster.node.images import Catalogue
from petset.cluster.node.machine import Machine
from petset.cluster.settings import ClusterSettings
from petset.cluster.store.memory import MemoryBackend
from tests.wire.serving import Served

PATIENCE_SECONDS = 30.0


class RealCluster(Served):
    """What `Served` offers, with nodes behind it."""

    async def run_pod(self, name: str, image: str, *, ready: bool = True, **container: object) -> Object:
        """Create a pod of one container and wait until it is Ready (or has ended)."""
        spec: Object = {"containers": [{"name": "main", "image": image, **container}]}
        if not ready:
            spec["restartPolicy"] = "Never"
        metadata = {"name": name, "namespace": "default"}
        await self.client.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        return await self.pod(name, ended=not ready)

    async def pod(self, name: str, *, ended: bool = False) -> Object:
        """The pod, once it is Ready, or has ended."""
        listing = await self.client.list("Pod", "default", field_selector=f"metadata.name={name}")
        items = listing.items
        async with asyncio.timeout(PATIENCE_SECONDS):
            selector = f"metadata.name={name}"
            async with self.client.watch(
                "Pod", "default", revision=listing.revision, field_selector=selector
            ) as events:
                pod = items[0] if items else {}
                while not self._is_there(pod, ended=ended):
                    pod = (await anext(events)).object
        return pod

    def _is_there(self, pod: Object, *, ended: bool) -> bool:
        phase = (pod.get("status") or {}).get("phase")
        return phase in ("Succeeded", "Failed") if ended else bool(pod) and condition_is_true(pod, "Ready")


@asynccontextmanager
async def real_cluster(home: Path, *, slot: int, node_count: int = 1) -> AsyncIterator[RealCluster]:
    """Bring one up, its files under `home`, and wait until its nodes are Ready."""
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        settings = ClusterSettings(
            name="real", home=str(home), node_count=node_count, port=listener.getsockname()[1], slot=slot,
            dns_port=_free_port(slot),
        )  # fmt: skip
        ensure_certificates(settings, time.time())
        pki.ensure_tokens(settings)
        write_kubeconfig(settings)
        api = await make_api(
            MemoryBackend(),
            schemas=load_schemas(),
            clock=SystemClock(),
            names=system_names(),
            addresses=settings.addresses,
        )
        tasks = await stack.enter_async_context(_tasks())
        await tasks.start(partial(serve_api, api, settings, listener))
        await tasks.start(partial(run_controllers, settings))
        await tasks.start(partial(run_dns, settings))
        for number, name in enumerate(settings.node_names, start=1):
            machine = await stack.enter_async_context(_machine(settings, name, number))
            node_tasks = await stack.enter_async_context(_tasks())
            await node_tasks.start(partial(run_kubelet, settings, name, machine))
        client = await stack.enter_async_context(http_client(settings, pki.ADMIN))
        cluster = RealCluster(api, settings, client)
        await _nodes_ready(cluster, node_count)
        yield cluster


def _machine(settings: ClusterSettings, name: str, number: int) -> Machine:
    return Machine(
        name,
        folder=settings.folder.node(name),
        volumes=settings.folder.volumes,
        network=LoopbackNetwork(settings.addresses, number),
        catalogue=Catalogue(shipped_programs()),
        clock=SystemClock(),
    )


async def _nodes_ready(cluster: RealCluster, node_count: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        listing = await cluster.client.list("Node")
        ready = {node["metadata"]["name"] for node in listing.items if condition_is_true(node, "Ready")}
        async with cluster.client.watch("Node", revision=listing.revision) as events:
            while len(ready) < node_count:
                node = (await anext(events)).object
                if condition_is_true(node, "Ready"):
                    ready.add(node["metadata"]["name"])


class _Tasks:
    def __init__(self) -> None:
        self.running: list[asyncio.Task[None]] = []

    async def start(self, part: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
        """Run a part, and wait until it is ready or has failed."""
        ready = asyncio.Event()
        task = asyncio.create_task(part(ready))
        self.running.append(task)
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if task.done():
            task.result()


@asynccontextmanager
async def _tasks() -> AsyncIterator[_Tasks]:
    tasks = _Tasks()
    try:
        yield tasks
    finally:
        for task in tasks.running:
            task.cancel()
        await asyncio.gather(*tasks.running, return_exceptions=True)


def kubectls() -> list[str]:
    """Every kubectl 1.27 to 1.33 that stands beside the real path of `kubectl`, oldest first."""
    folder = Path(os.path.realpath(shutil.which("kubectl") or "")).parent
    return [str(path) for minor in range(27, 34) if (path := folder / f"kubectl.1.{minor}").exists()]


def _free_port(slot: int) -> int:
    """A port for DNS that nobody has: another run of the tests may be using the same slot."""
    with socket.create_server((loopback_plan(slot).dns_address, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port

"""Every controller of a cluster in one process, over one set of shared informers."""

from __future__ import annotations

import asyncio

from petset.cluster import pki
from petset.cluster.api.kinds import BUILT_IN
from petset.cluster.assemble.client import http_client
from petset.cluster.clock import Clock, SystemClock
from petset.cluster.control.client import Client
from petset.cluster.control.controller import Controller
from petset.cluster.control.runner import Informers, Runner
from petset.cluster.controllers import endpoints, garbage, namespaces, nodes, statefulset, volumes
from petset.cluster.node.disk_driver import DiskDriver
from petset.cluster.scheduler import controller as scheduler
from petset.cluster.settings import ClusterSettings


def all_controllers(root_ca: str, *, started_at: float) -> tuple[Controller, ...]:
    """Every control loop of a cluster. `root_ca` is what pods need to trust the API server (PEM).

    `started_at` (epoch seconds) is when they start: a node is silent only if it has not been heard of since.
    """
    collected = tuple(row for row in BUILT_IN if row.kind != "Event")
    return (
        statefulset.CONTROLLER,
        *endpoints.CONTROLLERS,
        *volumes.CONTROLLERS,
        *nodes.node_controllers(nodes.NodeTimes(started_at=started_at)),
        *namespaces.namespace_controllers(BUILT_IN, root_ca),
        *garbage.garbage_controllers(collected),
        scheduler.CONTROLLER,
    )


class ControllerManager:
    """All controllers over one set of shared informers."""

    def __init__(self, client: Client, clock: Clock, controllers: tuple[Controller, ...]) -> None:
        self._informers = Informers(client, (kind for each in controllers for kind in each.kinds))
        self._runners = [Runner(each, client=client, informers=self._informers, clock=clock) for each in controllers]

    async def synced(self) -> None:
        """Wait until every informer has its first list."""
        await self._informers.synced()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._informers.run(), name="informers")
            for number, runner in enumerate(self._runners):
                tasks.create_task(runner.run(), name=f"controller {number}")


async def run_controllers(settings: ClusterSettings, ready: asyncio.Event) -> None:
    """Run every controller against the API server."""
    root_ca = pki.ca_certificate(settings.folder).read_text()
    async with http_client(settings, pki.CONTROLLER_MANAGER) as client, asyncio.TaskGroup() as tasks:
        clock = SystemClock()
        manager = ControllerManager(client, clock, all_controllers(root_ca, started_at=clock.now()))
        tasks.create_task(manager.run(), name="controller manager")
        tasks.create_task(DiskDriver(client, settings.folder.volumes).run(), name="disk driver")
        await manager.synced()
        ready.set()

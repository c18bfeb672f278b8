"""Every controller of a cluster in one process."""

from __future__ import annotations

import asyncio

from petset.cluster import pki
from petset.cluster.api.kinds import BUILT_IN, Kind
from petset.cluster.assemble.client import http_client
from petset.cluster.assemble.every_kind import CustomRows, run_over_every_kind
from petset.cluster.clock import SystemClock
from petset.cluster.control.controller import Controller
from petset.cluster.controllers import (
    deployment,
    disruption,
    endpoint_mirroring,
    endpoints,
    event_expiry,
    garbage,
    load_balancers,
    namespaces,
    nodes,
    replicaset,
    statefulset,
    volumes,
)
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.node.disk_driver import DiskDriver
from petset.cluster.scheduler import controller as scheduler
from petset.cluster.settings import ClusterSettings


def all_controllers(
    root_ca: str, *, addresses: AddressPlan, started_at: float, custom: tuple[Kind, ...] = ()
) -> tuple[Controller, ...]:
    """Every control loop of a cluster. `root_ca` is what pods need to trust the API server (PEM).

    `custom` are the kinds of CustomResourceDefinitions: collected and emptied like any other.

    `started_at` (epoch seconds) is when they start: a node is silent only if it has not been heard of since.
    """
    collected = tuple(row for row in BUILT_IN + custom if row.kind != "Event")
    return (
        statefulset.CONTROLLER,
        deployment.CONTROLLER,
        *replicaset.CONTROLLERS,
        disruption.CONTROLLER,
        *endpoints.CONTROLLERS,
        endpoint_mirroring.CONTROLLER,
        load_balancers.load_balancer_controller(addresses.services),
        *volumes.CONTROLLERS,
        *nodes.node_controllers(nodes.NodeTimes(started_at=started_at)),
        *namespaces.namespace_controllers(BUILT_IN + custom, root_ca),
        *garbage.garbage_controllers(collected),
        event_expiry.CONTROLLER,
        scheduler.CONTROLLER,
    )


async def run_controllers(settings: ClusterSettings, ready: asyncio.Event) -> None:
    """Run every controller against the API server."""
    root_ca = pki.ca_certificate(settings.folder).read_text()
    clock, known = SystemClock(), CustomRows()
    started_at = clock.now()

    def make(custom: tuple[Kind, ...]) -> tuple[Controller, ...]:
        return all_controllers(root_ca, addresses=settings.addresses, started_at=started_at, custom=custom)

    async with (
        http_client(settings, pki.CONTROLLER_MANAGER, custom_kinds=known) as client,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(run_over_every_kind(client, clock, make, known=known, ready=ready), name="controllers")
        tasks.create_task(DiskDriver(client, settings.folder.volumes).run(), name="disk driver")

"""Every controller of a cluster in one process."""

from __future__ import annotations

import asyncio

from petset.cluster import pki
from petset.cluster.api.kinds import BUILT_IN, Kind
from petset.cluster.assemble.client import http_client
from petset.cluster.assemble.every_kind import CustomRows, run_over_every_kind
from petset.cluster.clock import SystemClock
from petset.cluster.control.controller import Controller
from petset.cluster.control.watch_troubles import WatchTroubles
from petset.cluster.controllers import (
    attach_detach,
    deployment,
    disruption,
    endpoint_mirroring,
    endpoints,
    ephemeral_volumes,
    event_expiry,
    garbage,
    load_balancers,
    namespaces,
    nodes,
    replicaset,
    statefulset,
    volumes,
)
from petset.cluster.errors import Unavailable
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.node.attacher import Attacher, Machines
from petset.cluster.node.disk_driver import DiskDriver
from petset.cluster.node.disk_usage import DiskUsage
from petset.cluster.node.fencing import Fences
from petset.cluster.scheduler import controller as scheduler
from petset.cluster.settings import ClusterSettings


def all_controllers(
    root_ca: str, *, addresses: AddressPlan, started_at: float, custom: tuple[Kind, ...] = (),
    fences: bool = False, local_disks: str = "", time_scale: float = 1.0,
) -> tuple[Controller, ...]:  # fmt: skip
    """Every control loop of a cluster. `root_ca` is what pods need to trust the API server (PEM).

    `custom` are the kinds of CustomResourceDefinitions: collected and emptied like any other.

    `fences` is attach_detach.py's, `local_disks` that of volumes.py, `time_scale` the cluster's (settings.py).

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
        *volumes.volume_controllers(local_disks=local_disks),
        ephemeral_volumes.CONTROLLER,
        attach_detach.attach_detach_controller(fences=fences, time_scale=time_scale),
        *nodes.node_controllers(nodes.NodeTimes(started_at=started_at).at_scale(time_scale)),
        *namespaces.namespace_controllers(BUILT_IN + custom, root_ca),
        *garbage.garbage_controllers(collected),
        event_expiry.CONTROLLER,
        scheduler.CONTROLLER,
    )


def controller_names(settings: ClusterSettings) -> list[str]:
    """What the controllers of a cluster are called, as sources of events and by whoever troubles one of them."""
    everyone = all_controllers("", addresses=settings.addresses, started_at=0.0)
    return sorted({each.component for each in everyone})


class NoMachines:
    """For a cluster whose machines cannot be reached: disks stay where they are."""

    async def revoke_disk(self, node: str, disk: str) -> None:
        raise Unavailable(f"{node} cannot be reached")


async def run_controllers(
    settings: ClusterSettings, ready: asyncio.Event, troubles: WatchTroubles | None = None, *,
    machines: Machines | None = None,
) -> None:  # fmt: skip
    """Run every controller against the API server. `machines` are those that fenced disks are taken away from."""
    root_ca = pki.ca_certificate(settings.folder).read_text()
    clock, known = SystemClock(), CustomRows()
    started_at = clock.now()

    def make(custom: tuple[Kind, ...]) -> tuple[Controller, ...]:
        return all_controllers(
            root_ca, addresses=settings.addresses, started_at=started_at, custom=custom,
            fences=settings.fence, local_disks=settings.local_disks, time_scale=settings.time_scale,
        )  # fmt: skip

    async with (
        http_client(settings, pki.CONTROLLER_MANAGER, custom_kinds=known) as client,
        asyncio.TaskGroup() as tasks,
    ):
        running = run_over_every_kind(client, clock, make, known=known, ready=ready, troubles=troubles)
        tasks.create_task(running, name="controllers")
        tasks.create_task(DiskDriver(client, clock, settings.folder.volumes).run(), name="disk driver")
        tasks.create_task(DiskUsage(client, clock, settings.folder.volumes).run(), name="disk usage")
        if settings.fence:
            attacher = Attacher(client, machines or NoMachines(), settings.folder.volumes)
            tasks.create_task(attacher.run(), name="attacher")
        else:
            Fences(settings.folder.volumes).forget()

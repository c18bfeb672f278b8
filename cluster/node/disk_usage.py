"""What provisioned volumes hold, against what they were asked to hold.

All volumes lie in one file system of the host, which knows no limit for a folder: quotas need a file system made for
them, and images mounted by loop devices need root. So capacity is accounted and reported, not enforced: each volume in
use is measured every PERIOD_SECONDS, and a claim whose volume holds more than its capacity gets the Warning event
`VolumeConditionAbnormal` (external-health-monitor's), counted up while it stays so.

A measurement (trees.py) walks the volume in a thread.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from petset.cluster.api.objects import Object, name_of
from petset.cluster.api.volumes import capacity
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.control.events import EventRecorder
from petset.cluster.control.informer import Informer
from petset.cluster.control.writes import Record
from petset.cluster.node.disk_driver import disk_folder
from petset.cluster.trees import measure

PERIOD_SECONDS = 60.0
_MEBIBYTE = 1024 * 1024


class DiskUsage:
    """Watches the volumes below the cluster's folder `volumes`."""

    def __init__(self, client: Client, clock: Clock, volumes: Path) -> None:
        self._volumes = volumes
        self._informer = Informer(client, "PersistentVolume")
        self._recorder = EventRecorder(client, clock, component="petset-disk-usage")

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._informer.run(), name="disk usage informer")
            while True:
                await asyncio.sleep(PERIOD_SECONDS)
                await self.look()

    async def look(self) -> None:
        """Measure every bound volume once."""
        for volume in [*self._informer.index]:
            folder = disk_folder(self._volumes, volume)
            if folder is None or (volume.get("status") or {}).get("phase") != "Bound":
                continue
            used_bytes = await asyncio.to_thread(measure, folder)
            if said := complaint(volume, used_bytes):
                await self._recorder.record(said)


def complaint(volume: Object, used_bytes: int) -> Record | None:
    """What is said of a bound volume that holds more than its capacity; nobody is told of one without a claim."""
    if used_bytes <= capacity(volume) or not volume["spec"].get("claimRef"):
        return None
    reference = {key: value for key, value in volume["spec"]["claimRef"].items() if key != "resourceVersion"}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": reference}
    asked = volume["spec"]["capacity"]["storage"]
    text = (
        f"volume {name_of(volume)} holds more than its capacity of {asked}, at least {used_bytes // _MEBIBYTE} MiB; "
        "capacity is accounted here, not enforced"
    )
    return Record(claim, "Warning", "VolumeConditionAbnormal", text)

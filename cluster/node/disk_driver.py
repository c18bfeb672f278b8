"""The deleting half of petset's disk driver: removes the data of provisioned volumes whose deletion was asked for.

    PersistentVolume terminating, unused, ours to finish ─▶ policy Delete: remove its folder ─▶ drop the finalizer
                                                        policy Retain: leave it alone ───┘

A network disk goes only when it is attached to no node any more; until then the volume says why it is still there.
The finalizer is put on when the volume is provisioned and dropped only after the folder is gone, so a crash in between
repeats the removal and never forgets it; a folder is moved aside before it is emptied, so a half-removed disk can
never be mounted again. What decides (policy, finalizers) is read from the server right before. Data is removed nowhere
else while the cluster exists.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from petset.cluster.api.attachments import attached_volume
from petset.cluster.api.objects import Object, is_terminating, name_of
from petset.cluster.api.volumes import DISK_FINALIZER, LOCAL_DISKS_FOLDER, VOLUME_FINALIZER
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.control.events import EventRecorder
from petset.cluster.control.informer import Informer
from petset.cluster.control.workqueue import WorkQueue
from petset.cluster.control.writes import Record
from petset.cluster.errors import ApiError, Conflict, NotFound
from petset.cluster.node.sandbox import disk_name
from petset.cluster.node.volume_folder import inside
from petset.cluster.trees import remove_tree

log = logging.getLogger(__name__)


class DiskDriver:
    """Watches PersistentVolumes; `volumes` is the cluster's folder of volumes."""

    def __init__(self, client: Client, clock: Clock, volumes: Path) -> None:
        self._client = client
        self._recorder = EventRecorder(client, clock, component="external-provisioner")
        self._volumes = volumes
        self._informer = Informer(client, "PersistentVolume")
        self._queue = WorkQueue()
        self._informer.subscribe(self._seen)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._informer.run(), name="disk driver informer")
                tasks.create_task(self._work(), name="disk driver")
        finally:
            self._queue.close()

    def _seen(self, old: Object | None, new: Object | None) -> None:
        if new is not None and _is_due(new):
            self._queue.add(("", name_of(new)))

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            try:
                await self._finish(key[1])
                self._queue.succeeded(key)
            except (ApiError, OSError) as error:
                log.warning("volume %s: %s; again in %.1f s", key[1], error, self._queue.retry(key))
            finally:
                self._queue.done(key)

    async def _finish(self, name: str) -> None:
        try:
            volume = await self._client.get("PersistentVolume", name)  # its policy may have been changed a moment ago
        except NotFound:
            return
        if not _is_due(volume):
            return
        if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            await self._require_detached(volume)
            await asyncio.to_thread(remove_disk, self._volumes, volume)
        kept = [each for each in volume["metadata"]["finalizers"] if each != DISK_FINALIZER]
        guard = {field: volume["metadata"][field] for field in ("uid", "resourceVersion")}
        await self._client.patch("PersistentVolume", name, body={"metadata": {**guard, "finalizers": kept or None}})

    async def _require_detached(self, volume: Object) -> None:
        """Raises Conflict while a node has the disk: somebody there may still write (controller.go, Delete)."""
        attachments = (await self._client.list("VolumeAttachment")).items
        nodes = [each["spec"]["nodeName"] for each in attachments if attached_volume(each) == name_of(volume)]
        if nodes:
            text = f"persistentvolume {name_of(volume)} is still attached to node {nodes[0]}"
            await self._recorder.record(Record(volume, "Warning", "VolumeFailedDelete", text))
            raise Conflict(text)


def remove_disk(volumes: Path, volume: Object) -> None:
    """Move the disk's folder aside, then empty it; one that is not there is removed already.

    Raises OSError, and RuntimeFailure for a folder that a link leads out of `volumes`.
    """
    folder, trash = disk_folder(volumes, volume), volumes / "trash"
    if folder is None:
        raise OSError(f"volume {name_of(volume)} names no disk")
    inside(volumes, str(folder.relative_to(volumes)))
    trash.mkdir(parents=True, exist_ok=True)
    aside = trash / folder.name
    remove_tree(aside)  # what an interrupted removal left
    if os.path.lexists(folder):
        folder.replace(aside)
    remove_tree(aside)


def disk_folder(volumes: Path, volume: Object) -> Path | None:
    """Where a provisioned volume's files are, on every machine alike; None for a volume that is not ours.

    Handles and paths of hand-made volumes may be anything: none leads out of the folder.
    """
    spec = volume["spec"]
    if "csi" in spec:
        handle = str(spec["csi"].get("volumeHandle") or "")
        return volumes / "disks" / disk_name(handle) if handle else None
    path = str((spec.get("local") or {}).get("path", ""))
    if not path.startswith(f"{LOCAL_DISKS_FOLDER}/") or ".." in path.split("/"):
        return None
    return volumes / "hostpath" / path.lstrip("/")


def _is_due(volume: Object) -> bool:
    """Deletion was asked for, the data waits for us, and nobody uses the volume: its protection is gone already."""
    finalizers = volume["metadata"].get("finalizers") or ()
    return is_terminating(volume) and DISK_FINALIZER in finalizers and VOLUME_FINALIZER not in finalizers

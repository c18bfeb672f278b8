"""The deleting half of petset's disk driver: removes the data of provisioned volumes whose deletion was asked for.

    PersistentVolume terminating, unused, ours to finish ─▶ policy Delete: remove its folder ─▶ drop the finalizer
                                                        policy Retain: leave it alone ───┘

The finalizer is put on when the volume is provisioned and dropped only after the folder is gone, so a crash in between
repeats the removal and never forgets it; a folder is moved aside before it is emptied, so a half-removed disk can
never be mounted again. Data is removed nowhere else while the cluster exists.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

from petset.cluster.api.objects import Object, is_terminating, name_of
from petset.cluster.api.volumes import DISK_FINALIZER, VOLUME_FINALIZER
from petset.cluster.control.client import Client
from petset.cluster.control.informer import Informer
from petset.cluster.control.workqueue import WorkQueue
from petset.cluster.errors import ApiError, NotFound

log = logging.getLogger(__name__)


class DiskDriver:
    """Watches PersistentVolumes; `volumes` is the cluster's folder of volumes."""

    def __init__(self, client: Client, volumes: Path) -> None:
        self._client = client
        self._disks = volumes / "disks"
        self._trash = volumes / "trash"
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
        volume = self._informer.index.get("", name)
        if volume is None or not _is_due(volume):
            return
        handle = ((volume["spec"].get("csi") or {}).get("volumeHandle")) or ""
        if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            await asyncio.to_thread(self._remove, handle)
        kept = [each for each in volume["metadata"]["finalizers"] if each != DISK_FINALIZER]
        body = {"metadata": {"uid": volume["metadata"]["uid"], "finalizers": kept or None}}
        try:
            await self._client.patch("PersistentVolume", name, body=body)
        except NotFound:
            return

    def _remove(self, handle: str) -> None:
        """Move the folder aside, then empty it; one that is not there is removed already."""
        if not handle or "/" in handle or handle.startswith("."):
            raise OSError(f"the volume handle {handle!r} names no disk")
        self._trash.mkdir(parents=True, exist_ok=True)
        aside = self._trash / handle
        if (self._disks / handle).exists():
            (self._disks / handle).replace(aside)
        if aside.exists():
            shutil.rmtree(aside)


def _is_due(volume: Object) -> bool:
    """Deletion was asked for, the data waits for us, and nobody uses the volume: its protection is gone already."""
    finalizers = volume["metadata"].get("finalizers") or ()
    return is_terminating(volume) and DISK_FINALIZER in finalizers and VOLUME_FINALIZER not in finalizers

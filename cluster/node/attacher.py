"""The attaching half of petset's disk driver, where disks are fenced: the external attacher of network disks.

    VolumeAttachment new          ─▶ the node is admitted ─▶ status.attached
    VolumeAttachment terminating  ─▶ the node is kept out ─▶ its machine kills what holds the disk ─▶ finalizer dropped

Only when the finalizer is gone does the attach/detach controller attach the disk elsewhere: at no time can processes of
two nodes write to it. A machine that does not answer (a frozen one) keeps its disk; one that is dead has no processes
left, and finds the mark when it comes back (fencing.py). Each attachment is worked on by itself, so that a silent
machine holds up nobody else's.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Protocol

from petset.cluster.api.attachments import attached_disk, attacher_finalizer
from petset.cluster.api.objects import Object, is_terminating, name_of, uid_of
from petset.cluster.control.client import Client
from petset.cluster.control.informer import Informer
from petset.cluster.errors import ApiError, NotFound
from petset.cluster.node.fencing import Fences

REVOKE_SECONDS = 20.0
FIRST_RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 5.0

log = logging.getLogger(__name__)


class Machines(Protocol):
    """The nodes' machines, reached as the storage reaches them: not over the nodes' network."""

    async def revoke_disk(self, node: str, disk: str) -> None:
        """Returns when no process of the node has the disk any more; raises ApiError while that is not sure."""


class Attacher:
    """Watches VolumeAttachments; `volumes` is the cluster's folder of volumes."""

    def __init__(self, client: Client, machines: Machines, volumes: Path) -> None:
        self._client = client
        self._machines = machines
        self._fences = Fences(volumes)
        self._informer = Informer(client, "VolumeAttachment")
        self._due: asyncio.Queue[str] = asyncio.Queue()
        self._busy: set[str] = set()
        self._informer.subscribe(self._seen)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._informer.run(), name="attacher informer")
            while True:
                name = await self._due.get()
                if name not in self._busy:
                    self._busy.add(name)
                    tasks.create_task(self._settle(name), name=f"attacher {name}")

    def _seen(self, old: Object | None, new: Object | None) -> None:
        if new is not None and _is_due(new):
            self._due.put_nowait(name_of(new))

    async def _settle(self, name: str) -> None:
        """Until there is nothing to do about the attachment."""
        pause = FIRST_RETRY_SECONDS
        while (attachment := self._informer.index.get("", name)) is not None and _is_due(attachment):
            try:
                await self._serve(attachment)
                break
            except (ApiError, OSError, TimeoutError) as error:
                log.warning("attachment %s: %s; again in %.1f s", name, error, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_RETRY_SECONDS)
        self._busy.discard(name)
        self._seen(None, self._informer.index.get("", name))

    async def _serve(self, attachment: Object) -> None:
        """One step; raises what makes it worth another try."""
        node, driver = attachment["spec"]["nodeName"], attachment["spec"]["attacher"]
        disk = attached_disk(attachment)
        if not is_terminating(attachment):
            self._fences.admit(node, disk)
            await self._patch(attachment, {"status": {"attached": True}}, subresource="status")
            return
        self._fences.keep_out(node, disk)
        async with asyncio.timeout(REVOKE_SECONDS):
            await self._machines.revoke_disk(node, disk)
        log.info("disk %s was taken away from %s", disk, node)
        kept = [each for each in attachment["metadata"]["finalizers"] if each != attacher_finalizer(driver)]
        guard = {"resourceVersion": attachment["metadata"]["resourceVersion"]}  # a list is written as a whole
        await self._patch(attachment, {"metadata": {"finalizers": kept or None, **guard}})

    async def _patch(self, attachment: Object, body: Object, *, subresource: str = "") -> None:
        guarded = {**body, "metadata": {**body.get("metadata", {}), "uid": uid_of(attachment)}}
        try:
            answer = await self._client.patch(
                "VolumeAttachment", name_of(attachment), body=guarded, subresource=subresource
            )
        except NotFound:
            return
        await self._informer.reached(int(answer["metadata"]["resourceVersion"]))


def _is_due(attachment: Object) -> bool:
    """It waits for us: to be attached, or to be let go."""
    if attacher_finalizer(attachment["spec"]["attacher"]) not in (attachment["metadata"].get("finalizers") or ()):
        return False
    return is_terminating(attachment) or not (attachment.get("status") or {}).get("attached")

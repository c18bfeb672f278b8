"""The volumes that this node uses, as its Node says, and the wait until network disks are attached.

    hold ──▶ Node.status.volumesInUse is written ──▶ attached already?  mount
                                                 └─▶ wait for Node.status.volumesAttached (this kubelet's own watch)
    release (nothing of it runs) ──▶ taken out of volumesInUse again ──▶ the controller may detach

First "in use", then a look at "attached", never the other way round: that is what makes a detachment safe
(api/attachments.py). The look counts only at a Node that is as new as the kubelet's own word. What is in use follows
from the pods that hold something, and after the kubelet's restart from the sandboxes on its machine; it is written as
a whole, one write at a time. When the API server does not answer, a release is written later.

Also here: ReadWriteOncePod, which admits one pod at a time to a volume (actual_state_of_world.go).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from petset.cluster.api.attachments import is_attachable, volumes_attached, volumes_in_use
from petset.cluster.api.cri import SandboxStatus, Volume
from petset.cluster.api.objects import Object
from petset.cluster.control.client import Client
from petset.cluster.control.informer import Informer
from petset.cluster.errors import ApiError
from petset.cluster.kubelet.volumes import VolumeNotReady

LOOK_SECONDS = 1.0
"""How long a pod waits for its disks before it looks for other news about itself."""
RETRY_SECONDS = 2.0

log = logging.getLogger(__name__)


class NotAttached(Exception):
    """Some disks are not attached yet; the message is that of the FailedMount event, should it take too long."""


class Attachments:
    """One node's volumes; `run` follows the Node."""

    def __init__(self, client: Client, node_name: str) -> None:
        self._client = client
        self._node_name = node_name
        self._informer = Informer(client, "Node", field_selector=f"metadata.name={node_name}")
        self._held: dict[str, tuple[Volume, ...]] = {}
        self._written: list[frozenset[str]] = []
        """What the Node says is in use, as this kubelet has written it; empty before its first word."""
        self._revision = 0
        self._writing = asyncio.Lock()
        self._late = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._informer.run(), name="node informer")
            while True:
                await self._late.wait()
                self._late.clear()
                try:
                    await self._write()
                except ApiError as error:
                    log.info("volumes in use by %s: %s", self._node_name, error)
                    await asyncio.sleep(RETRY_SECONDS)
                    self._late.set()

    @property
    def node(self) -> Object | None:
        """This Node as it was last seen; None before the first look."""
        return self._informer.index.get("", self._node_name)

    def adopt(self, sandboxes: Iterable[SandboxStatus]) -> None:
        """What an earlier kubelet of this node has mounted; what it said beyond that is out of date."""
        for each in sandboxes:
            if each.volumes:
                self._held.setdefault(each.uid, tuple(Volume("", "disk", persistent=unique) for unique in each.volumes))
        self._late.set()

    async def hold(self, pod_uid: str, volumes: tuple[Volume, ...]) -> None:
        """Say that the pod uses these, and wait a moment for disks. Raises NotAttached, VolumeNotReady, ApiError."""
        persistent = tuple(each for each in volumes if each.persistent)
        for each in persistent:
            self._check_one_pod(pod_uid, each)
        self._held[pod_uid] = persistent
        disks = {each.persistent for each in persistent if is_attachable(each.persistent)}
        if not disks:
            return
        await self._write()
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._attached(disks)
        except TimeoutError:
            raise NotAttached(self._missing(persistent)) from None

    async def release(self, pod_uid: str) -> None:
        """The pod's volumes are unmounted: its sandbox is gone, or no container of it will ever run again."""
        if self._held.pop(pod_uid, None) is None:
            return
        try:
            await self._write()
        except ApiError:
            self._late.set()

    def _check_one_pod(self, pod_uid: str, volume: Volume) -> None:
        others = (held for uid, held in self._held.items() if uid != pod_uid)
        if volume.one_pod and any(each.persistent == volume.persistent for held in others for each in held):
            text = "volume uses the ReadWriteOncePod access mode and is already in use by another pod"
            raise VolumeNotReady(f'MountVolume.SetUp failed for volume "{volume.name}" : {text}')

    def _in_use(self) -> frozenset[str]:
        names = (each.persistent for held in self._held.values() for each in held)
        return frozenset(name for name in names if is_attachable(name))

    async def _write(self) -> None:
        """Bring the Node up to date; a node that never had a disk never writes."""
        async with self._writing:
            wanted = self._in_use()
            present = self._written[-1] if self._written else frozenset(await self._said_before())
            if wanted != present:
                body = {"status": {"volumesInUse": sorted(wanted) or None}}
                node = await self._client.patch("Node", self._node_name, body=body, subresource="status")
                self._revision = int(node["metadata"]["resourceVersion"])
            self._written = [wanted]

    async def _said_before(self) -> list[str]:
        return volumes_in_use(await self._client.get("Node", self._node_name))

    async def _attached(self, disks: set[str]) -> None:
        await self._informer.reached(self._revision)
        while not disks <= self._attached_now():
            await self._informer.reached(self._informer.revision + 1)

    def _attached_now(self) -> set[str]:
        return set(volumes_attached(self.node)) if self.node is not None else set()

    def _missing(self, volumes: tuple[Volume, ...]) -> str:
        attached = self._attached_now()
        missing = [each.name for each in volumes if is_attachable(each.persistent) and each.persistent not in attached]
        names = " ".join(missing)
        return (
            f"Unable to attach or mount volumes: unmounted volumes=[{names}], unattached volumes=[{names}], "
            "failed to process volumes=[]: context deadline exceeded"
        )

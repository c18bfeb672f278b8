"""A fenced disk is let go only when nothing on its node can write to it any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from petset.cluster.api.attachments import DISK_HANDLE
from petset.cluster.api.cri import CreationFailure, Volume
from petset.cluster.api.objects import Object
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.errors import NotFound, Unavailable
from petset.cluster.node.attacher import Attacher
from petset.cluster.node.fencing import Fences
from tests.apis import new_api

pytestmark = pytest.mark.looptime

DISK = Volume("data", "disk", "disk-1")


@dataclass
class FakeMachines:
    """Machines that are asked; each waits for its sign, and fails as long as it has failures left."""

    volumes: Path
    asked: list[tuple[str, str]] = field(default_factory=list)
    failures: int = 0
    silent: set[str] = field(default_factory=set)

    async def revoke_disk(self, node: str, disk: str) -> None:
        self.asked.append((node, disk))
        with pytest.raises(CreationFailure):  # kept out before it is asked to kill
            Fences(self.volumes).check(node, [DISK])
        if node in self.silent:
            await asyncio.sleep(100_000)
        if self.failures:
            self.failures -= 1
            raise Unavailable("not now")


def attachment(name: str = "csi-1", node: str = "node-1") -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": {
            "name": name,
            "finalizers": ["external-attacher/d"],
            "annotations": {DISK_HANDLE: "disk-1"},
        },
        "spec": {"attacher": "d", "nodeName": node, "source": {"persistentVolumeName": "pv-1"}},
    }


@dataclass
class Storage:
    client: LoopbackClient
    machines: FakeMachines
    fences: Fences

    async def attach(self, obj: Object) -> None:
        await self.client.create(obj)
        await asyncio.sleep(1)
        made = await self.client.get("VolumeAttachment", obj["metadata"]["name"])
        assert made["status"]["attached"] is True

    async def is_gone(self, name: str = "csi-1") -> bool:
        try:
            await self.client.get("VolumeAttachment", name)
        except NotFound:
            return True
        return False


@asynccontextmanager
async def storage(volumes: Path) -> AsyncIterator[Storage]:
    client, machines = LoopbackClient(await new_api()), FakeMachines(volumes)
    task = asyncio.create_task(Attacher(client, machines, volumes).run())
    try:
        yield Storage(client, machines, Fences(volumes))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("failures", [0, 3])
async def test_a_disk_is_taken_away_before_it_is_let_go(tmp_path: Path, failures: int) -> None:
    async with storage(tmp_path) as world:
        world.machines.failures = failures
        await world.attach(attachment())
        world.fences.check("node-1", [DISK])
        await world.client.delete("VolumeAttachment", "csi-1")
        assert not await world.is_gone()
        await asyncio.sleep(10)
        assert await world.is_gone()
        assert world.machines.asked == [("node-1", "disk-1")] * (failures + 1)


async def test_a_machine_that_does_not_answer_keeps_its_disk_and_holds_up_nobody(tmp_path: Path) -> None:
    async with storage(tmp_path) as world:
        world.machines.silent = {"node-1"}
        await world.attach(attachment())
        await world.attach(attachment("csi-2", "node-2"))
        await world.client.delete("VolumeAttachment", "csi-1")
        await world.client.delete("VolumeAttachment", "csi-2")
        await asyncio.sleep(300)
        assert (await world.is_gone("csi-1"), await world.is_gone("csi-2")) == (False, True)
        world.machines.silent.clear()
        await asyncio.sleep(30)
        assert await world.is_gone("csi-1")


async def test_a_node_that_gets_the_disk_back_is_admitted(tmp_path: Path) -> None:
    async with storage(tmp_path) as world:
        world.fences.keep_out("node-1", "disk-1")
        await world.attach(attachment())
        world.fences.check("node-1", [DISK])


async def test_attachments_without_our_finalizer_are_somebody_elses(tmp_path: Path) -> None:
    async with storage(tmp_path) as world:
        other = attachment()
        other["metadata"]["finalizers"] = ["example.com/other"]
        await world.client.create(other)
        await asyncio.sleep(1)
        assert "attached" not in ((await world.client.get("VolumeAttachment", "csi-1")).get("status") or {})


async def test_other_finalizers_stay(tmp_path: Path) -> None:
    async with storage(tmp_path) as world:
        await world.attach(attachment())
        body = {"metadata": {"finalizers": ["external-attacher/d", "example.com/backup"]}}
        await world.client.patch("VolumeAttachment", "csi-1", body=body)
        await world.client.delete("VolumeAttachment", "csi-1")
        await asyncio.sleep(10)
        left = await world.client.get("VolumeAttachment", "csi-1")
        assert left["metadata"]["finalizers"] == ["example.com/backup"]


def test_a_cluster_that_fences_no_more_admits_everybody(tmp_path: Path) -> None:
    fences = Fences(tmp_path)
    fences.keep_out("node-1", "disk-1")
    fences.forget()
    fences.check("node-1", [DISK])


def test_marks_are_per_node_and_disk(tmp_path: Path) -> None:
    fences = Fences(tmp_path)
    fences.keep_out("node-1", "disk-1")
    for node, volume in (("node-2", DISK), ("node-1", Volume("x", "disk", "disk-2")), ("node-1", Volume("x", "empty"))):
        fences.check(node, [volume])
    with pytest.raises(CreationFailure, match="disk disk-1 is no longer attached to node-1"):
        Fences(tmp_path).check("node-1", [DISK])

"""The disk driver removes the data of deleted volumes, and of no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.api.volumes import DISK_FINALIZER, local_disk_path
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.clock import SystemClock
from petset.cluster.node.disk_driver import DiskDriver, disk_folder
from tests.apis import new_api


def volume(policy: str, handle: str = "pvc-1") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "pvc-1", "finalizers": [DISK_FINALIZER]},
        "spec": {
            "capacity": {"storage": "1Mi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": policy,
            "csi": {"driver": "petset.dev/disk", "volumeHandle": handle},
        },
    }


@asynccontextmanager
async def driver(volumes: Path) -> AsyncIterator[LoopbackClient]:
    client = LoopbackClient(await new_api())
    task = asyncio.create_task(DiskDriver(client, SystemClock(), volumes).run())
    try:
        yield client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def disk(volumes: Path) -> Path:
    folder = volumes / "disks" / "pvc-1"
    folder.mkdir(parents=True)
    (folder / "kubia.txt").write_text("data")
    return folder


async def drop_protection(client: LoopbackClient) -> None:
    """What the volume controller does once nobody uses the volume."""
    await client.patch("PersistentVolume", "pvc-1", body={"metadata": {"finalizers": [DISK_FINALIZER]}})


async def until_gone(client: LoopbackClient) -> None:
    async with asyncio.timeout(10):
        while (await client.list("PersistentVolume")).items:
            await asyncio.sleep(0)


@pytest.mark.parametrize(("policy", "kept"), [("Delete", False), ("Retain", True)])
async def test_the_policy_decides(tmp_path: Path, policy: str, kept: bool) -> None:
    folder = disk(tmp_path)
    async with driver(tmp_path) as client:
        await client.create(volume(policy))
        await drop_protection(client)
        await client.delete("PersistentVolume", "pvc-1")
        await until_gone(client)
    assert folder.exists() is kept


async def test_a_living_volume_is_left_alone(tmp_path: Path) -> None:
    folder = disk(tmp_path)
    async with driver(tmp_path) as client:
        await client.create(volume("Delete"))
        await client.patch("PersistentVolume", "pvc-1", body={"metadata": {"labels": {"a": "b"}}})
        for _ in range(50):
            await asyncio.sleep(0)
    assert (folder / "kubia.txt").read_text() == "data"


async def test_a_crash_between_moving_and_removing_is_finished(tmp_path: Path) -> None:
    disk(tmp_path).rename(tmp_path / "half")
    (tmp_path / "trash").mkdir()
    (tmp_path / "half").rename(tmp_path / "trash" / "pvc-1")
    async with driver(tmp_path) as client:
        await client.create(volume("Delete"))
        await drop_protection(client)
        await client.delete("PersistentVolume", "pvc-1")
        await until_gone(client)
    assert not (tmp_path / "trash" / "pvc-1").exists()


async def test_a_handle_that_leaves_the_folder_removes_nothing(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    async with driver(tmp_path) as client:
        await client.create(volume("Delete", handle="../precious"))
        await drop_protection(client)
        await client.delete("PersistentVolume", "pvc-1")
        for _ in range(50):
            await asyncio.sleep(0)
        assert (await client.get("PersistentVolume", "pvc-1"))["metadata"]["finalizers"] == [DISK_FINALIZER]
    assert precious.exists()


async def test_an_attached_disk_is_not_removed(tmp_path: Path) -> None:
    folder = disk(tmp_path)
    async with driver(tmp_path) as client:
        await client.create(volume("Delete"))
        await client.create(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "VolumeAttachment",
                "metadata": {"name": "csi-1"},
                "spec": {"attacher": "d", "nodeName": "node-1", "source": {"persistentVolumeName": "pvc-1"}},
            }
        )
        await drop_protection(client)
        await client.delete("PersistentVolume", "pvc-1")
        for _ in range(50):
            await asyncio.sleep(0)
        assert (folder / "kubia.txt").exists()
        (event,) = (await client.list("Event", "default")).items
        assert event["message"] == "persistentvolume pvc-1 is still attached to node node-1"
        await client.delete("VolumeAttachment", "csi-1")
        await until_gone(client)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        pytest.param({"csi": {"volumeHandle": "pvc-1"}}, "disks/pvc-1", id="network-disk"),
        pytest.param(
            {"local": {"path": local_disk_path("node-2", "pvc-1")}},
            "hostpath/var/lib/petset/local-disks/node-2/pvc-1", id="local-disk",
        ),
        pytest.param({"csi": {"volumeHandle": "../x"}}, None, id="handle-that-leads-out"),
        pytest.param({"csi": {}}, None, id="no-handle"),
        pytest.param({"local": {"path": "/mnt/ssd"}}, None, id="hand-made-local-volume"),
        pytest.param({"local": {"path": local_disk_path("..", "../x")}}, None, id="path-that-leads-out"),
        pytest.param({"hostPath": {"path": "/tmp/x"}}, None, id="hostPath"),
    ],
)  # fmt: skip
def test_where_a_provisioned_volume_lies(spec: Object, place: str | None, tmp_path: Path) -> None:
    assert disk_folder(tmp_path, {"spec": spec}) == (tmp_path / place if place else None)

"""The disk driver removes the data of deleted volumes, and of no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from petset.cluster.api.cri import RuntimeFailure
from petset.cluster.api.objects import Object
from petset.cluster.api.volumes import DISK_FINALIZER, LOCAL_DISKS_FOLDER, local_disk_path
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.clock import SystemClock
from petset.cluster.control.client import Client, WatchEvent
from petset.cluster.node.disk_driver import DiskDriver, disk_folder, remove_disk
from tests.apis import new_api
from tests.fakes.unruly import Trouble, UnrulyClient


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


class WatchingClient(UnrulyClient):
    """Tells when it watches."""

    def __init__(self, inner: Client, trouble: Trouble) -> None:
        super().__init__(inner, trouble)
        self.watches = asyncio.Event()

    @asynccontextmanager
    async def watch(
        self, kind: str, namespace: str = "", *, revision: str, field_selector: str = ""
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        async with super().watch(kind, namespace, revision=revision, field_selector=field_selector) as events:
            self.watches.set()
            yield events


@asynccontextmanager
async def driver(volumes: Path, trouble: Trouble | None = None) -> AsyncIterator[LoopbackClient]:
    client = LoopbackClient(await new_api())
    its_own = WatchingClient(client, trouble or Trouble(Random(0)))
    task = asyncio.create_task(DiskDriver(its_own, SystemClock(), volumes).run())
    await its_own.watches.wait()
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
    listing = await client.list("PersistentVolume")
    if not listing.items:
        return
    async with asyncio.timeout(10), client.watch("PersistentVolume", revision=listing.revision) as events:
        async for event in events:
            if event.type == "DELETED":
                return


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


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"local": {"path": local_disk_path("..", "precious")}}, id="path"),
        pytest.param({"local": {"path": local_disk_path("link", "precious")}}, id="link"),
        pytest.param({"local": {"path": "/srv/precious"}}, id="no-disk-of-ours"),
    ],
)
def test_what_leads_out_of_the_folder_is_never_removed(spec: Object, tmp_path: Path) -> None:
    precious, volumes = tmp_path / "precious", tmp_path / "volumes"
    precious.mkdir()
    disks = volumes / "hostpath" / LOCAL_DISKS_FOLDER.strip("/")
    disks.mkdir(parents=True)
    (disks / "link").symlink_to(tmp_path)
    with pytest.raises((OSError, RuntimeFailure)):
        remove_disk(volumes, {"metadata": {"name": "pvc-1"}, "spec": spec})
    assert precious.exists()


@pytest.mark.looptime
async def test_a_policy_that_was_changed_a_moment_ago_counts(tmp_path: Path) -> None:
    """The driver's cache may be late; data that is removed is gone."""
    folder, lag_seconds = disk(tmp_path), Random(0).uniform(0, 4)
    trouble = Trouble(Random(0), lag_seconds=4)
    async with driver(tmp_path, trouble) as client:
        await client.create(volume("Delete"))
        await drop_protection(client)
        await client.delete("PersistentVolume", "pvc-1")
        await asyncio.sleep(lag_seconds - 0.1)  # the driver hears of the deletion next, and of the change later
        await client.patch("PersistentVolume", "pvc-1", body={"spec": {"persistentVolumeReclaimPolicy": "Retain"}})
        await until_gone(client)
    assert (folder / "kubia.txt").exists()


async def test_a_removal_that_was_cut_off_and_met_a_late_writer_is_finished(tmp_path: Path) -> None:
    """A crash left the folder in the trash, half empty; a machine that heard nothing made the disk's folder again."""
    disk(tmp_path)
    (tmp_path / "trash" / "pvc-1" / "rest").mkdir(parents=True)
    async with driver(tmp_path) as client:
        await client.create(volume("Delete"))
        await drop_protection(client)
        await client.delete("PersistentVolume", "pvc-1")
        await until_gone(client)
    assert [*(tmp_path / "disks").iterdir(), *(tmp_path / "trash").iterdir()] == []


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
        pytest.param({"csi": {"volumeHandle": "../x"}}, "disks/%2E.%2Fx", id="handle-that-leads-out"),
        pytest.param({"csi": {}}, None, id="no-handle"),
        pytest.param({"local": {"path": "/mnt/ssd"}}, None, id="hand-made-local-volume"),
        pytest.param({"local": {"path": local_disk_path("..", "../x")}}, None, id="path-that-leads-out"),
        pytest.param({"hostPath": {"path": "/tmp/x"}}, None, id="hostPath"),
    ],
)  # fmt: skip
def test_where_a_provisioned_volume_lies(spec: Object, place: str | None, tmp_path: Path) -> None:
    assert disk_folder(tmp_path, {"spec": spec}) == (tmp_path / place if place else None)

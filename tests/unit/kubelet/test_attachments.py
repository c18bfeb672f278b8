"""A kubelet says what it uses before it looks at what is attached, and mounts only then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import pytest

from petset.cluster.api.cri import SandboxStatus, Volume
from petset.cluster.api.objects import Object
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.errors import Unavailable
from petset.cluster.kubelet.attachments import Attachments, NotAttached
from petset.cluster.kubelet.effects import DisksAwaited, SandboxReady
from petset.cluster.kubelet.memory import PodMemory, absorb
from petset.cluster.kubelet.volumes import VolumeNotReady
from tests.apis import new_api
from tests.fakes.client import CuttableClient
from tests.fakes.unruly import Trouble, UnrulyClient

pytestmark = pytest.mark.looptime

ONE, TWO = "kubernetes.io/csi/d^disk-1", "kubernetes.io/csi/d^disk-2"
DATA = Volume("data", "disk", "disk-1", persistent=ONE)
LOGS = Volume("logs", "disk", "disk-2", persistent=TWO)
HOST = Volume("host", "hostPath", "/tmp/x", persistent="kubernetes.io/host-path/pv-a")


@dataclass
class Node:
    direct: LoopbackClient
    link: CuttableClient
    attachments: Attachments

    async def status(self) -> Object:
        status: Object = (await self.direct.get("Node", "node-1")).get("status") or {}
        return status

    async def in_use(self) -> list[str]:
        used: list[str] = (await self.status()).get("volumesInUse", [])
        return used

    async def attach(self, *names: str) -> None:
        body = {"status": {"volumesAttached": [{"name": each, "devicePath": ""} for each in names]}}
        await self.direct.patch("Node", "node-1", body=body, subresource="status")


@asynccontextmanager
async def node(*, says: tuple[str, ...] = (), lag_seconds: float = 0.0) -> AsyncIterator[Node]:
    """A node whose kubelet has just started; `says` is what an earlier one has said, its news are late."""
    direct = LoopbackClient(await new_api())
    await direct.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}})
    if says:
        await direct.patch("Node", "node-1", body={"status": {"volumesInUse": [*says]}}, subresource="status")
    link = CuttableClient(UnrulyClient(direct, Trouble(Random(0), lag_seconds=lag_seconds)))
    attachments = Attachments(link, "node-1")
    task = asyncio.create_task(attachments.run())
    try:
        yield Node(direct, link, attachments)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_in_use_is_said_before_the_disk_is_waited_for() -> None:
    async with node() as it:
        with pytest.raises(NotAttached, match=r"unmounted volumes=\[data\], unattached volumes=\[data\]"):
            await it.attachments.hold("uid", (DATA, HOST))
        assert await it.in_use() == [ONE]


async def test_the_wait_ends_when_the_disk_is_attached() -> None:
    async with node() as it:
        asyncio.get_running_loop().call_later(0.5, asyncio.ensure_future, it.attach(ONE))
        began = asyncio.get_running_loop().time()
        await it.attachments.hold("uid", (DATA,))
        assert asyncio.get_running_loop().time() - began == pytest.approx(0.5, abs=0.1)


async def test_an_attachment_from_before_our_word_does_not_count() -> None:
    """It may be going: the Node must be as new as what we have said."""
    async with node() as it:
        await it.attach(ONE)
        await asyncio.sleep(1)
        it.link.cut()
        with pytest.raises(Unavailable):
            await it.attachments.hold("uid", (DATA,))


async def test_a_late_cache_does_not_show_a_disk_that_was_taken_away_before_our_word() -> None:
    async with node(lag_seconds=0.9) as it:
        await it.attach(ONE)
        await asyncio.sleep(5)
        await it.attach()
        with pytest.raises(NotAttached):
            await it.attachments.hold("uid", (DATA,))


async def test_volumes_that_are_no_disks_need_no_word() -> None:
    async with node() as it:
        it.link.cut()
        await it.attachments.hold("uid", (HOST, Volume("scratch", "empty")))


async def test_a_disk_is_in_use_until_its_last_pod_has_released_it() -> None:
    async with node() as it:
        await it.attach(ONE, TWO)
        await it.attachments.hold("one", (DATA,))
        await it.attachments.hold("two", (DATA, LOGS))
        await it.attachments.release("one")
        assert await it.in_use() == [ONE, TWO]
        await it.attachments.release("two")
        await it.attachments.release("two")
        assert await it.in_use() == []


async def test_a_release_that_nobody_heard_is_said_later() -> None:
    async with node() as it:
        await it.attach(ONE)
        await it.attachments.hold("uid", (DATA,))
        it.link.cut()
        await it.attachments.release("uid")
        assert await it.in_use() == [ONE]
        it.link.mend()
        await asyncio.sleep(10)
        assert await it.in_use() == []


async def test_a_new_kubelet_says_what_its_machine_holds() -> None:
    async with node(says=(ONE, TWO)) as it:
        sandbox = SandboxStatus("uid", "default", "web-0", "127.0.0.1", 0.0, volumes=(ONE, HOST.persistent))
        it.attachments.adopt([sandbox])
        await asyncio.sleep(1)
        assert await it.in_use() == [ONE]


async def test_read_write_once_pod_admits_one_pod() -> None:
    alone = Volume("data", "hostPath", "/tmp/x", persistent=HOST.persistent, one_pod=True)
    async with node() as it:
        await it.attachments.hold("one", (alone,))
        await it.attachments.hold("one", (alone,))
        with pytest.raises(VolumeNotReady, match="already in use by another pod"):
            await it.attachments.hold("two", (alone,))
        await it.attachments.release("one")
        await it.attachments.hold("two", (alone,))


async def test_a_wait_that_takes_too_long_is_told_again_and_again() -> None:
    memory, told = PodMemory(), []
    for now in range(0, 260, 2):
        memory, said = absorb(memory, DisksAwaited("unmounted"), images={}, now=float(now))
        told += [(now, each.reason, each.message) for each in said]
    assert told == [(124, "FailedMount", "unmounted"), (248, "FailedMount", "unmounted")]
    memory, _ = absorb(memory, SandboxReady(), images={}, now=260.0)
    assert memory.awaited_since is None

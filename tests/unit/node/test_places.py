"""Leaving a pod's place: whole even where somebody was there before, and not given away before it is left."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from petset.cluster.api.cri import RuntimeFailure, SandboxSpec, Volume
from petset.cluster.clock import LoopClock
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.network.network import PodNetwork
from petset.cluster.node.images import Catalogue
from petset.cluster.node.machine import Machine

pytestmark = pytest.mark.looptime

PLAN = loopback_plan(63)


class SlowNetwork(LoopbackNetwork):
    """Takes a second to detach a pod; `trouble` is raised after it, once. Knows who is `attached`."""

    def __init__(self, *trouble: OSError) -> None:
        super().__init__(PLAN, 1)
        self.attached: set[str] = set()
        self._trouble = [*trouble]

    async def attach_pod(self, key: str) -> PodNetwork:
        self.attached.add(key)
        return await super().attach_pod(key)

    async def detach_pod(self, key: str) -> None:
        await asyncio.sleep(1)
        if self._trouble:
            raise self._trouble.pop()
        self.attached.discard(key)
        await super().detach_pod(key)


def machine(folder: Path, network: SlowNetwork) -> Machine:
    """One that is never booted: places are made without a warm parent."""
    places = {"folder": folder / "node-1", "volumes": folder / "volumes"}
    return Machine("node-1", **places, network=network, catalogue=Catalogue([]), clock=LoopClock())


def pet(uid: str) -> SandboxSpec:
    return SandboxSpec(uid, "default", "pet-0", hostname="pet-0")


async def test_a_successor_is_not_given_the_place_before_it_is_left(tmp_path: Path) -> None:
    network = SlowNetwork()
    node = machine(tmp_path, network)
    await node.run_sandbox(pet("one"))
    leaving = asyncio.create_task(node.remove_sandbox("one"))
    await asyncio.sleep(0.5)
    await node.run_sandbox(pet("two"))
    await leaving
    assert network.attached == {"default/pet-0"}


async def test_a_disk_of_many_files_holds_up_no_other_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Giving it to the pod's group happens beside the loop, and before the pod's turn to be made."""
    done, begun = threading.Event(), threading.Event()

    def slow(place: str, user: int, group: int, *, follow_symlinks: bool) -> None:
        begun.set()
        assert done.wait(10), "the loop waits for the disk"

    monkeypatch.setattr(os, "chown", slow)
    node = machine(tmp_path, SlowNetwork())
    data = Volume("data", "disk", source="pv-1")
    large = asyncio.create_task(node.run_sandbox(replace(pet("one"), volumes=(data,), group=4711)))
    while not begun.is_set():
        await asyncio.sleep(0)
    await node.run_sandbox(replace(pet("two"), name="pet-1"))
    assert [each.uid for each in await node.list_sandboxes()] == ["two"]
    done.set()
    assert (await large).uid == "one"


async def test_a_place_that_could_not_be_left_is_left_again(tmp_path: Path) -> None:
    network = SlowNetwork(OSError("the kernel is busy"))
    node = machine(tmp_path, network)
    await node.run_sandbox(pet("one"))
    with pytest.raises(RuntimeFailure, match="cannot remove pod default/pet-0: the kernel is busy"):
        await node.remove_sandbox("one")
    await node.remove_sandbox("one")
    assert (await node.list_sandboxes(), network.attached) == ([], set())


async def test_a_folder_that_somebody_removed_holds_nothing_back(tmp_path: Path) -> None:
    node = machine(tmp_path, SlowNetwork())
    await node.run_sandbox(pet("one"))
    shutil.rmtree(tmp_path / "node-1" / "pods")
    await node.remove_sandbox("one")
    assert await node.list_sandboxes() == []

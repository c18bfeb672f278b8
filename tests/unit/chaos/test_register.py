"""Who acts when, and what is healed in which order: the register over a cluster that writes down what is done to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from petset.cluster.chaos import register as module
from petset.cluster.chaos.errors import CannotHere, FaultError, HealFailed, NoSuchTarget
from petset.cluster.chaos.faults import parse_fault
from petset.cluster.chaos.pods import find_pod
from petset.cluster.chaos.register import Entry, Register
from petset.cluster.clock import LoopClock
from tests.fakes.world import FakeWorld

pytestmark = pytest.mark.looptime


class Site:
    def __init__(self, world: FakeWorld, register: Register) -> None:
        self.world = world
        self.register = register

    async def inject(self, fault: str, **fields: Any) -> Entry:
        mapping = {"fault": fault, **{name.rstrip("_"): value for name, value in fields.items()}}
        return await self.register.inject(parse_fault(mapping))

    def states(self) -> dict[str, str]:
        return {entry.id: entry.state for entry in self.register.entries()}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    world = FakeWorld()
    async with Register(world, LoopClock()) as register:
        yield Site(world, register)


async def test_an_instant_fault_is_done_and_has_nothing_to_heal(site: Site) -> None:
    entry = await site.inject("kill", component="dns")
    assert (entry.id, entry.state) == ("f1", "done")
    assert await site.register.heal_all() == []
    assert (await site.register.heal("f1")).state == "done"
    assert site.world.said == [("dns", "kill")]


async def test_a_fault_acts_until_it_is_healed_and_healing_twice_changes_nothing(site: Site) -> None:
    await site.inject("freeze", component="controller")
    healed = await site.register.heal("f1")
    assert healed.state == "healed"
    assert healed.healed_at is not None
    assert await site.register.heal("f1") is healed
    assert site.world.said == [("controller", "freeze", "f1"), ("controller", "thaw", "f1")]


async def test_a_fault_with_a_duration_heals_by_itself(site: Site) -> None:
    entry = await site.inject("stop", component="dns", for_seconds=30)
    await asyncio.sleep(29.9)
    assert entry.state == "active"
    await asyncio.sleep(0.2)
    assert entry.state == "healed"
    assert entry.as_json()["healed_at"] is not None
    assert site.world.said[-1] == ("dns", "let up", "f1")


async def test_everything_is_healed_from_the_newest_to_the_oldest(site: Site) -> None:
    for name in ("dns", "controller", "kubelet-1"):
        await site.inject("freeze", component=name)
    assert [entry.id for entry in await site.register.heal_all()] == ["f3", "f2", "f1"]


async def test_the_end_of_the_cluster_heals_what_is_left() -> None:
    world = FakeWorld()
    async with Register(world, LoopClock()) as register:
        await Site(world, register).inject("freeze", component="dns", for_seconds=60)
    assert world.said[-1] == ("dns", "thaw", "f1")


async def test_a_heal_that_fails_leaves_its_fault_active_and_does_not_keep_the_others(site: Site) -> None:
    for name in ("dns", "controller"):
        await site.inject("freeze", component=name)
    site.world.components["controller"].refuses.add("thaw")
    with pytest.raises(HealFailed, match=r"f2 \(freeze\): controller is not up"):
        await site.register.heal_all()
    assert site.states() == {"f1": "healed", "f2": "active"}
    site.world.components["controller"].refuses.clear()
    await site.register.heal("f2")
    assert site.states()["f2"] == "healed"


async def test_a_heal_that_breaks_does_not_keep_the_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(reason: str) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(site.world.components["controller"], "thaw", broken)
    for name in ("dns", "controller"):
        await site.inject("freeze", component=name)
    with pytest.raises(HealFailed, match=r"f2 \(freeze\): a bug"):
        await site.register.heal_all()
    assert site.states() == {"f1": "healed", "f2": "active"}


async def test_a_fault_whose_time_is_over_is_healed_as_soon_as_that_can_be(site: Site) -> None:
    entry = await site.inject("freeze", component="dns", for_seconds=10)
    site.world.components["dns"].refuses.add("thaw")
    await asyncio.sleep(15)
    assert entry.state == "active"
    site.world.components["dns"].refuses.clear()
    await asyncio.sleep(module.RETRY_SECONDS)
    assert entry.state == "healed"


async def test_there_is_a_bound_and_a_memory(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ACTIVE", 2)
    monkeypatch.setattr(module, "MAX_KEPT", 1)
    for name in ("dns", "controller"):
        await site.inject("freeze", component=name)
    with pytest.raises(CannotHere, match="2 faults act at a time"):
        await site.inject("freeze", component="kubelet-1")
    await site.register.heal_all()
    await site.inject("kill", component="dns")
    assert site.states() == {"f3": "done"}


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        pytest.param({"fault": "kill", "component": "kubelet-9"}, NoSuchTarget, "no kubelet-9; it has", id="component"),
        pytest.param({"fault": "stop", "component": "ray-node-1"}, CannotHere, "is the cluster itself", id="the first"),
        pytest.param({"fault": "kill", "component": "ray-node-3"}, NoSuchTarget, "no ray-node-3; it", id="Ray node"),
        pytest.param({"fault": "power-off", "node": "node-9"}, NoSuchTarget, "has no node-9", id="node"),
        pytest.param({"fault": "kill-pod", "pod": "nobody"}, NoSuchTarget, "default/nobody is not on any", id="pod"),
        pytest.param(
            {"fault": "kill-pod", "pod": "pet", "node": "node-2"}, NoSuchTarget, "is not on node-2", id="pod elsewhere"
        ),
        pytest.param(
            {"fault": "kill-pod", "pod": "pet", "container": "side"},
            NoSuchTarget, "runs no container 'side'; it runs main", id="container",
        ),
        pytest.param({"fault": "cut", "from": "node/node-9", "to": "dns"}, NoSuchTarget, "no node-9", id="endpoint"),
        pytest.param({"fault": "cut", "from": "dns", "to": "dns"}, CannotHere, "name two", id="one end only"),
        pytest.param(
            {"fault": "delay-watch", "controller": "api-server", "seconds": 1}, CannotHere, "watches nothing", id="api"
        ),
        pytest.param(
            {"fault": "duplicate-watch", "controller": "kubelet-9"}, NoSuchTarget, "no kubelet-9", id="watcher"
        ),
    ],
)  # fmt: skip
async def test_what_is_not_there_is_not_hit(
    site: Site, fault: dict[str, Any], error: type[FaultError], said: str
) -> None:
    site.world.run_pod("pet", os.getpid())
    with pytest.raises(error, match=said):
        await site.register.inject(parse_fault(fault))
    assert site.states() == {}
    assert site.world.said == []


async def test_healing_a_fault_that_never_was(site: Site) -> None:
    with pytest.raises(NoSuchTarget, match="no fault f7"):
        await site.register.heal("f7")


async def test_power_off_takes_the_kubelet_first_and_the_cable_and_power_on_goes_back(site: Site) -> None:
    await site.inject("power-off", node="node-2")
    await site.register.heal("f1")
    assert site.world.said == [
        ("kubelet-2", "hold down", "f1"), ("node-2", "hold down", "f1"), ("network", "cut_node", "2"),
        ("network", "heal_node", "2"), ("node-2", "let up", "f1"), ("kubelet-2", "let up", "f1"),
    ]  # fmt: skip


async def test_a_ray_node_takes_the_power_of_all_its_machines(site: Site) -> None:
    await site.inject("stop", component="ray-node-2")
    await site.register.heal("f1")
    assert site.world.said == [
        ("ray-node-2", "hold down", "f1"), ("network", "cut_node", "1"), ("network", "cut_node", "2"),
        ("network", "heal_node", "2"), ("network", "heal_node", "1"), ("ray-node-2", "let up", "f1"),
    ]  # fmt: skip


async def test_a_ray_node_that_keeps_its_power_keeps_its_cables(site: Site) -> None:
    await site.inject("kill", component="ray-node-2")
    await site.inject("freeze", component="ray-node-2")
    assert site.world.said == [("ray-node-2", "kill"), ("ray-node-2", "freeze", "f2")]


async def test_a_cluster_of_one_ray_node_says_how_to_get_another(site: Site) -> None:
    del site.world.components["ray-node-2"]
    with pytest.raises(CannotHere, match="petset up --ray-nodes 2"):
        await site.inject("kill", component="ray-node-2")


async def test_a_power_off_that_fails_half_way_is_undone(site: Site) -> None:
    site.world.components["node-2"].refuses.add("hold down")
    with pytest.raises(CannotHere, match="node-2 is not up"):
        await site.inject("power-off", node="node-2")
    assert ("kubelet-2", "let up", "f1") in site.world.said
    site.world.components["node-2"].refuses.clear()
    site.world.network_refuses = True
    with pytest.raises(CannotHere, match="the network cannot"):
        await site.inject("power-off", node="node-2")
    assert site.world.said[-1] == ("kubelet-2", "let up", "f1")
    assert site.states() == {}


async def test_a_cable_that_two_faults_hold_is_plugged_in_after_the_second(site: Site) -> None:
    await site.inject("cut", from_="node/node-1", to="everything")
    await site.inject("power-off", node="node-1")
    await site.register.heal("f1")
    assert ("network", "heal_node", "1") not in site.world.said
    await site.register.heal("f2")
    assert ("network", "heal_node", "1") in site.world.said


async def test_packets_are_held_back_between_addresses_and_let_go(site: Site) -> None:
    site.world.run_pod("pet", os.getpid())
    await site.inject("loss", from_="pod/pet", to="node/node-2", share=0.5, one_way=True)
    here, there = "('10.244.1.2',)", "('172.18.0.2', '10.244.2.0/24')"
    assert site.world.said == [("network", "drop", here, there, "share=0.5")]
    await site.register.heal("f1")
    assert site.world.said[1:] == [("network", "heal_drop", here, there)]


async def test_the_same_packets_are_not_held_back_twice(site: Site) -> None:
    await site.inject("cut", from_="node/node-1", to="node/node-2")
    await site.inject("loss", from_="node/node-1", to="node/node-2", share=0.5)
    with pytest.raises(CannotHere, match="fault f1 does the same between these ends"):
        await site.inject("cut", from_="node/node-2", to="node/node-1")
    await site.register.heal("f1")
    await site.inject("cut", from_="node/node-2", to="node/node-1")


async def test_what_the_kernel_refuses_is_refused_with_its_reason_and_undone(site: Site) -> None:
    site.world.network_refuses = True
    with pytest.raises(CannotHere, match="the network cannot: this kernel is built without it"):
        await site.inject("delay", from_="node/node-1", to="dns", delay_ms=5)
    assert {each[1] for each in site.world.said} == {"heal_delay"}
    assert site.states() == {}


async def test_packets_of_the_loopback_network_cannot_be_held_back() -> None:
    world = FakeWorld(has_namespaces=False)
    async with Register(world, LoopClock()) as register:
        for to in ("node/node-2", "everything"):
            with pytest.raises(CannotHere, match="loopback network"):
                await Site(world, register).inject("cut", from_="node/node-1", to=to)


async def test_clocks_and_watches_are_standing_orders(site: Site) -> None:
    await site.inject("skew-clock", node="node-1", seconds=-60)
    await site.inject("drop-watch", controller="statefulset-controller", share=0.5)
    await site.inject("duplicate-watch", controller="kubelet-2")
    assert [each[:3] for each in site.world.said] == [
        ("kubelet-1", "order", "f1"), ("controller", "order", "f2"), ("kubelet-2", "order", "f3"),
    ]  # fmt: skip
    assert [each[4:6] for each in site.world.said[1:]] == [("f2", "statefulset-controller"), ("f3", "")]
    await site.register.heal_all()
    assert site.world.said[-1] == ("kubelet-1", "recall", "f1", "restore_clock", "f1")


async def test_a_volume_is_troubled_on_every_machine(site: Site) -> None:
    await site.inject("slow-fsync", claim="data-pet-0", delay_ms=200)
    volume = "kubernetes.io/host-path/default-data-pet-0"
    order = ("order", "f1", "inject_disk_fault", "f1", volume, "slow-fsync", "200.0")
    assert site.world.said == [("node-1", *order), ("node-2", *order)]
    await site.register.heal("f1")
    assert site.world.said[2:] == [(node, "recall", "f1", "heal_disk_fault", "f1") for node in ("node-1", "node-2")]


async def test_a_machine_that_refuses_a_disk_fault_says_why_and_none_keeps_it(site: Site) -> None:
    site.world.components["node-2"].answers["inject_disk_fault"] = "bring it up with --disk-faults"
    with pytest.raises(CannotHere, match="--disk-faults"):
        await site.inject("fill-disk", claim="data-pet-0")
    assert [each[0] for each in site.world.said if each[1] == "recall"] == ["node-1", "node-2"]
    assert site.states() == {}


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        pytest.param({"fault": "fill-disk", "claim": "data-pet-0"}, ["node-1", "node-2"], id="disks, on every machine"),
        pytest.param({"fault": "skew-clock", "node": "node-2", "seconds": 5}, ["kubelet-2"], id="a clock"),
        pytest.param({"fault": "duplicate-watch", "controller": "kubelet-2"}, ["kubelet-2"], id="watches"),
    ],
)
async def test_an_order_without_an_answer_is_taken_back_where_it_may_have_arrived(
    site: Site, fault: dict[str, Any], asked: list[str]
) -> None:
    site.world.components[asked[-1]].refuses.add("order")
    with pytest.raises(CannotHere, match="is not up"):
        await site.register.inject(parse_fault(fault))
    assert [each[0] for each in site.world.said if each[1] == "recall"] == asked


async def test_a_disk_is_healed_on_every_machine_that_answers(site: Site) -> None:
    await site.inject("fill-disk", claim="data-pet-0")
    site.world.components["node-1"].refuses.add("recall")
    with pytest.raises(HealFailed, match="node-1 is not up"):
        await site.register.heal("f1")
    assert site.world.said[-1][:2] == ("node-2", "recall")


async def test_of_two_pods_of_one_name_the_newer_is_meant_unless_a_node_is_named(site: Site) -> None:
    site.world.run_pod("pet", 1, node="node-2", created_at=1.0)
    site.world.run_pod("pet", 2, node="node-1", created_at=2.0)
    assert (await find_pod(site.world, "default", "pet")).node == "node-1"
    assert (await find_pod(site.world, "default", "pet", node="node-2")).node == "node-2"

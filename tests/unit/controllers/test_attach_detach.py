"""Network disks are where their pods are: one node at a time, and never taken from a node that may still write."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from petset.cluster.api.attachments import DISK_HANDLE, attached_disk, attachment_name, unique_name
from petset.cluster.api.objects import Object, is_terminating
from petset.cluster.api.times import format_time
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import NOTHING, Patch
from petset.cluster.controllers.attach_detach import (
    DETACH_REQUESTED_AT,
    MAX_WAIT_FOR_UNMOUNT_SECONDS,
    attach_detach_controller,
    plan_volume,
)
from tests import builders
from tests.unit.controllers.volume_kit import RWO, RWX, bound, reference, user, volume
from tests.unit.controllers.world import World

NOW = builders.EPOCH
KEY = ("", "pv-a")
MULTI_ATTACH = 'Multi-Attach error for volume "pv-a" Volume is already '
TAINT = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute", "value": "nodeshutdown"}


def disk(*modes: str) -> Object:
    csi = {"driver": "d", "volumeHandle": "h"}
    return volume(csi=csi, claimRef=reference(), phase="Bound", modes=modes or (RWO,))


def node(
    name: str = "node-1", *, ready: bool = True, used: bool = False, attached: bool = False, **spec: Any
) -> Object:
    status: Object = {"conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}]}
    if used:
        status["volumesInUse"] = [unique_name(disk())]
    if attached:
        status["volumesAttached"] = [{"name": unique_name(disk()), "devicePath": ""}]
    meta = builders.metadata("Node", name, namespace="")
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec, "status": status}


def attachment(on: str = "node-1", **meta: Any) -> Object:
    name = attachment_name(disk(), on)
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": builders.metadata("VolumeAttachment", name, namespace="", **meta),
        "spec": {"attacher": "d", "nodeName": on, "source": {"persistentVolumeName": "pv-a"}},
        "status": {"attached": True},
    }


def settled(*objects: Object, fences: bool = False, now: float = NOW) -> World:
    world = World(bound(), *objects)
    world.settle([("PersistentVolume", partial(plan_volume, fences=fences))], now=now)
    return world


def places(world: World) -> dict[str, bool]:
    """node -> attached"""
    found = [each for (kind, _, _), each in world.objects.items() if kind == "VolumeAttachment"]
    return {each["spec"]["nodeName"]: bool((each.get("status") or {}).get("attached")) for each in found}


def texts(world: World) -> list[tuple[str, str]]:
    return [(each.reason, each.message) for each in world.said]


def test_a_pod_with_a_node_gets_its_disk_attached() -> None:
    world = settled(disk(), node(), user("node-1"))
    made = world.get("VolumeAttachment", attachment_name(disk(), "node-1"), "")
    assert made["spec"] == attachment()["spec"]
    assert made["status"] == {"attached": True}
    assert "finalizers" not in made["metadata"]
    assert world.get("Node", "node-1", "")["status"]["volumesAttached"] == [
        {"name": "kubernetes.io/csi/d^h", "devicePath": ""}
    ]
    assert texts(world) == [("SuccessfulAttachVolume", 'AttachVolume.Attach succeeded for volume "pv-a"')]


def test_a_promised_node_gets_the_disk_already() -> None:
    world = settled(disk(), node(), user("") | {"status": {"nominatedNodeName": "node-1"}})
    assert places(world) == {"node-1": True}


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([disk(), node(), user("")], id="pod-without-a-node"),
        pytest.param([disk(), node(), user("node-1", "other")], id="other-claim"),
        pytest.param([disk(), user("node-1")], id="unknown-node"),
        pytest.param([disk(), node(), user("node-1") | {"status": {"phase": "Succeeded"}}], id="ended-pod"),
        pytest.param([volume(claimRef=reference(), phase="Bound"), node(), user("node-1")], id="hostPath"),
    ],
)
def test_what_needs_no_attachment(objects: list[Object]) -> None:
    assert places(settled(*objects)) == {}


def test_a_volume_that_is_marked_for_deletion_is_not_attached() -> None:
    going = disk()
    going["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["kubernetes.io/pv-protection"]}
    world = settled(going, node(), user("node-1"))
    text = 'AttachVolume.Attach failed for volume "pv-a" : PersistentVolume "pv-a" is marked for deletion'
    assert (places(world), texts(world)) == ({}, [("FailedAttachVolume", text)])
    kept = settled(going, attachment(), node(used=True, attached=True), user("node-1"))
    assert places(kept) == {"node-1": True}


@pytest.mark.parametrize("crash_after", range(3))
def test_an_attachment_is_finished_after_a_crash(crash_after: int) -> None:
    world = World(bound(), disk(), node(), user("node-1"))
    for write in plan_volume(KEY, world.snapshot, NOW, fences=False).writes[:crash_after]:
        world._perform(write)  # type: ignore[arg-type]  # a plan that was cut off
    world.settle([("PersistentVolume", partial(plan_volume, fences=False))], now=NOW)
    assert places(world) == {"node-1": True}
    assert len(world.get("Node", "node-1", "")["status"]["volumesAttached"]) == 1


MOVED = user("node-2") | {"metadata": builders.metadata("Pod", "web-0", uid="uid-new")}


@pytest.mark.parametrize(
    ("nodes", "pods", "expected", "said"),
    [
        pytest.param([node(used=True), node("node-2")], [MOVED], {"node-1": True},
                     MULTI_ATTACH + "exclusively attached to one node and can't be attached to another",
                     id="old-node-still-uses-it"),
        pytest.param([node(used=True, attached=True), node("node-2")],
                     [user("node-1") | {"metadata": builders.metadata("Pod", "web-9")}, MOVED], {"node-1": True},
                     MULTI_ATTACH + "used by pod(s) web-9", id="other-pod-uses-it"),
        pytest.param([node(), node("node-2")], [MOVED], {"node-2": True}, "", id="old-node-let-go"),
    ],
)  # fmt: skip
def test_one_node_at_a_time(nodes: list[Object], pods: list[Object], expected: dict[str, bool], said: str) -> None:
    world = settled(disk(), attachment(), *nodes, *pods)
    assert places(world) == expected
    assert [text for reason, text in texts(world) if reason == "FailedAttachVolume"] == ([said] if said else [])


def test_a_shared_disk_is_attached_to_many_nodes() -> None:
    world = settled(disk(RWX), attachment(), node(used=True), node("node-2"), user("node-1"), MOVED)
    assert places(world) == {"node-1": True, "node-2": True}


@pytest.mark.parametrize(
    ("holder", "waited", "fences", "gone", "forced"),
    [
        pytest.param(node(attached=True), 0, False, True, False, id="not-in-use"),
        pytest.param(node(used=True), 10_000, False, False, False, id="in-use-on-a-ready-node"),
        pytest.param(node(used=True, ready=False), 359, False, False, False, id="unreachable-not-yet"),
        pytest.param(node(used=True, ready=False), 360, False, True, True, id="unreachable-for-six-minutes"),
        pytest.param(node(used=True, ready=False, taints=[TAINT]), 0, False, True, True, id="out-of-service"),
        pytest.param(node(used=True, ready=False), 0, True, True, False, id="fenced-at-once"),
        pytest.param(None, 360, False, True, True, id="node-deleted"),
        pytest.param(None, 359, False, False, False, id="node-deleted-not-yet"),
    ],
)
def test_when_a_disk_is_detached(holder: Object | None, waited: float, fences: bool, gone: bool, forced: bool) -> None:
    finalizers = ["external-attacher/d"] if fences else []
    asked = attachment(annotations={DETACH_REQUESTED_AT: format_time(NOW)}, finalizers=finalizers)
    world = settled(disk(), asked, *([holder] if holder else []), fences=fences, now=NOW + waited)
    left = [each for each in world.objects.values() if each["kind"] == "VolumeAttachment" and not is_terminating(each)]
    assert (not left) is gone
    assert [reason for reason, _ in texts(world)] == (["ForcedDetach"] if forced else [])
    if gone and holder:
        assert not world.get("Node", "node-1", "")["status"].get("volumesAttached")


def test_the_six_minutes_are_remembered_over_a_restart() -> None:
    world = World(bound(), disk(), attachment(), node(used=True, ready=False))
    outcome = plan_volume(KEY, world.snapshot, NOW, fences=False)
    world.apply(outcome)
    kept = world.get("VolumeAttachment", attachment_name(disk(), "node-1"), "")
    assert kept["metadata"]["annotations"] == {DETACH_REQUESTED_AT: format_time(NOW)}
    assert outcome.again_at == NOW + MAX_WAIT_FOR_UNMOUNT_SECONDS
    assert plan_volume(KEY, world.snapshot, NOW + 5, fences=False).again_at == outcome.again_at


def test_a_pod_that_comes_back_in_time_keeps_its_disk() -> None:
    waiting = attachment(annotations={DETACH_REQUESTED_AT: format_time(NOW - 1000)})
    world = settled(disk(), waiting, node(used=True, ready=False), user("node-1"))
    kept = world.get("VolumeAttachment", attachment_name(disk(), "node-1"), "")
    assert not kept["metadata"].get("annotations")


def test_a_node_that_says_in_use_at_the_same_moment_stops_the_detachment() -> None:
    """The Node is written under its resourceVersion before the attachment is deleted."""
    first, second = plan_volume(
        KEY, Snapshot.of([bound(), disk(), attachment(), node(attached=True)]), NOW, fences=False
    ).writes
    assert isinstance(first, Patch)
    assert isinstance(first.body, dict)
    assert first.body["metadata"] == {"resourceVersion": "1"}
    assert type(second).__name__ == "Delete"


def test_a_fenced_disk_moves_only_when_it_was_taken_away() -> None:
    fenced = attachment(finalizers=["external-attacher/d"])
    world = settled(disk(), fenced, node(used=True, ready=False), node("node-2"), MOVED, fences=True)
    assert sorted(places(world)) == ["node-1"]
    del world.objects["VolumeAttachment", "", attachment_name(disk(), "node-1")]
    world.settle([("PersistentVolume", partial(plan_volume, fences=True))], now=NOW)
    assert places(world) == {"node-2": False}  # the attacher says when it is
    made = world.get("VolumeAttachment", attachment_name(disk(), "node-2"), "")
    assert made["metadata"]["finalizers"] == ["external-attacher/d"]


HANDLE = {DISK_HANDLE: "h"}
PROTECTED = ["external-attacher/d"]


@pytest.mark.parametrize("vanished", [[], [volume()]], ids=["no-object", "no-disk-any-more"])
@pytest.mark.parametrize(
    ("holder", "gone"),
    [
        pytest.param(node(attached=True), True, id="not-in-use"),
        pytest.param(node(used=True, attached=True), False, id="in-use"),
        pytest.param(node(used=True, attached=True, taints=[TAINT]), True, id="out-of-service"),
    ],
)
def test_an_attachment_outlives_its_volume_and_is_released(vanished: list[Object], holder: Object, gone: bool) -> None:
    world = World(*vanished, attachment(annotations=HANDLE), holder)
    for _ in range(3):
        world.apply(plan_volume(KEY, world.snapshot, NOW, fences=False))
    assert (places(world) == {}) is gone
    assert ("volumesAttached" not in world.get("Node", "node-1", "")["status"]) is gone


def test_attachments_of_no_persistent_volume_are_left_alone() -> None:
    inline = attachment()
    inline["spec"]["source"] = {"inlineVolumeSpec": {}}
    assert plan_volume(("", ""), Snapshot.of([inline, node()]), NOW, fences=False) == NOTHING


def test_a_new_attachment_knows_its_disk() -> None:
    made = settled(disk(), node(), user("node-1")).get("VolumeAttachment", attachment_name(disk(), "node-1"), "")
    assert attached_disk(made) == "h"


def test_a_report_without_an_attachment_is_taken_back() -> None:
    """A user deleted it; the disk is elsewhere, and this node's kubelet would mount it for the next pod."""
    world = settled(disk(), attachment("node-2"), node(attached=True), node("node-2", used=True, attached=True), MOVED)
    assert "volumesAttached" not in world.get("Node", "node-1", "")["status"]
    assert places(world) == {"node-2": True}
    assert world.get("Node", "node-2", "")["status"]["volumesAttached"]


def test_a_deleted_attachment_is_made_again() -> None:
    world = settled(disk(), node(used=True, attached=True), user("node-1"))
    assert places(world) == {"node-1": True}
    assert world.get("Node", "node-1", "")["status"]["volumesAttached"]


def test_of_two_nodes_that_are_waited_for_the_first_is_not_forgotten() -> None:
    early, late = format_time(NOW - 300), format_time(NOW)
    first = attachment(annotations={DETACH_REQUESTED_AT: early})
    second = attachment("node-2", annotations={DETACH_REQUESTED_AT: late})
    silent = [node(used=True, ready=False), node("node-2", used=True, ready=False)]
    outcome = plan_volume(KEY, Snapshot.of([disk(RWX), first, second, *silent]), NOW, fences=False)
    assert outcome.again_at == NOW + 60


def test_an_attachment_from_before_fencing_is_fenced_before_it_goes() -> None:
    world = settled(disk(), attachment(), node(used=True, ready=False), node("node-2"), MOVED, fences=True)
    going = world.get("VolumeAttachment", attachment_name(disk(), "node-1"), "")
    assert (is_terminating(going), going["metadata"]["finalizers"]) == (True, PROTECTED)
    assert sorted(places(world)) == ["node-1"]


@pytest.mark.parametrize("terminating", [False, True])
def test_without_fencing_no_finalizer_holds_a_disk(terminating: bool) -> None:
    old = attachment(finalizers=PROTECTED, terminating=terminating)
    world = settled(disk(), old, node(attached=True), node("node-2"), MOVED)
    assert places(world) == {"node-2": True}


@pytest.mark.parametrize(
    ("changed", "wakes"),
    [
        pytest.param(node(used=True, attached=True), [], id="heartbeat"),
        pytest.param(node(attached=True), [KEY], id="let-go"),
        pytest.param(node(used=True), [KEY], id="not-reported"),
        pytest.param(node(used=True, attached=True, ready=False), [KEY], id="fell-silent"),
        pytest.param(node(used=True, attached=True, taints=[TAINT]), [KEY], id="out-of-service"),
        pytest.param(node("node-2"), [], id="other-node"),
    ],
)
def test_news_of_nodes_that_do_not_matter_wake_nobody(changed: Object, wakes: list[Any]) -> None:
    trigger = attach_detach_controller(fences=False).triggers["Node"]
    assert [*trigger(changed, Snapshot.of([bound(), disk(), attachment(), changed]))] == wakes


def test_the_end_of_a_node_that_was_well_is_news() -> None:
    trigger = attach_detach_controller(fences=False).triggers["Node"]
    assert [*trigger(node(used=True, attached=True), Snapshot.of([bound(), disk(), attachment()]))] == [KEY]


@pytest.mark.parametrize(
    ("present", "wakes"),
    [
        pytest.param(user("node-1"), [], id="still-there-and-attached"),
        pytest.param(None, [KEY], id="deleted"),
        pytest.param(user("node-1") | {"status": {"phase": "Failed"}}, [KEY], id="ended"),
    ],
)
def test_news_of_pods_that_do_not_matter_wake_nobody(present: Object | None, wakes: list[Any]) -> None:
    trigger = attach_detach_controller(fences=False).triggers["Pod"]
    world = Snapshot.of([bound(), disk(), attachment(), node(used=True), *([present] if present else [])])
    assert [*trigger(user("node-1"), world)] == wakes

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.api.times import format_micro_time, format_time
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import NOTHING, ConfirmNone, Delete, Outcome, Patch, Record
from petset.cluster.controllers import nodes, pod_garbage
from petset.cluster.controllers.nodes import NodeTimes, node_controllers
from petset.cluster.controllers.taint_eviction import plan_eviction, taint_eviction_controller
from tests import builders
from tests.builders import EPOCH
from tests.unit.controllers.world import World

TIMES = NodeTimes()
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


def node(
    name: str = "node-1", *, ready: str = "True", taints: list[Object] | None = None, zone: str = "",
    heartbeat: float | None = EPOCH, others: dict[str, str] | None = None, **spec: Any,
) -> Object:  # fmt: skip
    conditions: list[Object] = [{"type": type_, "status": status} for type_, status in (others or {}).items()]
    if ready:
        said = {"lastHeartbeatTime": format_time(heartbeat)} if heartbeat is not None else {}
        conditions.append({"type": "Ready", "status": ready, **said})
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    made = builders.node(name, labels=labels, spec=spec | ({"taints": taints} if taints else {}))
    return made | {"status": {"conditions": conditions}}


def lease(renewed: float, name: str = "node-1") -> Object:
    made = builders.metadata("Lease", name, namespace="kube-node-lease")
    return {"kind": "Lease", "metadata": made, "spec": {"renewTime": format_micro_time(renewed)}}


def taint(key: str, effect: str, added: float | None = EPOCH) -> Object:
    return {"key": key, "effect": effect} | ({"timeAdded": format_time(added)} if added is not None else {})


def plan(now: float, *objects: Object, times: NodeTimes = TIMES) -> Outcome:
    return nodes.plan_node(("", "node-1"), Snapshot.of(objects), now, times=times)


def reasons(outcome: Outcome) -> list[str]:
    return [each.reason for each in outcome.writes if isinstance(each, Record)]


@pytest.mark.parametrize(
    ("after_seconds", "objects", "times", "silent"),
    [
        pytest.param(50, [node()], TIMES, False, id="heartbeat-within-grace"),
        pytest.param(50.1, [node()], TIMES, True, id="heartbeat-too-old"),
        pytest.param(80, [node(), lease(EPOCH + 40)], TIMES, False, id="the-lease-counts"),
        pytest.param(40, [node(heartbeat=EPOCH), lease(EPOCH - 100)], TIMES, False, id="the-newer-of-both"),
        pytest.param(90.1, [node(), lease(EPOCH + 40)], TIMES, True, id="lease-too-old"),
        pytest.param(60, [node(ready="")], TIMES, False, id="startup-grace"),
        pytest.param(60.1, [node(ready="")], TIMES, True, id="never-posted"),
        pytest.param(100, [node()], replace(TIMES, started_at=EPOCH + 60), False, id="the-cluster-was-down"),
        pytest.param(120, [node()], replace(TIMES, started_at=EPOCH + 60), True, id="silent-since-the-cluster-is-up"),
    ],
)
def test_silence(after_seconds: float, objects: list[Object], times: NodeTimes, silent: bool) -> None:
    assert bool(plan(EPOCH + after_seconds, *objects, times=times).writes) is silent


def test_a_silent_node_and_its_pods() -> None:
    pods = [
        builders.pod("web-0", ready=True, node="node-1"),
        builders.pod("web-1", ready=False, phase="Running", node="node-1"),
        builders.pod("web-2", ready=True, node="node-2"),
    ]
    world = World(node(others={"DiskPressure": "False", "NetworkUnavailable": "False"}), node("node-2"), *pods)
    now = EPOCH + 51
    world.apply(nodes.plan_node(("", "node-1"), world.snapshot, now, times=TIMES))
    conditions = {each["type"]: each for each in world.get("Node", "node-1", "")["status"]["conditions"]}
    assert {type_: each["status"] for type_, each in conditions.items()} == {
        "Ready": "Unknown",
        "MemoryPressure": "Unknown",
        "DiskPressure": "Unknown",
        "PIDPressure": "Unknown",
        "NetworkUnavailable": "False",
    }
    assert conditions["Ready"]["reason"] == "NodeStatusUnknown"
    assert conditions["Ready"]["message"] == "Kubelet stopped posting node status."
    assert conditions["Ready"]["lastHeartbeatTime"] == format_time(EPOCH)
    assert conditions["PIDPressure"]["reason"] == "NodeStatusNeverUpdated"
    (ready,) = world.get("Pod", "web-0")["status"]["conditions"]
    assert ready == {"type": "Ready", "status": "False", "lastTransitionTime": format_time(now)}
    assert world.get("Pod", "web-2")["status"]["conditions"][0]["status"] == "True"
    assert [(each.type, each.reason, each.message) for each in world.said] == [
        ("Normal", "NodeNotReady", "Node node-1 status is now: NodeNotReady"),
        ("Warning", "NodeNotReady", "Node is not ready"),
    ]


@pytest.mark.parametrize(
    ("ready_since", "marked"),
    [
        pytest.param(EPOCH + 50, True, id="ready-before-the-node-fell-silent"),
        pytest.param(EPOCH + 51, False, id="its-kubelet-spoke-after-that"),
    ],
)
def test_what_was_ready_on_a_silent_node_is_marked_once(ready_since: float, marked: bool) -> None:
    """Marking a pod against a kubelet that has come back, before its node is ready, would never end."""
    pod = builders.pod("web-0", ready=True, ready_since=ready_since, node="node-1")
    others = dict.fromkeys(("MemoryPressure", "DiskPressure", "PIDPressure"), "Unknown")
    silent = node(ready="Unknown", others=others)
    silent["status"]["conditions"][-1]["lastTransitionTime"] = format_time(EPOCH + 51)
    outcome = plan(EPOCH + 60, silent, node("node-2"), pod)
    assert (reasons(outcome) == ["NodeNotReady"]) is marked
    assert ([each.kind for each in outcome.writes if isinstance(each, Patch)] == ["Pod"]) is marked


def taints_after(now: float, *objects: Object, times: NodeTimes = TIMES) -> set[tuple[str, str]]:
    outcome = plan(now, *objects, times=times)
    (patch,) = outcome.writes
    assert isinstance(patch, Patch)
    assert isinstance(patch.body, dict)
    assert patch.body["metadata"] == {"resourceVersion": "1"}
    return {(each["key"], each["effect"]) for each in patch.body["spec"]["taints"]}


SILENT = dict.fromkeys(("MemoryPressure", "DiskPressure", "PIDPressure"), "Unknown")
READY = node("node-2")


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        pytest.param(node(unschedulable=True), {("node.kubernetes.io/unschedulable", "NoSchedule")}, id="cordoned"),
        pytest.param(node(others={"MemoryPressure": "True"}), {("node.kubernetes.io/memory-pressure", "NoSchedule")},
                     id="pressure"),
        pytest.param(node(ready="False"), {(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")}, id="not-ready"),
        pytest.param(node(ready="Unknown", others=SILENT), {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")},
                     id="unreachable"),
        pytest.param(node(ready="False", taints=[taint(UNREACHABLE, "NoSchedule"), taint(UNREACHABLE, "NoExecute")]),
                     {(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")}, id="swapped"),
        pytest.param(node(taints=[taint(NOT_READY, "NoSchedule"), taint(NOT_READY, "NoExecute")]), set(),
                     id="recovered"),
        pytest.param(node(unschedulable=True, taints=[taint("mine", "NoSchedule")]),
                     {("mine", "NoSchedule"), ("node.kubernetes.io/unschedulable", "NoSchedule")}, id="others-stay"),
    ],
)  # fmt: skip
def test_taints_follow_conditions(one: Object, expected: set[tuple[str, str]]) -> None:
    assert taints_after(EPOCH + 10, one, READY) == expected


def test_taints_settle() -> None:
    right = node(ready="False", taints=[taint(NOT_READY, "NoSchedule"), taint(NOT_READY, "NoExecute")])
    assert plan(EPOCH + 10, right, READY) == NOTHING


def test_a_swapped_taint_keeps_its_time_and_a_hand_made_one_gets_one() -> None:
    one = node(ready="Unknown", others=SILENT, taints=[taint(NOT_READY, "NoExecute"), taint("x", "NoExecute", None)])
    (patch,) = plan(EPOCH + 30, one, READY).writes
    assert isinstance(patch, Patch)
    assert isinstance(patch.body, dict)
    times = {(each["key"], each["effect"]): each["timeAdded"] for each in patch.body["spec"]["taints"]}
    assert times[UNREACHABLE, "NoExecute"] == format_time(EPOCH)
    assert times["x", "NoExecute"] == format_time(EPOCH + 30)


def dead(name: str, *, tainted: float | None = None, zone: str = "") -> Object:
    taints = [taint(UNREACHABLE, "NoSchedule")]
    if tainted is not None:
        taints.append(taint(UNREACHABLE, "NoExecute", tainted))
    return node(name, ready="Unknown", others=SILENT, taints=taints, zone=zone)


def test_one_noexecute_taint_per_ten_seconds() -> None:
    objects = [dead("node-1"), dead("node-2", tainted=EPOCH), node("node-3"), node("node-4")]
    early = plan(EPOCH + 4, *objects)
    assert early == Outcome(again_at=EPOCH + 10)
    assert (UNREACHABLE, "NoExecute") in taints_after(EPOCH + 10, *objects)


def test_zones_have_their_own_rate() -> None:
    objects = [dead("node-1", zone="a"), dead("node-2", tainted=EPOCH, zone="b"), node("node-3", zone="b")]
    assert (UNREACHABLE, "NoExecute") in taints_after(EPOCH + 1, *objects)


def test_a_partially_disrupted_small_zone_evicts_nobody() -> None:
    objects = [*(dead(f"node-{number}") for number in (1, 2, 3)), node("node-4"), node("node-5")]
    assert plan(EPOCH + 10, *objects) == NOTHING


def test_a_partially_disrupted_large_zone_evicts_slowly() -> None:
    large = replace(TIMES, large_zone_nodes=4)
    objects = [dead("node-1"), dead("node-2", tainted=EPOCH), dead("node-3"), node("node-4"), node("node-5")]
    assert plan(EPOCH + 50, *objects, times=large) == Outcome(again_at=EPOCH + 100)


def test_full_disruption_takes_noexecute_taints_away() -> None:
    assert taints_after(EPOCH + 10, dead("node-1", tainted=EPOCH), dead("node-2")) == {(UNREACHABLE, "NoSchedule")}


def pod(*tolerations: Object, **options: Any) -> Object:
    return builders.pod("web-0", node="node-1", spec={"tolerations": list(tolerations)}, **options)


def toleration(seconds: int | None = 300, key: str = UNREACHABLE, **fields: Any) -> Object:
    limit = {} if seconds is None else {"tolerationSeconds": seconds}
    return {"key": key, "operator": "Exists", "effect": "NoExecute"} | limit | fields


TAINTED = node(taints=[taint(UNREACHABLE, "NoExecute")])

DUE = [
    pytest.param(pod(), TAINTED, 0, id="not-tolerated"),
    pytest.param(pod(toleration()), TAINTED, 300, id="tolerated-for-a-time"),
    pytest.param(pod(toleration(None)), TAINTED, None, id="tolerated-forever"),
    pytest.param(pod(toleration(-5)), TAINTED, 0, id="negative-time-is-none"),
    pytest.param(pod(toleration(key="")), TAINTED, 300, id="empty-key-tolerates-all"),
    pytest.param(pod(toleration(effect="NoSchedule")), TAINTED, 0, id="another-effect"),
    pytest.param(pod(toleration(key=NOT_READY)), TAINTED, 0, id="another-key"),
    pytest.param(pod(toleration(30, "a"), toleration()),
                 node(taints=[taint(UNREACHABLE, "NoExecute"), taint("a", "NoExecute", EPOCH + 20)]), 30,
                 id="smallest-time-from-the-first-taint"),
    pytest.param(pod(toleration(10, "a")),
                 node(taints=[taint(UNREACHABLE, "NoExecute"), taint("a", "NoExecute")]), 0,
                 id="every-taint-must-be-tolerated"),
    pytest.param(pod(toleration(), created=EPOCH + 100), TAINTED, 400, id="a-later-pod-has-its-full-time"),
    pytest.param(pod(), node(taints=[taint(UNREACHABLE, "NoSchedule")]), None, id="NoSchedule-evicts-nobody"),
    pytest.param(pod(), node("node-2", taints=[taint(UNREACHABLE, "NoExecute")]), None, id="another-node"),
    pytest.param(pod(terminating=True), TAINTED, None, id="terminating-already"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "where", "due_seconds"), DUE)
def test_when_a_pod_is_evicted(one: Object, where: Object, due_seconds: float | None) -> None:
    snapshot = Snapshot.of([one, where])
    early = plan_eviction(("default", "web-0"), snapshot, EPOCH)
    late = plan_eviction(("default", "web-0"), snapshot, EPOCH + 10_000)
    if due_seconds is None:
        assert early == late == NOTHING
        return
    assert bool(late.writes)
    assert early == (Outcome(again_at=EPOCH + due_seconds) if due_seconds else early)
    assert bool(early.writes) is (due_seconds == 0)


@pytest.mark.parametrize(("time_scale", "due_seconds"), [(1, 300), (60, 5)])
def test_tolerations_are_as_much_shorter_as_the_cluster_was_told(time_scale: float, due_seconds: float) -> None:
    snapshot = Snapshot.of([pod(toleration()), TAINTED])
    outcome = plan_eviction(("default", "web-0"), snapshot, EPOCH, time_scale=time_scale)
    assert outcome == Outcome(again_at=EPOCH + due_seconds)


def test_times_at_scale_keep_what_a_busy_machine_needs() -> None:
    assert TIMES.at_scale(1) == TIMES
    fast = TIMES.at_scale(60)
    assert fast.grace_seconds == nodes.FEWEST_GRACE_SECONDS
    assert fast.monitor_period_seconds == nodes.FEWEST_PERIOD_SECONDS
    assert fast.orphan_quarantine_seconds == pytest.approx(40 / 60)
    assert fast.taint_interval_seconds == pytest.approx(10 / 60)
    assert TIMES.at_scale(5).grace_seconds == 10


def test_eviction_marks_then_deletes_gracefully() -> None:
    mark, said, gone = plan_eviction(("default", "web-0"), Snapshot.of([pod(), TAINTED]), EPOCH + 5).writes
    assert isinstance(mark, Patch)
    assert isinstance(mark.body, dict)
    assert (mark.type, mark.subresource) == ("strategic", "status")
    assert mark.body["status"]["conditions"][0]["reason"] == "DeletionByTaintManager"
    assert isinstance(said, Record)
    assert (said.reason, said.message) == ("TaintManagerEviction", "Marking for deletion Pod default/web-0")
    assert gone == Delete("Pod", "default", "web-0", uid="uid-pod-web-0")


def collected(*objects: Object, now: float = EPOCH + 41) -> Outcome:
    return pod_garbage.plan_pod(("default", "web-0"), Snapshot.of(objects), now, quarantine_seconds=40)


OUT = taint("node.kubernetes.io/out-of-service", "NoExecute")


@pytest.mark.parametrize(
    ("one", "where", "collects"),
    [
        pytest.param(pod(), node(), False, id="healthy"),
        pytest.param(pod(), node("node-2"), True, id="node-gone"),
        pytest.param(builders.pod("web-0", terminating=True), node(), True, id="terminating-unscheduled"),
        pytest.param(builders.pod("web-0"), node(), False, id="pending"),
        pytest.param(pod(terminating=True), node(ready="Unknown"), False, id="terminating-on-a-silent-node-stays"),
        pytest.param(pod(terminating=True), node(ready="Unknown", taints=[OUT]), True, id="out-of-service"),
        pytest.param(pod(terminating=True), node(taints=[OUT]), False, id="out-of-service-but-ready"),
        pytest.param(pod(), node(ready="Unknown", taints=[OUT]), False, id="out-of-service-but-not-terminating"),
    ],
)
def test_pod_garbage(one: Object, where: Object, collects: bool) -> None:
    writes = collected(one, where).writes
    assert bool(writes) is collects
    if collects:
        assert writes[-1] == Delete("Pod", "default", "web-0", uid="uid-pod-web-0", grace_seconds=0)


def test_a_pod_of_a_missing_node_is_failed_after_a_look_at_the_server() -> None:
    confirm, failed, _ = collected(pod(phase="Running")).writes
    assert confirm == ConfirmNone("Node", name="node-1")
    assert isinstance(failed, Patch)
    assert isinstance(failed.body, dict)
    assert failed.body["status"]["phase"] == "Failed"
    assert failed.body["status"]["conditions"][0]["message"] == "PodGC: node no longer exists"


def test_a_young_pod_of_a_missing_node_is_quarantined() -> None:
    assert collected(pod(), now=EPOCH + 39) == Outcome(again_at=EPOCH + 40)


def test_an_ended_pod_keeps_its_phase() -> None:
    assert len(collected(pod(phase="Succeeded"), node("node-2")).writes) == 2


def test_triggers() -> None:
    lifecycle, _, garbage = node_controllers(TIMES)
    snapshot = Snapshot.of([node(ready="Unknown"), node("node-2"), pod(), builders.pod("web-1", node="node-2")])
    assert list(lifecycle.triggers["Lease"](lease(EPOCH), snapshot)) == [("", "node-1")]
    assert list(lifecycle.triggers["Lease"](lease(EPOCH, "node-2"), snapshot)) == []
    assert list(lifecycle.triggers["Pod"](pod(), snapshot)) == [("", "node-1")]
    assert list(taint_eviction_controller().triggers["Node"](TAINTED, snapshot)) == [("default", "web-0")]
    assert (lifecycle.resync_seconds, garbage.resync_seconds) == (5, 20)

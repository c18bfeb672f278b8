from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.api.times import format_time
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import NOTHING, Bind, Outcome, Patch, Record, Update
from petset.cluster.scheduler.controller import CONTROLLER, RETRY_SECONDS
from tests.builders import EPOCH
from tests.unit.scheduler.objects import bound_claim, claim, node, pod, storage_class, uses, volume

KEY = ("default", "web-0")


def plan(*objects: Object) -> Outcome:
    return CONTROLLER.plan(KEY, Snapshot.of(objects), EPOCH)


def test_binding() -> None:
    one = pod()
    said = Record(one, "Normal", "Scheduled", "Successfully assigned default/web-0 to node-1")
    assert plan(one, node()).writes == (Bind("default", "web-0", "uid-pod-web-0", "node-1", said=said),)


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(pod(on="node-1"), id="has-a-node"),
        pytest.param(pod(terminating=True), id="terminating"),
        pytest.param(pod(phase="Failed"), id="ended"),
        pytest.param(pod(schedulerName="mine"), id="another-scheduler"),
        pytest.param(pod(schedulingGates=[{"name": "wait"}]), id="gated"),
    ],
)
def test_pods_that_are_not_scheduled(one: Object) -> None:
    assert plan(one, node()) == NOTHING


def test_refusal_is_said_once() -> None:
    outcome = plan(pod())
    patch, said = outcome.writes
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "no nodes available to schedule pods",
    }
    assert isinstance(patch, Patch)
    assert patch.body == {"status": {"conditions": [condition | {"lastTransitionTime": format_time(EPOCH)}]}}
    assert isinstance(said, Record)
    assert (said.type, said.reason, said.message) == ("Warning", "FailedScheduling", condition["message"])
    assert outcome.again_at == EPOCH + RETRY_SECONDS
    again = pod() | {"status": {"conditions": [condition]}}
    assert plan(again) == Outcome(again_at=EPOCH + RETRY_SECONDS)


def test_a_new_reason_is_said_without_moving_the_transition_time() -> None:
    before = {"type": "PodScheduled", "status": "False", "message": "other", "lastTransitionTime": "x"}
    patch, _ = plan(pod() | {"status": {"conditions": [before]}}).writes
    assert isinstance(patch, Patch)
    assert isinstance(patch.body, dict)
    assert "lastTransitionTime" not in patch.body["status"]["conditions"][0]


def test_a_broken_promise_is_taken_back() -> None:
    patch, _ = plan(pod() | {"status": {"nominatedNodeName": "node-9"}}).writes
    assert isinstance(patch, Patch)
    assert isinstance(patch.body, dict)
    assert patch.body["status"]["nominatedNodeName"] is None


def test_volumes_first_then_the_pod() -> None:
    one = pod(volumes=uses("data"))
    promise, select = plan(one, node(), claim(), storage_class()).writes
    assert isinstance(promise, Patch)
    assert promise.body == {"status": {"nominatedNodeName": "node-1"}}
    assert isinstance(select, Patch)
    assert select.kind == "PersistentVolumeClaim"
    assert select.body == {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "node-1"}}}
    promised = one | {"status": {"nominatedNodeName": "node-1"}}
    selected = claim(annotations={"volume.kubernetes.io/selected-node": "node-1"})
    assert plan(promised, node(), selected, storage_class()) == NOTHING
    (bind,) = plan(promised, node(), bound_claim(), volume(phase="Bound"), storage_class()).writes
    assert isinstance(bind, Bind)


def test_a_static_volume_is_reserved_and_then_waited_for() -> None:
    one = pod(volumes=uses("data"))
    static = storage_class(provisioner="kubernetes.io/no-provisioner")
    _, reserve = plan(one, node(), claim(), static, volume()).writes
    assert isinstance(reserve, Update)
    assert reserve.object["spec"]["claimRef"]["uid"] == "uid-persistentvolumeclaim-data"
    assert reserve.object["metadata"]["annotations"] == {"pv.kubernetes.io/bound-by-controller": "yes"}
    promised = one | {"status": {"nominatedNodeName": "node-1"}}
    assert plan(promised, node(), claim(), static, reserve.object) == NOTHING


def refused(name: str, **options: Any) -> Object:
    return pod(name, **options) | {"status": {"conditions": [{"type": "PodScheduled", "status": "False"}]}}


WAITING = refused("waiting", volumes=uses("data"))


@pytest.mark.parametrize(
    ("event", "present", "expected"),
    [
        pytest.param(pod(), [pod()], ["web-0"], id="new-pod"),
        pytest.param(pod(), [pod(), pod("new")], ["web-0"], id="pods-not-yet-decided-are-not-woken"),
        pytest.param(pod(), [pod(on="node-1")], ["web-0", "waiting"], id="a-pod-got-its-node"),
        pytest.param(pod(on="node-1"), [pod(on="node-1")], [], id="a-running-pod-changed"),
        pytest.param(pod(on="node-1"), [], ["waiting"], id="a-pod-vanished"),
        pytest.param(pod(on="node-1"), [pod(on="node-1", phase="Succeeded")], ["waiting"], id="a-pod-ended"),
        pytest.param(node(), [node()], ["waiting"], id="node"),
        pytest.param(claim(), [claim()], ["waiting"], id="claim"),
        pytest.param(claim("other"), [claim("other")], [], id="claim-of-nobody"),
        pytest.param(volume(), [volume()], ["waiting"], id="volume"),
        pytest.param(storage_class(), [], ["waiting"], id="class"),
    ],
)
def test_what_wakes_waiting_pods(event: Object, present: list[Object], expected: list[str]) -> None:
    snapshot = Snapshot.of([*present, WAITING])
    assert [name for _, name in CONTROLLER.triggers[event["kind"]](event, snapshot)] == expected


def test_one_worker_decides() -> None:
    assert CONTROLLER.workers == 1

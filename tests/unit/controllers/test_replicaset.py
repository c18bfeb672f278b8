"""One sync of a ReplicaSet or ReplicationController: who belongs to it, how many more or fewer, and what it says."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from petset.cluster.api.objects import Object, controller_reference
from petset.cluster.control.snapshot import Snapshot, key_of
from petset.cluster.control.writes import ConfirmNone, Create, Delete, Outcome, Patch, Record, Update
from petset.cluster.controllers.adoption import MayNotAdopt
from petset.cluster.controllers.replicaset import CONTROLLERS, plan
from tests.builders import EPOCH, LABELS, pod, pod_template
from tests.unit.controllers.replicas_kit import deployment, replica_set, set_of

NOW = EPOCH + 1000.0
OWNER = replica_set()


def decide(owner: Object, *others: Object, now: float = NOW) -> Outcome:
    return plan(key_of(owner), Snapshot.of([owner, *others]), now, kind=owner["kind"])


def steps(outcome: Outcome) -> list[str]:
    """Writes to pods, as `create`, `delete NAME`, `patch NAME`."""
    lines = {
        Create: lambda each: "create",
        Delete: lambda each: f"delete {each.name}",
        Patch: lambda each: f"patch {each.name}",
    }
    return [lines[type(each)](each) for each in outcome.writes if type(each) in lines]


def status_of(outcome: Outcome) -> Object | None:
    found = [each.object["status"] for each in outcome.writes if isinstance(each, Update)]
    assert len(found) <= 1
    return found[0] if found else None


def pods(count: int, owner: Object = OWNER, **settings: Any) -> list[Object]:
    return [pod(f"web-{number}", ready=True, owner=owner, **settings) for number in range(count)]


NUMBERS: list[tuple[str, list[Object], list[str]]] = [
    ("none", [], ["create"] * 3),
    ("two", pods(2), ["create"]),
    ("enough", pods(3), []),
    ("one-too-many", pods(4), ["delete web-0"]),
    ("failed-counts-not", [*pods(2), pod("x", phase="Failed", owner=OWNER)], ["create"]),
    ("succeeded-counts-not", [*pods(2), pod("x", phase="Succeeded", owner=OWNER)], ["create"]),
    ("terminating-counts-not", [*pods(2), pod("x", ready=True, owner=OWNER, terminating=True)], ["create"]),
    ("an-orphan-is-adopted", [*pods(2), pod("x", ready=True)], ["patch x"]),
    ("an-orphan-too-many-goes", [*pods(3), pod("x", phase="Pending")], ["patch x", "delete x"]),
    ("a-terminating-orphan-is-not", [*pods(2), pod("x", terminating=True)], ["create"]),
    ("differing-labels-are-released", [*pods(3), pod("x", owner=OWNER, labels={})], ["patch x"]),
    ("somebody-elses-is-ignored", [*pods(2), pod("x", owner=replica_set("other"))], ["create"]),
    ("an-earlier-namesakes-is-ignored", [*pods(2), pod("x", owner=replica_set(uid="earlier"))], ["create"]),
    ("elsewhere", [*pods(2), pod("x", namespace="elsewhere")], ["create"]),
]


@pytest.mark.parametrize("kind", ["ReplicaSet", "ReplicationController"])
@pytest.mark.parametrize(("others", "expected"), [pytest.param(*row[1:], id=row[0]) for row in NUMBERS])
def test_numbers(kind: str, others: list[Object], expected: list[str]) -> None:
    owner = replica_set(kind=kind, uid=OWNER["metadata"]["uid"])
    assert steps(decide(owner, *others)) == expected


def test_one_that_is_being_deleted_only_counts() -> None:
    owner = replica_set(terminating=True)
    outcome = decide(owner, *pods(1, owner), pod("x", ready=True), pod("y", owner=owner, labels={}))
    assert (steps(outcome), (status_of(outcome) or {})["replicas"]) == ([], 1)


def test_the_live_owner_is_asked_once_before_the_first_adoption() -> None:
    outcome = decide(OWNER, pod("x"), pod("y"))
    assert outcome.writes[0] == ConfirmNone(
        "ReplicaSet", "default", "web", MayNotAdopt("uid-replicaset-web"), must_exist=True
    )
    assert sum(isinstance(each, ConfirmNone) for each in outcome.writes) == 1
    assert outcome.writes[1] == Patch(
        "Pod", "default", "x", {"metadata": {"ownerReferences": [controller_reference(OWNER)]}},
        type="strategic", uid="uid-pod-x",
    )  # fmt: skip


def test_a_pod_is_made_from_the_template_and_named_by_the_server() -> None:
    template = pod_template()
    template["metadata"] |= {"annotations": {"a": "b"}, "finalizers": ["example.com/x"]}
    owner = replica_set(replicas=1, spec={"template": template})
    [creation] = [each for each in decide(owner).writes if isinstance(each, Create)]
    assert creation.object == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "web-",
            "namespace": "default",
            "labels": LABELS,
            "annotations": {"a": "b"},
            "finalizers": ["example.com/x"],
            "ownerReferences": [controller_reference(owner)],
        },
        "spec": template["spec"],
    }
    assert creation.said == Record(owner, "Normal", "SuccessfulCreate", "Created pod: {name}")
    assert creation.failed == Record(owner, "Warning", "FailedCreate", "Error creating: {error}")


def test_a_deletion_says_which_and_spares_a_namesake() -> None:
    owner = replica_set(replicas=0)
    [deletion] = [each for each in decide(owner, *pods(1, owner)).writes if isinstance(each, Delete)]
    assert (deletion.uid, deletion.grace_seconds) == ("uid-pod-web-0", None)
    assert deletion.said == Record(owner, "Normal", "SuccessfulDelete", "Deleted pod: web-0")


def test_a_burst_is_bounded() -> None:
    assert len(steps(decide(replica_set(replicas=2000)))) == 500
    assert len(steps(decide(replica_set(replicas=0), *pods(600)))) == 500


LABELLED = pod_template() | {"metadata": {"labels": LABELS | {"extra": "x"}}}

STATUSES: list[tuple[str, Object, list[Object], Object]] = [
    ("nothing-yet", OWNER, [], {"replicas": 0}),
    ("ready", OWNER, pods(3),
     {"replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "fullyLabeledReplicas": 3}),
    ("unready", OWNER, [pod("web-0", phase="Running", owner=OWNER)], {"replicas": 1, "fullyLabeledReplicas": 1}),
    ("young", replica_set(spec={"minReadySeconds": 60}), pods(2, ready_since=NOW - 30),
     {"replicas": 2, "readyReplicas": 2, "fullyLabeledReplicas": 2}),
    ("exactly-old-enough-is-too-young", replica_set(spec={"minReadySeconds": 60}), pods(1, ready_since=NOW - 60),
     {"replicas": 1, "readyReplicas": 1, "fullyLabeledReplicas": 1}),
    ("old-enough", replica_set(spec={"minReadySeconds": 60}), pods(1, ready_since=NOW - 61),
     {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1, "fullyLabeledReplicas": 1}),
    ("other-labels-than-the-template", replica_set(spec={"template": LABELLED}), pods(1),
     {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("owner", "others", "expected"), [pytest.param(*row[1:], id=row[0]) for row in STATUSES])
def test_status(owner: Object, others: list[Object], expected: Object) -> None:
    outcome = decide(owner, *others)
    assert status_of(outcome) == expected | {"observedGeneration": 1}
    settled = owner | {"status": status_of(outcome)}
    assert status_of(decide(settled, *others)) is None, "an unchanged status is not written"


def test_foreign_conditions_stay() -> None:
    conditions = [{"type": "ReplicaFailure", "status": "True"}]
    owner = replica_set(status={"replicas": 1, "conditions": conditions})
    assert (status_of(decide(owner)) or {})["conditions"] == conditions


def test_it_looks_again_when_the_next_pod_becomes_available() -> None:
    owner = replica_set(spec={"minReadySeconds": 60})
    young, younger = pods(2, owner)
    young["status"]["conditions"][0]["lastTransitionTime"] = "2026-01-01T00:16:20Z"
    younger["status"]["conditions"][0]["lastTransitionTime"] = "2026-01-01T00:16:30Z"
    assert decide(owner, young, younger).again_at == pytest.approx(EPOCH + 980 + 60, abs=0.01)
    assert decide(OWNER, *pods(3)).again_at is None


def test_crowding_is_counted_over_all_sets_of_the_deployment() -> None:
    """Two pods of the new set stand on different nodes; an old one makes one of the nodes crowded."""
    owner = deployment()
    old, new = set_of(owner, "web:0", 1), set_of(owner, "web:1", 1)

    def on(node: str, name: str, of: Object) -> Object:
        return pod(name, ready=True, node=node, owner=of, labels=of["metadata"]["labels"])

    outcome = plan(
        key_of(new),
        Snapshot.of([owner, old, new, on("a", "new-1", new), on("b", "new-2", new), on("b", "old-1", old)]),
        NOW,
        kind="ReplicaSet",
    )
    assert steps(outcome) == ["delete new-2"]


WAKES: list[tuple[str, Object, list[str]]] = [
    ("owned", pod(owner=OWNER), ["web"]),
    ("owned-whatever-its-labels", pod(owner=OWNER, labels={}), ["web"]),
    ("owned-by-an-earlier-set", pod(owner=replica_set(uid="earlier")), []),
    ("owned-by-another-kind", pod(owner=OWNER | {"kind": "StatefulSet"}), []),
    ("orphan-wakes-every-set-that-selects-it", pod(), ["other", "web"]),
    ("orphan-that-nobody-selects", pod(labels={}), []),
]


@pytest.mark.parametrize(("subject", "expected"), [pytest.param(*row[1:], id=row[0]) for row in WAKES])
def test_a_pod_wakes(subject: Object, expected: list[str]) -> None:
    third = replica_set("third", spec={"selector": {"matchLabels": {"app": "x"}}})
    snapshot = Snapshot.of([OWNER, replica_set("other"), third])
    assert [name for _, name in CONTROLLERS[0].triggers["Pod"](subject, snapshot)] == expected


def test_each_kind_has_its_own_component() -> None:
    assert [each.component for each in CONTROLLERS] == ["replicaset-controller", "replication-controller"]
    assert [each.plan.keywords for each in CONTROLLERS if isinstance(each.plan, partial)] == [
        {"kind": "ReplicaSet"}, {"kind": "ReplicationController"},
    ]  # fmt: skip

"""One sync of a Deployment: its ReplicaSets, their notes, history and conditions."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object, name_of
from petset.cluster.api.times import format_time
from petset.cluster.control.snapshot import Snapshot, key_of
from petset.cluster.control.writes import Create, Delete, Outcome, Patch, Record
from petset.cluster.controllers.deployment import CONTROLLER
from petset.cluster.controllers.deployment.sets import HASH_LABEL, comparable
from petset.cluster.controllers.deployment.view import DESIRED_REPLICAS, MAX_REPLICAS, REVISION, REVISION_HISTORY
from tests.builders import EPOCH, LABELS, pod
from tests.unit.controllers.replicas_kit import deployment, replica_set, set_of

NOW = EPOCH + 1000.0


def decide(owner: Object, *others: Object, now: float = NOW) -> Outcome:
    return CONTROLLER.plan(key_of(owner), Snapshot.of([owner, *others]), now)


def patches(outcome: Outcome, kind: str, subresource: str = "") -> dict[str, Any]:
    """Bodies by name; the last one of a name wins."""
    found = (each for each in outcome.writes if isinstance(each, Patch))
    return {each.name: each.body for each in found if (each.kind, each.subresource) == (kind, subresource)}


def sizes(outcome: Outcome) -> dict[str, int]:
    """What ReplicaSets are told to have."""
    bodies = patches(outcome, "ReplicaSet")
    return {name: body["spec"]["replicas"] for name, body in bodies.items() if "replicas" in body.get("spec", {})}


def created(outcome: Outcome) -> list[Object]:
    return [each.object for each in outcome.writes if isinstance(each, Create)]


def status_of(outcome: Outcome) -> dict[str, Any]:
    return dict(patches(outcome, "Deployment", "status").get("web", {}).get("status", {}))


def progressing(outcome: Outcome) -> tuple[str, str]:
    found = next(each for each in status_of(outcome)["conditions"] if each["type"] == "Progressing")
    return found["status"], found["reason"]


def condition(status: str, reason: str, *, seconds_ago: float = 10.0) -> Object:
    time = format_time(NOW - seconds_ago)
    times = {"lastTransitionTime": time, "lastUpdateTime": time}
    return {"type": "Progressing", "status": status, "reason": reason, "message": "", **times}


def test_the_first_replicaset() -> None:
    owner = deployment(annotations={"note": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"})
    outcome = decide(owner)
    [new] = created(outcome)
    value = new["metadata"]["labels"][HASH_LABEL]
    assert name_of(new) == f"web-{value}"
    assert new["metadata"]["labels"] == LABELS | {HASH_LABEL: value}
    assert new["metadata"]["annotations"] == {
        "note": "x", REVISION: "1", DESIRED_REPLICAS: "3", MAX_REPLICAS: "4",
    }  # fmt: skip
    assert new["spec"]["replicas"] == 3
    assert new["spec"]["selector"] == {"matchLabels": LABELS | {HASH_LABEL: value}}
    assert new["spec"]["template"]["metadata"]["labels"] == LABELS | {HASH_LABEL: value}
    assert patches(outcome, "Deployment")["web"] == {"metadata": {"annotations": {REVISION: "1"}}}
    assert [each.said for each in outcome.writes if isinstance(each, Create)] == [
        Record(owner, "Normal", "ScalingReplicaSet", f"Scaled up replica set web-{value} from 0 to 3")
    ]
    assert progressing(outcome) == ("True", "NewReplicaSetCreated")
    assert decide(owner).writes == outcome.writes, "the same snapshot makes the same plan"


def test_an_empty_deployment_has_a_replicaset_too_but_says_nothing() -> None:
    [creation] = [each for each in decide(deployment(replicas=0)).writes if isinstance(each, Create)]
    assert (creation.object["spec"]["replicas"], creation.said) == (0, None)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        pytest.param({}, True, id="equal"),
        pytest.param({"metadata": {"labels": LABELS, "creationTimestamp": None}}, True, id="noise"),
        pytest.param({"metadata": {"labels": LABELS | {HASH_LABEL: "x"}}}, True, id="hash-label"),
        pytest.param({"metadata": {"labels": LABELS, "annotations": {"a": "b"}}}, False, id="annotation"),
        pytest.param({"metadata": {"labels": LABELS | {"a": "b"}}}, False, id="label"),
        pytest.param({"spec": {"containers": []}}, False, id="spec"),
    ],
)
def test_templates_are_compared_without_noise(change: dict[str, Any], same: bool) -> None:
    template = deployment()["spec"]["template"]
    assert (comparable(template) == comparable({**template, **change})) == same


def test_another_template_makes_a_set_beside_the_old_one() -> None:
    owner = deployment(image="web:2")
    old = set_of(owner, "web:1", 3)
    outcome = decide(owner, old)
    [new] = created(outcome)
    assert (new["spec"]["replicas"], new["metadata"]["annotations"][REVISION]) == (1, "2")
    assert sizes(outcome) == {}


def test_a_name_that_is_taken_counts_a_collision() -> None:
    owner = deployment()
    [wanted] = created(decide(owner))
    squatter = replica_set(name_of(wanted), labels={"app": "x"})
    outcome = decide(owner, squatter)
    [other] = created(outcome)
    assert name_of(other) != name_of(wanted)
    assert status_of(outcome)["collisionCount"] == 1


def test_a_rollback_renumbers_the_old_set_and_remembers() -> None:
    owner = deployment(image="web:1", annotations={REVISION: "5"})
    back = set_of(owner, "web:1", 0, revision=3, annotations={REVISION_HISTORY: "1"})
    outcome = decide(owner, back, set_of(owner, "web:2", 3, revision=5))
    notes = [each.body for each in outcome.writes if isinstance(each, Patch) and each.name == name_of(back)]
    assert notes[0] == {"metadata": {"annotations": {REVISION: "6", REVISION_HISTORY: "1,3"}}}
    assert patches(outcome, "Deployment")["web"] == {"metadata": {"annotations": {REVISION: "6"}}}
    assert sizes(outcome) == {name_of(back): 1}


def test_a_long_history_forgets_its_beginning() -> None:
    owner = deployment(image="web:1")
    numbers = ",".join(str(number) for number in range(1000, 1400))
    back = set_of(owner, "web:1", 0, revision=1400, annotations={REVISION_HISTORY: numbers})
    outcome = decide(owner, back, set_of(owner, "web:2", 3, revision=1401))
    first = next(each.body for each in outcome.writes if isinstance(each, Patch))
    history = dict(first)["metadata"]["annotations"][REVISION_HISTORY]  # type: ignore[call-overload]
    assert len(history) <= 2000
    assert history.endswith("1399,1400")


def test_inherited_annotations_and_min_ready_seconds_are_brought_up_to_date() -> None:
    owner = deployment(annotations={REVISION: "1", "team": "a"}, spec={"minReadySeconds": 5})
    new = set_of(owner, "web:1", 3)
    body = patches(decide(owner, new), "ReplicaSet")[name_of(new)]
    assert body == {"metadata": {"annotations": {"team": "a"}}, "spec": {"minReadySeconds": 5}}


def test_history_is_limited_once_the_roll_is_complete() -> None:
    complete = {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "observedGeneration": 1}
    owner = deployment(image="web:5", spec={"revisionHistoryLimit": 1}, status=complete)
    new = set_of(owner, "web:5", 3, revision=5)
    old = [set_of(owner, f"web:{number}", 0, revision=number) for number in (1, 2, 3, 4)]
    old[1]["status"]["replicas"] = 1
    old[2]["metadata"]["generation"] = 2
    deleted = [each.name for each in decide(owner, new, *old).writes if isinstance(each, Delete)]
    assert deleted == ["web-web-1"], "2 still has a pod, 3 has not been seen by its controller, 4 is within the limit"
    incomplete = owner | {"status": complete | {"updatedReplicas": 2}}
    assert not [each for each in decide(incomplete, new, *old).writes if isinstance(each, Delete)]


def test_one_that_is_being_deleted_only_counts() -> None:
    owner = deployment(image="web:2", terminating=True)
    outcome = decide(owner, set_of(owner, "web:1", 3))
    assert (created(outcome), sizes(outcome), status_of(outcome)["replicas"]) == ([], {}, 3)


class TestPause:
    def test_a_new_template_waits_and_a_new_size_does_not(self) -> None:
        owner = deployment(image="web:2", replicas=5, spec={"paused": True})
        old = set_of(owner, "web:1", 3)
        outcome = decide(owner, old)
        assert (created(outcome), sizes(outcome)) == ([], {name_of(old): 5})
        assert progressing(outcome) == ("Unknown", "DeploymentPaused")

    def test_resuming_says_so_and_goes_on(self) -> None:
        paused = condition("Unknown", "DeploymentPaused")
        counts = {"replicas": 3, "readyReplicas": 3, "availableReplicas": 3}
        owner = deployment(image="web:2", status={"conditions": [paused], **counts})
        outcome = decide(owner, set_of(owner, "web:1", 3))
        assert len(created(outcome)) == 1
        assert progressing(outcome) == ("True", "NewReplicaSetCreated")

    def test_a_timeout_is_not_covered_up(self) -> None:
        late = condition("False", "ProgressDeadlineExceeded")
        owner = deployment(spec={"paused": True}, status={"conditions": [late]})
        assert progressing(decide(owner, set_of(owner, "web:1", 3))) == ("False", "ProgressDeadlineExceeded")


class TestRecreate:
    SPEC = {"strategy": {"type": "Recreate"}}

    def test_old_sets_go_first(self) -> None:
        owner = deployment(image="web:2", spec=self.SPEC)
        old = set_of(owner, "web:1", 3, sized=(3, 3))
        outcome = decide(owner, old)
        assert (created(outcome), sizes(outcome)) == ([], {name_of(old): 0})

    @pytest.mark.parametrize(
        ("settings", "waits"),
        [
            pytest.param({"phase": "Running"}, True, id="running"),
            pytest.param({"phase": "Running", "terminating": True}, True, id="terminating"),
            pytest.param({"phase": "Failed"}, False, id="failed"),
            pytest.param({"phase": "Succeeded"}, False, id="succeeded"),
        ],
    )
    def test_the_new_set_waits_for_the_last_old_pod(self, settings: dict[str, Any], waits: bool) -> None:
        owner = deployment(image="web:2", spec=self.SPEC)
        old = set_of(owner, "web:1", 0, sized=(3, 3))
        last = pod("last", owner=old, labels=old["metadata"]["labels"], **settings)
        assert bool(created(decide(owner, old, last))) != waits
        assert list(CONTROLLER.triggers["Pod"](last, Snapshot.of([owner, old, last]))) == [("default", "web")]

    def test_pods_of_rolling_deployments_wake_nothing(self) -> None:
        owner = deployment()
        old = set_of(owner, "web:1", 3)
        assert list(CONTROLLER.triggers["Pod"](pod(owner=old), Snapshot.of([owner, old]))) == []


PROGRESS: list[tuple[str, Object | None, dict[str, int], dict[str, Any], tuple[str, str] | None]] = [
    # the condition before, status before, what the new set has ─▶ the condition after (None: unchanged)
    ("found", None, {}, {"actual": 1, "available": 0}, ("True", "ReplicaSetUpdated")),
    ("found-and-still", None, {"replicas": 1, "updatedReplicas": 1}, {"actual": 1, "available": 0},
     ("True", "FoundNewReplicaSet")),
    ("a-step", condition("True", "NewReplicaSetCreated"), {"replicas": 1, "updatedReplicas": 1},
     {"actual": 2, "available": 0}, ("True", "ReplicaSetUpdated")),
    ("a-step-after-the-deadline", condition("False", "ProgressDeadlineExceeded"), {"updatedReplicas": 1},
     {"actual": 2, "available": 0}, ("True", "ReplicaSetUpdated")),
    ("done", condition("True", "ReplicaSetUpdated"), {"updatedReplicas": 3}, {"actual": 3},
     ("True", "NewReplicaSetAvailable")),
    ("standing-still", condition("True", "ReplicaSetUpdated", seconds_ago=599), {"updatedReplicas": 3, "replicas": 3},
     {"actual": 3, "available": 0}, None),
    ("too-long", condition("True", "ReplicaSetUpdated", seconds_ago=601), {"updatedReplicas": 3, "replicas": 3},
     {"actual": 3, "available": 0}, ("False", "ProgressDeadlineExceeded")),
    ("a-lost-pod-after-the-roll-is-no-rollout", condition("True", "NewReplicaSetAvailable", seconds_ago=9999),
     {"updatedReplicas": 3, "replicas": 3}, {"actual": 3, "available": 2}, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "counts", "has", "expected"), [pytest.param(*row[1:], id=row[0]) for row in PROGRESS]
)
def test_progress(
    before: Object | None, counts: dict[str, int], has: dict[str, Any], expected: tuple[str, str] | None
) -> None:
    status: dict[str, Any] = {"observedGeneration": 1, **counts, "conditions": [before] if before else []}
    owner = deployment(annotations={REVISION: "1"}, status=status)
    outcome = decide(owner, set_of(owner, "web:1", 3, **has))
    assert before is not None or expected is not None
    assert progressing(outcome) == (expected or ((before or {})["status"], (before or {})["reason"]))


def test_a_step_moves_the_update_time_but_not_the_transition() -> None:
    owner = deployment(status={"updatedReplicas": 1, "conditions": [condition("True", "NewReplicaSetCreated")]})
    [progress] = [
        each
        for each in status_of(decide(owner, set_of(owner, "web:1", 3, actual=2, available=0)))["conditions"]
        if each["type"] == "Progressing"
    ]
    assert progress["lastUpdateTime"] == format_time(NOW)
    assert progress["lastTransitionTime"] == format_time(NOW - 10)
    assert progress["message"] == 'ReplicaSet "web-web-1" is progressing.'


def test_it_looks_again_when_the_deadline_has_passed() -> None:
    standing = condition("True", "ReplicaSetUpdated")
    owner = deployment(status={"updatedReplicas": 3, "replicas": 3, "conditions": [standing]})
    outcome = decide(owner, set_of(owner, "web:1", 3, available=0))
    assert outcome.again_at == NOW - 10 + 600 + 1
    patient = deployment(spec={"progressDeadlineSeconds": 2**31 - 1}, status=owner["status"])
    outcome = decide(patient, set_of(patient, "web:1", 3, available=0))
    assert outcome.again_at is None
    assert [each["type"] for each in status_of(outcome)["conditions"]] == ["Available"]


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        pytest.param(10, ("True", "MinimumReplicasAvailable"), id="all"),
        pytest.param(8, ("True", "MinimumReplicasAvailable"), id="as-few-as-allowed"),
        pytest.param(7, ("False", "MinimumReplicasUnavailable"), id="too-few"),
    ],
)
def test_availability(available: int, expected: tuple[str, str]) -> None:
    owner = deployment(replicas=10)
    status = status_of(decide(owner, set_of(owner, "web:1", 10, available=available, sized=(10, 13))))
    [found] = [each for each in status["conditions"] if each["type"] == "Available"]
    assert (found["status"], found["reason"]) == expected
    assert status.get("unavailableReplicas", 0) == 10 - available


def test_a_status_that_says_the_same_is_not_written() -> None:
    owner = deployment(annotations={REVISION: "1"})
    new = set_of(owner, "web:1", 3)
    settled = owner | {"status": status_of(decide(owner, new))}
    assert decide(settled, new).writes == ()


def test_a_field_that_turned_zero_is_removed() -> None:
    owner = deployment(status={"unavailableReplicas": 2})
    assert status_of(decide(owner, set_of(owner, "web:1", 3)))["unavailableReplicas"] is None

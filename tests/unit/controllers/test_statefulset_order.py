"""Which pod is created, deleted or waited for (the sync algorithm, steps 2 to 6)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import Update
from petset.cluster.controllers.statefulset import CONTROLLER
from petset.cluster.controllers.statefulset.sync import STALE_CLAIM_SECONDS
from tests.builders import LABELS, claim, pod, stateful_set
from tests.unit.controllers.statefulset_kit import NOW, decide, new_name, pods_of, revision, status_of, steps

ORDERED = [
    ("creates-the-first", 3, ". . .", ["create web-0"]),
    ("creates-the-next-when-the-first-is-ready", 3, "R . .", ["create web-1"]),
    ("creates-one-at-a-time", 3, "R R .", ["create web-2"]),
    ("does-nothing-when-complete", 3, "R R R", []),
    ("waits-for-a-pending-predecessor", 3, "P . .", []),
    ("waits-for-an-unready-predecessor", 3, "U . .", []),
    ("waits-for-a-terminating-predecessor", 3, "R- . .", []),
    ("an-unready-first-blocks-a-gap-behind-it", 3, "U . R", []),
    ("fills-a-gap", 3, "R . R", ["create web-1"]),
    ("fills-the-lowest-gap-first", 3, ". . R", ["create web-0"]),
    ("replaces-a-failed-pod", 3, "R F .", ["delete web-1"]),
    ("replaces-a-succeeded-pod", 3, "S R R", ["delete web-0"]),
    ("waits-for-a-failed-pod-that-goes-already", 3, "F- R .", []),
    ("one-failed-pod-per-sync", 3, "F F F", ["delete web-0"]),
    ("a-failed-pod-behind-an-unready-one-waits", 3, "U F R", []),
    ("scales-down-highest-first", 1, "R R R", ["delete web-2"]),
    ("scales-down-one-at-a-time", 0, "R R R", ["delete web-2"]),
    ("scale-down-waits-for-a-terminating-pod", 1, "R R R-", []),
    ("scale-down-waits-for-a-kept-unready-pod", 2, "R U R R", []),
    ("scale-down-waits-for-a-missing-kept-pod", 2, "R . R R", ["create web-1"]),
    ("scale-down-takes-the-only-unready-pod", 1, "R R U", ["delete web-2"]),
    ("scale-down-blocked-by-two-unready-condemned", 1, "R U U", []),
    ("scale-down-takes-the-healthy-pod-above-an-unready-one", 1, "R U R", ["delete web-2"]),
    ("scale-to-zero-unready-at-the-top", 0, "R R U", ["delete web-2"]),
    ("scale-to-zero-unready-below-too", 0, "U R U", []),
    ("scale-to-zero-last-and-unready", 0, "U", ["delete web-0"]),
    ("scale-down-of-a-failed-condemned-pod", 1, "R R F", ["delete web-2"]),
    ("scale-down-over-a-gap", 1, "R . R R", ["delete web-3"]),
]

PARALLEL = [
    ("creates-all", 3, ". . .", ["create web-0", "create web-1", "create web-2"]),
    ("ignores-unready-predecessors", 3, "U . .", ["create web-1", "create web-2"]),
    ("ignores-terminating-predecessors", 3, "R- . R", ["create web-1"]),
    ("replaces-all-finished", 3, "F S R", ["delete web-0", "delete web-1"]),
    ("replaces-and-creates-together", 3, "F . R", ["delete web-0", "create web-1"]),
    ("waits-for-finished-pods-that-go-already", 3, "F- R R", []),
    ("deletes-all-condemned-highest-first", 1, "R R R R", ["delete web-3", "delete web-2", "delete web-1"]),
    ("skips-terminating-condemned", 1, "R R- R", ["delete web-2"]),
    ("scales-down-despite-unready-pods", 1, "U U U", ["delete web-2", "delete web-1"]),
    ("creates-and-deletes-together", 2, ". R R", ["create web-0", "delete web-2"]),
]


@pytest.mark.parametrize(("replicas", "states", "expected"), [pytest.param(*row[1:], id=row[0]) for row in ORDERED])
def test_ordered_ready(replicas: int, states: str, expected: list[str]) -> None:
    owner = stateful_set(replicas=replicas)
    assert steps(decide(owner, revision(owner), pods_of(owner, states))) == expected


@pytest.mark.parametrize(("replicas", "states", "expected"), [pytest.param(*row[1:], id=row[0]) for row in PARALLEL])
def test_parallel(replicas: int, states: str, expected: list[str]) -> None:
    owner = stateful_set(replicas=replicas, spec={"podManagementPolicy": "Parallel"})
    assert steps(decide(owner, revision(owner), pods_of(owner, states))) == expected


@pytest.mark.parametrize(
    ("start", "states", "first", "expected"),
    [
        pytest.param(5, "", 0, ["create web-5"], id="the-first-pod-has-the-start-ordinal"),
        pytest.param(5, "R", 5, ["create web-6"], id="the-next-one-follows"),
        pytest.param(5, "R R", 5, [], id="replicas-pods-from-the-start"),
        pytest.param(2, "R R R", 1, ["delete web-1"], id="a-pod-below-the-start-is-condemned"),
        pytest.param(2, "R R", 1, ["create web-3"], id="creation-comes-before-condemnation"),
        pytest.param(1, "R R R R", 0, ["delete web-3"], id="condemned-above-go-before-condemned-below"),
    ],
)
def test_ordinals_start(start: int, states: str, first: int, expected: list[str]) -> None:
    owner = stateful_set(replicas=2, spec={"ordinals": {"start": start}})
    assert steps(decide(owner, revision(owner), pods_of(owner, states, first=first))) == expected


MIN_READY = [
    ("not-yet-available-blocks-creation", 10, "R .", 5, []),
    ("available-lets-creation-go-on", 10, "R .", 11, ["create web-1"]),
    ("the-exact-moment-is-too-early", 10, "R .", 10, []),
    ("zero-means-ready-is-enough", 0, "R .", 0, ["create web-1"]),
    ("an-unavailable-kept-pod-blocks-scale-down", 10, "R R R", 5, []),
]


@pytest.mark.parametrize(
    ("seconds", "states", "ready_for", "expected"), [pytest.param(*row[1:], id=row[0]) for row in MIN_READY]
)
def test_min_ready_seconds(seconds: int, states: str, ready_for: float, expected: list[str]) -> None:
    owner = stateful_set(replicas=2, spec={"minReadySeconds": seconds})
    now = NOW - 1000 + ready_for
    assert steps(decide(owner, revision(owner), pods_of(owner, states), now=now)) == expected


def test_looks_again_just_after_the_first_waiting_pod_becomes_available() -> None:
    owner = stateful_set(replicas=2, spec={"minReadySeconds": 10, "podManagementPolicy": "Parallel"})
    pods = pods_of(owner, "R R")
    pods[1]["status"]["conditions"][0]["lastTransitionTime"] = "2026-01-01T00:00:03Z"
    ready_at = NOW - 1000
    first = decide(owner, revision(owner), pods, now=ready_at + 4)
    assert first.again_at is not None
    assert ready_at + 10 < first.again_at < ready_at + 10.01
    second = decide(owner, revision(owner), pods, now=first.again_at)
    assert status_of(second) is not None
    assert (status_of(second) or {})["availableReplicas"] == 1
    assert second.again_at is not None
    assert ready_at + 13 < second.again_at < ready_at + 13.01
    assert decide(owner, revision(owner), pods, now=second.again_at).again_at is None


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
@pytest.mark.parametrize("states", [". . .", "F R R", "R R R R", "R* R* R*"])
def test_a_set_that_is_being_deleted_touches_no_pod(policy: str, states: str) -> None:
    owner = stateful_set(terminating=True, spec={"podManagementPolicy": policy}, claims=["data"])
    outcome = decide(owner, pods_of(owner, states))
    assert steps(outcome, "Pod", "PersistentVolumeClaim", "ControllerRevision", "status") == ["update web"]


def test_an_absent_set_needs_nothing() -> None:
    owner = stateful_set()
    other = stateful_set("other")
    assert CONTROLLER.plan(("default", "web"), Snapshot.of([other, *pods_of(owner, "R R")]), NOW).writes == ()


def test_the_same_snapshot_gives_the_same_outcome_and_is_not_changed() -> None:
    owner = stateful_set(replicas=2, claims=["data"], spec={"podManagementPolicy": "Parallel"})
    world: list[Object] = [revision(owner), *pods_of(owner, "F R R"), claim(), claim("data-web-1")]
    before = copy.deepcopy([owner, *world])
    assert decide(owner, world) == decide(owner, list(reversed(world)))
    assert [owner, *world] == before


TAKEN: list[tuple[str, dict[str, Any]]] = [
    ("by-a-pod-that-labels-exclude", {"labels": {"app": "other"}}),
    ("by-another-controllers-pod", {"labels": LABELS, "owner": stateful_set("other")}),
    ("by-an-orphan-that-is-going", {"labels": LABELS, "terminating": True}),
]


@pytest.mark.parametrize("settings", [pytest.param(row[1], id=row[0]) for row in TAKEN])
def test_a_taken_name_is_retried_without_event_or_claims(settings: dict[str, Any]) -> None:
    owner = stateful_set(claims=["data"])
    outcome = decide(owner, revision(owner), pod("web-0", phase="Running", **settings))
    assert steps(outcome, "Pod", "PersistentVolumeClaim", "Event") == []
    assert outcome.error == 'pods "web-0" already exists'


def test_a_taken_name_blocks_neither_the_other_replicas_nor_the_status_of_a_parallel_set() -> None:
    owner = stateful_set(spec={"podManagementPolicy": "Parallel"})
    stranger = pod("web-1", phase="Running", labels={})
    outcome = decide(owner, revision(owner), pods_of(owner, ". . . R"), stranger)
    assert steps(outcome) == ["create web-0", "create web-2"]
    assert status_of(outcome) is not None
    assert outcome.error


def test_a_stale_claim_holds_the_new_pod_back() -> None:
    """Its owner is an earlier pod of the name: it will be collected, and the pod is to get a new one."""
    retention = {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Retain"}}
    owner = stateful_set(claims=["data"], spec=retention)
    stale = claim("data-web-0", owner=pod("web-0", uid="earlier"))
    outcome = decide(owner, revision(owner), stale)
    assert steps(outcome, "Pod", "PersistentVolumeClaim", "Event") == []
    assert outcome.error == ""
    assert outcome.again_at == NOW + STALE_CLAIM_SECONDS
    assert steps(decide(owner, revision(owner)), "Pod", "PersistentVolumeClaim") == [
        "create data-web-0",
        "create web-0",
    ]


def test_a_claim_that_is_being_deleted_fails_the_creation() -> None:
    owner = stateful_set(claims=["data"])
    outcome = decide(owner, revision(owner), claim("data-web-0", terminating=True))
    assert steps(outcome, "Pod", "PersistentVolumeClaim", "Event") == ["record FailedCreate"]
    assert outcome.error == "pvc data-web-0 is being deleted"


def test_a_pending_pod_gets_its_missing_claim_again() -> None:
    owner = stateful_set(claims=["data", "log"])
    outcome = decide(owner, revision(owner), pods_of(owner, "P . ."), claim("log-web-0"))
    assert steps(outcome, "Pod", "PersistentVolumeClaim") == ["create data-web-0"]


def test_a_running_pod_does_not_get_its_missing_claim_again() -> None:
    owner = stateful_set(replicas=1, claims=["data"])
    assert steps(decide(owner, revision(owner), pods_of(owner, "R")), "PersistentVolumeClaim") == []


@pytest.mark.parametrize("label", [None, "web-1"])
def test_a_wrong_pod_name_label_is_repaired(label: str | None) -> None:
    owner = stateful_set(replicas=1)
    pods = pods_of(owner, "R")
    pods[0]["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = label
    outcome = decide(owner, revision(owner), pods)
    assert steps(outcome) == ["update web-0"]
    [repaired] = [each.object for each in outcome.writes if isinstance(each, Update) and not each.subresource]
    assert repaired["metadata"]["labels"] == pods_of(owner, "R")[0]["metadata"]["labels"]
    assert repaired["metadata"]["resourceVersion"] == "1"
    assert repaired["metadata"]["labels"]["controller-revision-hash"] == new_name(owner)


def test_a_monotonic_set_repairs_only_ready_pods() -> None:
    owner = stateful_set(replicas=1)
    pods = pods_of(owner, "U")
    del pods[0]["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"]
    assert steps(decide(owner, revision(owner), pods)) == []
    owner["spec"]["podManagementPolicy"] = "Parallel"
    assert steps(decide(owner, revision(owner), pods)) == ["update web-0"]


def test_missing_claim_volumes_are_repaired_with_their_claims() -> None:
    owner = stateful_set(replicas=1, claims=["data"])
    pods = pods_of(owner, "R")
    pods[0]["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}, {"name": "scratch", "emptyDir": {}}]
    outcome = decide(owner, revision(owner), pods)
    assert steps(outcome, "Pod", "PersistentVolumeClaim") == ["create data-web-0", "update web-0"]


def test_hostname_and_subdomain_are_never_repaired() -> None:
    owner = stateful_set(replicas=1)
    pods = pods_of(owner, "R")
    pods[0]["spec"] |= {"hostname": "other", "subdomain": "other"}
    assert steps(decide(owner, revision(owner), pods)) == []

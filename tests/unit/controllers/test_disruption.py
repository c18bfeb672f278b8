"""One sync of a PodDisruptionBudget: whose scales count, and when the status is (not) written."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.api.times import format_time
from petset.cluster.control.snapshot import Snapshot, key_of
from petset.cluster.control.writes import Outcome, Record, Update
from petset.cluster.controllers.disruption import CONTROLLER
from tests.builders import EPOCH, LABELS, metadata, pod, stateful_set
from tests.unit.controllers.replicas_kit import deployment, replica_set, set_of

NOW = EPOCH + 1000.0


def budget(*, status: dict[str, Any] | None = None, generation: int = 1, **spec: Any) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata("PodDisruptionBudget", "web") | {"generation": generation},
        "spec": {"selector": {"matchLabels": LABELS}, **spec},
        "status": status or {},
    }


def decide(guard: Object, *others: Object, now: float = NOW) -> Outcome:
    return CONTROLLER.plan(key_of(guard), Snapshot.of([guard, *others]), now)


def status_of(outcome: Outcome) -> dict[str, Any]:
    [written] = [each for each in outcome.writes if isinstance(each, Update)]
    assert written.subresource == "status"
    return dict(written.object["status"])


def figures(outcome: Outcome) -> tuple[int, int, int, int]:
    names = ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed")
    expected, desired, healthy, allowed = (status_of(outcome)[name] for name in names)
    return expected, desired, healthy, allowed


SET, CONTROLLER_OF_OLD = stateful_set(replicas=5), replica_set(kind="ReplicationController", replicas=4)
ALONE, DEPLOYED = replica_set("alone", replicas=2), deployment(replicas=6)
OLD, NEW = set_of(DEPLOYED, "web:1", 2), set_of(DEPLOYED, "web:2", 4)

SCALES: list[tuple[str, list[Object], int]] = [
    # owners, each with one ready pod ─▶ the pods that are expected
    ("stateful-set", [SET], 5),
    ("replication-controller", [CONTROLLER_OF_OLD], 4),
    ("replicaset-of-nobody", [ALONE], 2),
    ("deployment-once-through-its-replicasets", [OLD, NEW], 6),
    ("all-together", [SET, ALONE, OLD, NEW], 13),
]


@pytest.mark.parametrize(("owners", "expected"), [pytest.param(*row[1:], id=row[0]) for row in SCALES])
def test_scales(owners: list[Object], expected: int) -> None:
    pods = [pod(f"p{number}", ready=True, owner=owner) for number, owner in enumerate(owners)]
    outcome = decide(budget(maxUnavailable=expected - 1), DEPLOYED, *owners, *pods)
    assert figures(outcome) == (expected, 1, len(owners), len(owners) - 1)


HEALTH: list[tuple[str, Object, int]] = [
    ("ready", pod("x", ready=True, owner=SET), 1),
    ("unready", pod("x", phase="Running", owner=SET), 0),
    ("terminating", pod("x", ready=True, owner=SET, terminating=True), 0),
    ("not-selected", pod("x", ready=True, owner=SET, labels={}), 0),
    ("elsewhere", pod("x", ready=True, namespace="elsewhere"), 0),
]


@pytest.mark.parametrize(("subject", "expected"), [pytest.param(*row[1:], id=row[0]) for row in HEALTH])
def test_health(subject: Object, expected: int) -> None:
    assert figures(decide(budget(minAvailable=1), SET, subject))[2] == expected


@pytest.mark.parametrize(
    ("age_seconds", "healthy", "again"),
    [
        pytest.param(0, 0, NOW + 120, id="just-noted"),
        pytest.param(119, 0, NOW + 1, id="nearly-forgotten"),
        pytest.param(120, 1, None, id="given-back"),
    ],
)
def test_a_noted_pod_counts_as_gone_for_two_minutes(age_seconds: int, healthy: int, again: float | None) -> None:
    note = {"x": format_time(NOW - age_seconds), "vanished": format_time(NOW)}
    outcome = decide(budget(minAvailable=0, status={"disruptedPods": note}), SET, pod("x", ready=True, owner=SET))
    assert (status_of(outcome)["currentHealthy"], outcome.again_at) == (healthy, again)
    assert list(status_of(outcome).get("disruptedPods", {})) == ([] if again is None else ["x"])


def test_nothing_is_written_twice_and_said_twice() -> None:
    guard = budget(minAvailable=1)
    first = decide(guard)
    assert [each.reason for each in first.writes if isinstance(each, Record)] == ["NoPods"]
    assert decide(guard | {"status": status_of(first)}).writes == ()


def test_a_new_generation_is_observed_even_if_no_figure_changes() -> None:
    guard = budget(minAvailable=1)
    known = status_of(decide(guard))
    changed = budget(minAvailable=1, generation=2, status=known)
    assert status_of(decide(changed))["observedGeneration"] == 2


def test_what_cannot_be_counted_allows_nothing_and_observes_nothing() -> None:
    """The generation stays unobserved, as upstream: an eviction is then told to come back later."""
    stray = pod("stray", ready=True, owner=replica_set("gone"))
    outcome = decide(budget(maxUnavailable=1), stray)
    status = status_of(outcome)
    assert (status["disruptionsAllowed"], "observedGeneration" in status) == (0, False)
    [failed] = status["conditions"]
    assert (failed["reason"], failed["message"]) == ("SyncFailed", 'found no controllers for pod "stray"')
    said = [each.reason for each in outcome.writes if isinstance(each, Record)]
    assert said == ["CalculateExpectedPodCountFailed"]


@pytest.mark.parametrize(
    ("selector", "wakes"),
    [
        pytest.param({"matchLabels": LABELS}, True, id="selected"),
        pytest.param({"matchLabels": {"app": "x"}}, False, id="not-selected"),
        pytest.param({}, True, id="an-empty-selector-selects-all"),
        pytest.param(None, False, id="an-absent-one-nothing"),
    ],
)
def test_a_pod_wakes_its_budget(selector: Any, wakes: bool) -> None:
    snapshot = Snapshot.of([budget(selector=selector)])
    assert list(CONTROLLER.triggers["Pod"](pod(), snapshot)) == ([("default", "web")] if wakes else [])

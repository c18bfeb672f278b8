"""Which interchangeable pods go first (ActivePodsWithRanks), one rule per row, and what counts as active."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object, name_of
from petset.cluster.controllers.pod_ranks import DELETION_COST, is_active, pods_to_delete
from tests.builders import EPOCH, pod

NOW = EPOCH + 100_000.0
HOUR, DAY = 3600.0, 86400.0


def ready_for(seconds: float, **settings: Any) -> Object:
    return pod(ready=True, node="n", ready_since=NOW - seconds, **settings)


def restarted(count: int) -> Object:
    found = ready_for(HOUR)
    found["status"]["containerStatuses"] = [{"restartCount": 0}, {"restartCount": count}]
    return found


def costing(text: str) -> Object:
    return ready_for(HOUR, annotations={DELETION_COST: text})


ORDER: list[tuple[str, Object, Object]] = [
    # the pod that goes, the pod that stays; all else is equal or speaks for the other one
    ("unassigned-first", pod(phase="Pending"), pod(phase="Pending", node="n")),
    ("unassigned-even-if-ready", pod(ready=True), pod(phase="Pending", node="n")),
    ("pending-before-unknown", pod(phase="Pending", node="n"), pod(phase="Unknown", node="n")),
    ("unknown-before-running", pod(phase="Unknown", node="n"), pod(phase="Running", node="n")),
    ("unready-before-ready", pod(phase="Running", node="n"), ready_for(1)),
    ("lower-cost", costing("-5"), ready_for(1)),
    ("cost-is-a-number", costing("9"), costing("10")),
    ("a-cost-that-is-none-counts-as-zero", costing("-1"), costing("cheap")),
    ("ready-for-a-shorter-time", ready_for(HOUR), ready_for(DAY)),
    ("more-restarts", restarted(3), restarted(2)),
    ("created-later", ready_for(HOUR, created=NOW - HOUR), ready_for(HOUR, created=NOW - DAY)),
]


@pytest.mark.parametrize(("goes", "stays"), [pytest.param(*row[1:], id=row[0]) for row in ORDER])
def test_order(goes: Object, stays: Object) -> None:
    goes["metadata"] |= {"name": "goes", "uid": "b"}
    stays["metadata"] |= {"name": "stays", "uid": "a"}
    for pods in ([goes, stays], [stays, goes]):
        assert [name_of(each) for each in pods_to_delete(pods, 1, related=(), now=NOW)] == ["goes"]


def test_among_times_of_one_magnitude_the_uid_decides() -> None:
    older = pod("older", ready=True, node="n", uid="a", ready_since=NOW - 3500)
    younger = pod("younger", ready=True, node="n", uid="b", ready_since=NOW - 3400)
    for pods in ([older, younger], [younger, older]):
        assert [name_of(each) for each in pods_to_delete(pods, 1, related=(), now=NOW)] == ["older"]


def test_crowding_counts_related_active_pods_of_the_node() -> None:
    one, other = pod("one", ready=True, node="busy", uid="b"), pod("other", ready=True, node="free", uid="a")
    crowd = [one, other, pod("third", ready=True, node="busy")]
    assert pods_to_delete([one, other], 1, related=crowd, now=NOW) == [one]
    ended = [one, other, *(pod(f"gone-{i}", phase="Failed", node="free") for i in range(3))]
    assert pods_to_delete([one, other], 1, related=[*ended, crowd[2]], now=NOW) == [one]
    assert pods_to_delete([one, other], 1, related=(), now=NOW) == [one], "in the order given, all else being equal"
    assert pods_to_delete([other, one], 1, related=(), now=NOW) == [other]


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        pytest.param(pod(), True, id="new"),
        pytest.param(pod(phase="Running"), True, id="running"),
        pytest.param(pod(phase="Unknown"), True, id="unknown"),
        pytest.param(pod(phase="Failed"), False, id="failed"),
        pytest.param(pod(phase="Succeeded"), False, id="succeeded"),
        pytest.param(pod(ready=True, terminating=True), False, id="terminating"),
    ],
)
def test_active(subject: Object, expected: bool) -> None:
    assert is_active(subject) == expected

"""The rolling update: which old pods go, and of which revision a missing pod is made (steps 7 and 8, and 1.6)."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object, labels_of
from petset.cluster.controllers.statefulset.pods import REVISION_LABEL
from petset.cluster.controllers.statefulset.set_view import SetView
from tests.builders import stateful_set
from tests.unit.controllers.statefulset_kit import created, new_name, old_name, rolling, status_of, steps

ONE_AT_A_TIME: list[tuple[str, int, str, list[str]]] = [
    ("highest-first", 0, "R* R* R*", ["delete web-2"]),
    ("next-when-the-last-is-ready", 0, "R* R* R", ["delete web-1"]),
    ("ends-with-the-first", 0, "R* R R", ["delete web-0"]),
    ("complete", 0, "R R R", []),
    ("an-old-pod-above-new-ones-goes-first", 0, "R R R*", ["delete web-2"]),
    ("partition-keeps-those-below", 2, "R* R* R*", ["delete web-2"]),
    ("partition-reached", 2, "R* R* R", []),
    ("partition-equal-to-replicas", 3, "R* R* R*", []),
    ("partition-beyond-replicas", 9, "R* R* R*", []),
    ("waits-for-the-deleted-pod", 0, "R* R* R*-", []),
    ("recreates-before-it-goes-on", 0, "R* R* .", ["create web-2"]),
    ("a-broken-new-pod-stops-the-roll", 0, "R* R* U", []),
    ("a-broken-old-pod-stops-an-ordered-set-before-the-roll", 0, "R* R* U*", []),
]

PARALLEL: list[tuple[str, int, str, list[str]]] = [
    ("an-old-pod-goes-even-if-broken", 0, "R* R* U*", ["delete web-2"]),
    ("a-broken-new-pod-stops-the-roll", 0, "R* R* U", []),
    ("a-broken-new-pod-below-the-next-old-one-does-not", 0, "R* U R*", ["delete web-2"]),
    ("waits-for-a-terminating-pod", 0, "R* R* R*-", []),
    ("a-pod-created-in-this-sync-is-waited-for", 0, "R* R* .", ["create web-2"]),
    ("a-failed-pod-is-replaced-and-waited-for", 0, "R* R* F*", ["delete web-2"]),
    ("scaling-down-does-not-delay-the-roll", 0, "R* R* R* R*", ["delete web-3", "delete web-2"]),
    ("partition", 1, "R* U* R", ["delete web-1"]),
]


def _strategy(**block: Any) -> Object:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": block}}


@pytest.mark.parametrize(
    ("partition", "states", "expected"), [pytest.param(*row[1:], id=row[0]) for row in ONE_AT_A_TIME]
)
def test_ordered_one_at_a_time(partition: int, states: str, expected: list[str]) -> None:
    assert steps(rolling(stateful_set(spec=_strategy(partition=partition)), states)) == expected


@pytest.mark.parametrize(("partition", "states", "expected"), [pytest.param(*row[1:], id=row[0]) for row in PARALLEL])
def test_parallel_one_at_a_time(partition: int, states: str, expected: list[str]) -> None:
    owner = stateful_set(spec=_strategy(partition=partition) | {"podManagementPolicy": "Parallel"})
    assert steps(rolling(owner, states)) == expected


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        pytest.param("R* R* R*", ["delete web-2"], id="rolls-all"),
        pytest.param("R* R R", ["delete web-0"], id="down-to-the-first"),
    ],
)
def test_without_a_rolling_update_block(states: str, expected: list[str]) -> None:
    owner = stateful_set(spec={"updateStrategy": {"type": "RollingUpdate"}}, status={"currentReplicas": 1})
    assert steps(rolling(owner, states)) == expected


def test_a_pod_created_of_the_old_revision_is_not_deleted_in_the_same_sync() -> None:
    parallel = {"updateStrategy": {"type": "RollingUpdate"}, "podManagementPolicy": "Parallel"}
    owner = stateful_set(spec=parallel, status={"currentReplicas": 3})
    assert steps(rolling(owner, "R* R* .")) == ["create web-2"]


@pytest.mark.parametrize("states", ["R* R* R*", "R* R R*"])
@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_on_delete_never_rolls(states: str, policy: str) -> None:
    owner = stateful_set(spec={"updateStrategy": {"type": "OnDelete"}, "podManagementPolicy": policy})
    assert steps(rolling(owner, states)) == []


def test_an_ordered_roll_waits_for_condemned_pods() -> None:
    assert steps(rolling(stateful_set(replicas=2), "R* R* R*")) == ["delete web-2"]


BUDGET_ORDERED: list[tuple[str, int | str, int, str, list[str]]] = [
    ("two-at-once", 2, 0, "R* R* R* R*", ["delete web-3", "delete web-2"]),
    ("more-than-there-are", 9, 0, "R* R*", ["delete web-1", "delete web-0"]),
    ("not-below-the-partition", 3, 2, "R* R* R* R*", ["delete web-3", "delete web-2"]),
    ("waits-for-the-unavailable", 2, 0, "R* R* U U", []),
    ("percent-rounds-down", "50%", 0, "R* R* R*", ["delete web-2"]),
    ("percent-is-at-least-one", "1%", 0, "R* R* R*", ["delete web-2"]),
    ("all", "100%", 0, "R* R* R*", ["delete web-2", "delete web-1", "delete web-0"]),
    ("skips-new-ones", 2, 0, "R* R R* R", ["delete web-2", "delete web-0"]),
]

BUDGET_PARALLEL: list[tuple[str, int | str, int, str, list[str]]] = [
    ("two-at-once", 2, 0, "R* R* R* R*", ["delete web-3", "delete web-2"]),
    ("a-terminating-pod-uses-the-budget", 2, 0, "R* R* R* R-", ["delete web-2"]),
    ("a-broken-new-pod-uses-the-budget", 2, 0, "R* R* R* U", ["delete web-2"]),
    ("an-unavailable-pod-below-the-partition-uses-it", 2, 2, "U* R* R* R*", ["delete web-3"]),
    ("budget-spent", 2, 0, "R* R* U U", []),
    ("budget-overspent", 2, 0, "R* R* U U U", []),
    ("broken-old-pods-all-go", 1, 0, "U* U* U* U*", [f"delete web-{n}" for n in (3, 2, 1, 0)]),
    ("broken-old-pods-go-first", 2, 0, "R* U* R* R*", ["delete web-1", "delete web-3"]),
    ("broken-old-pods-below-the-partition-stay", 1, 2, "U* U* U* U*", ["delete web-3", "delete web-2"]),
    ("missing-pods-use-the-budget", 2, 0, "R* R* R* .", ["create web-3", "delete web-2"]),
    ("a-failed-old-pod-is-deleted-once", 1, 0, "R* R* R* F*", ["delete web-3"]),
]


@pytest.mark.parametrize(
    ("budget", "partition", "states", "expected"), [pytest.param(*row[1:], id=row[0]) for row in BUDGET_ORDERED]
)
def test_max_unavailable_ordered(budget: int | str, partition: int, states: str, expected: list[str]) -> None:
    spec = _strategy(partition=partition, maxUnavailable=budget)
    assert steps(rolling(stateful_set(replicas=len(states.split()), spec=spec), states)) == expected


@pytest.mark.parametrize(
    ("budget", "partition", "states", "expected"), [pytest.param(*row[1:], id=row[0]) for row in BUDGET_PARALLEL]
)
def test_max_unavailable_parallel(budget: int | str, partition: int, states: str, expected: list[str]) -> None:
    spec = _strategy(partition=partition, maxUnavailable=budget) | {"podManagementPolicy": "Parallel"}
    assert steps(rolling(stateful_set(replicas=len(states.split()), spec=spec), states)) == expected


@pytest.mark.parametrize(
    ("value", "replicas", "expected"),
    [
        pytest.param(None, 10, None, id="not-asked-for"),
        pytest.param(3, 10, 3, id="number"),
        pytest.param("25%", 10, 2, id="percent-rounds-down"),
        pytest.param("9%", 10, 1, id="at-least-one"),
        pytest.param("50%", 0, 1, id="no-replicas"),
    ],
)
def test_the_budget_in_pods(value: int | str | None, replicas: int, expected: int | None) -> None:
    block = {} if value is None else {"maxUnavailable": value}
    assert SetView.of(stateful_set(replicas=replicas, spec=_strategy(**block))).max_unavailable == expected


NO_BLOCK: Object = {"updateStrategy": {"type": "RollingUpdate"}}
ON_DELETE: Object = {"updateStrategy": {"type": "OnDelete"}}

WHICH_REVISION: list[tuple[str, Object, int, int, int, bool]] = [
    # spec, ordinals.start, status.currentReplicas, ordinal, of the old revision?
    ("below-the-partition-current", _strategy(partition=2), 0, 0, 1, True),
    ("at-the-partition-update", _strategy(partition=2), 0, 0, 2, False),
    ("partition-is-relative-to-the-start", _strategy(partition=2), 5, 0, 6, True),
    ("partition-relative-reached", _strategy(partition=2), 5, 0, 7, False),
    ("currentReplicas-count-for-nothing-with-a-block", _strategy(partition=0), 0, 3, 0, False),
    ("no-block-below-currentReplicas-current", NO_BLOCK, 0, 2, 1, True),
    ("no-block-at-currentReplicas-update", NO_BLOCK, 0, 2, 2, False),
    ("no-block-relative-to-the-start", NO_BLOCK, 5, 2, 6, True),
    ("on-delete-update", ON_DELETE, 0, 3, 0, False),
    ("an-empty-block-has-partition-zero", _strategy(), 0, 3, 0, False),
]


@pytest.mark.parametrize(
    ("spec", "start", "current_replicas", "ordinal", "is_old"),
    [pytest.param(*row[1:], id=row[0]) for row in WHICH_REVISION],
)
def test_the_revision_of_a_missing_pod(
    spec: Object, start: int, current_replicas: int, ordinal: int, is_old: bool
) -> None:
    parallel = {"podManagementPolicy": "Parallel", "ordinals": {"start": start}}
    owner = stateful_set(spec=spec | parallel, status={"currentReplicas": current_replicas})
    pod = created(rolling(owner, ""), f"web-{ordinal}")
    assert labels_of(pod)[REVISION_LABEL] == (old_name(owner) if is_old else new_name(owner))
    assert pod["spec"]["containers"][0]["image"] == ("web:0" if is_old else "web:1")


def test_a_broken_rollback_stays_stuck_until_the_broken_pod_is_deleted() -> None:
    """Kept by design: in an ordered set, a broken pod of the bad revision blocks the roll back to the good one."""
    owner = stateful_set()
    assert steps(rolling(owner, "R R U*")) == []
    assert steps(rolling(owner, "R R .")) == ["create web-2"]


def test_a_roll_subtracts_the_deleted_pods_from_current_replicas() -> None:
    owner = stateful_set()
    outcome = rolling(owner, "R* R* R*")
    assert status_of(outcome) is not None
    assert (status_of(outcome) or {})["currentReplicas"] == 2


def test_current_replicas_never_fall_below_zero() -> None:
    """Pods of a third revision are rolled too, and were never counted as current."""
    owner = stateful_set(replicas=1)
    owner["status"] = {"currentRevision": new_name(owner)}
    outcome = rolling(owner, "R*")
    assert steps(outcome) == ["delete web-0"]
    assert "currentReplicas" not in (status_of(outcome) or {})

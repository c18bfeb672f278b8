"""The status: counts, completion of a roll, and when it is worth a write (1.8, steps 1, 9 and 10)."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.control.writes import Update
from tests.builders import claim, stateful_set
from tests.unit.controllers.statefulset_kit import (
    NOW,
    decide,
    new_name,
    old_name,
    pods_of,
    revision,
    rolling,
    status_of,
)

Counts = tuple[int, int, int, int, int]
"""replicas, readyReplicas, availableReplicas, currentReplicas (the old revision), updatedReplicas."""

COUNTED: list[tuple[str, int, str, Counts]] = [
    ("nothing", 3, "", (0, 0, 0, 0, 0)),
    ("a-pod-created-in-this-sync-is-not-counted", 3, "R* R*", (2, 2, 2, 2, 0)),
    ("pending-counts-as-replica", 3, "R P", (2, 1, 1, 0, 2)),
    ("unready", 3, "R U", (2, 1, 1, 0, 2)),
    ("failed-and-succeeded-count-as-replicas", 3, "F S R", (3, 1, 1, 0, 3)),
    ("terminating-counts-while-ready-but-in-no-revision", 3, "R R*- R-", (3, 3, 3, 0, 1)),
    ("condemned-count-too", 1, "R R R*", (3, 3, 3, 1, 2)),
    ("old-and-new", 3, "R* U* R", (3, 2, 2, 2, 1)),
]


@pytest.mark.parametrize(("replicas", "states", "expected"), [pytest.param(*row[1:], id=row[0]) for row in COUNTED])
def test_counts(replicas: int, states: str, expected: Counts) -> None:
    owner = stateful_set(replicas=replicas, spec={"updateStrategy": {"type": "OnDelete"}})
    status = status_of(rolling(owner, states)) or {}
    fields = ("replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas")
    assert tuple(status.get(field, 0) for field in fields) == expected


def test_both_revision_counts_rise_while_the_revisions_are_equal() -> None:
    owner = stateful_set()
    status = status_of(decide(owner, revision(owner), pods_of(owner, "R R"))) or {}
    assert (status["currentReplicas"], status["updatedReplicas"]) == (2, 2)


@pytest.mark.parametrize("phase", ["Pending", "Failed", "Succeeded"])
def test_ready_needs_the_running_phase(phase: str) -> None:
    owner = stateful_set()
    pods = pods_of(owner, "R")
    pods[0]["status"]["phase"] = phase
    status = status_of(decide(owner, revision(owner), pods)) or {}
    assert (status["replicas"], status.get("readyReplicas", 0), status["availableReplicas"]) == (1, 0, 0)


def test_available_needs_min_ready_seconds() -> None:
    owner = stateful_set(spec={"minReadySeconds": 2000})
    status = status_of(decide(owner, revision(owner), pods_of(owner, "R"), now=NOW)) or {}
    assert (status["readyReplicas"], status["availableReplicas"]) == (1, 0)


def test_a_status_as_a_whole() -> None:
    owner = stateful_set(generation=7)
    [write] = [each for each in decide(owner).writes if isinstance(each, Update)]
    assert owner["metadata"].pop("resourceVersion"), "no other write makes this one fail"
    assert write == Update(
        owner
        | {
            "status": {
                "observedGeneration": 7,
                "replicas": 0,
                "availableReplicas": 0,
                "currentRevision": new_name(owner),
                "updateRevision": new_name(owner),
                "collisionCount": 0,
            }
        },
        subresource="status",
        always=True,
    )


def test_the_status_is_the_last_write() -> None:
    owner = stateful_set(claims=["data"], spec={"revisionHistoryLimit": 0})
    past = revision(owner, {"metadata": {}, "spec": {"containers": []}}, number=1)
    outcome = decide(owner, past, claim("data-web-1"))
    assert len(outcome.writes) > 4
    assert isinstance(outcome.writes[-1], Update)
    assert outcome.writes[-1].subresource == "status"
    assert sum(getattr(each, "always", False) for each in outcome.writes) == 1


COMPLETION: list[tuple[str, int, str, bool]] = [
    ("all-new-and-ready", 3, "R R R", True),
    ("one-unready", 3, "R R U", False),
    ("one-old", 3, "R* R R", False),
    ("one-missing", 3, "R R", False),
    ("a-condemned-one-left", 3, "R R R R", False),
    ("a-broken-condemned-one-left", 3, "R R R U*", False),
    ("no-replicas", 0, "", True),
    ("a-terminating-one", 3, "R R R-", False),
]


@pytest.mark.parametrize(("replicas", "states", "complete"), [pytest.param(*row[1:], id=row[0]) for row in COMPLETION])
def test_a_complete_roll_makes_the_update_revision_current(replicas: int, states: str, complete: bool) -> None:
    owner = stateful_set(replicas=replicas)
    status = status_of(rolling(owner, states)) or {}
    assert status["updateRevision"] == new_name(owner)
    assert status["currentRevision"] == (new_name(owner) if complete else old_name(owner))
    if complete:
        assert status.get("currentReplicas") == status.get("updatedReplicas")


def test_on_delete_never_completes() -> None:
    owner = stateful_set(spec={"updateStrategy": {"type": "OnDelete"}})
    status = status_of(rolling(owner, "R R R")) or {}
    assert status["currentRevision"] == old_name(owner)
    assert "currentReplicas" not in status


def _settled(owner: Object) -> Object:
    """The status that a complete, observed set of three has."""
    name = new_name(owner)
    counts = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"), 3)
    return counts | {
        "observedGeneration": 1,
        "currentRevision": name,
        "updateRevision": name,
        "collisionCount": 0,
    }


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        pytest.param({}, False, id="nothing-new"),
        pytest.param({"observedGeneration": 0}, True, id="newer-generation"),
        pytest.param({"observedGeneration": 9}, False, id="older-generation"),
        pytest.param({"replicas": 2}, True, id="replicas"),
        pytest.param({"readyReplicas": 2}, True, id="readyReplicas"),
        pytest.param({"availableReplicas": 2}, True, id="availableReplicas"),
        pytest.param({"currentReplicas": 2}, True, id="currentReplicas"),
        pytest.param({"updatedReplicas": 0}, True, id="updatedReplicas"),
        pytest.param({"currentRevision": "web-x"}, True, id="currentRevision"),
        pytest.param({"updateRevision": "web-x"}, True, id="updateRevision"),
        pytest.param({"collisionCount": None}, False, id="collisionCount-is-not-compared"),
        pytest.param({"conditions": [{"type": "Mine"}]}, False, id="conditions-are-not-compared"),
    ],
)
def test_when_it_is_written(stored: dict[str, Any], written: bool) -> None:
    owner = stateful_set()
    owner["status"] = _settled(owner) | stored
    status = status_of(decide(owner, revision(owner), pods_of(owner, "R R R")))
    assert (status is not None) == written


def test_foreign_conditions_are_lost_with_the_next_write() -> None:
    owner = stateful_set(status={"conditions": [{"type": "Mine"}]})
    assert "conditions" not in (status_of(decide(owner)) or {})


def test_a_settled_set_writes_nothing_at_all() -> None:
    owner = stateful_set(claims=["data"])
    owner["status"] = _settled(owner)
    claims = [claim(f"data-web-{ordinal}") for ordinal in range(3)]
    outcome = decide(owner, revision(owner), pods_of(owner, "R R R"), claims)
    assert (outcome.writes, outcome.again_at, outcome.error) == ((), None, "")

"""Who owns a claim: persistentVolumeClaimRetentionPolicy as ownerReferences (1.10)."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object, controller_reference, name_of
from petset.cluster.control.writes import Record, Update
from tests.builders import claim, pod, stateful_set
from tests.unit.controllers.statefulset_kit import decide, pods_of, revision, steps

PVC = "PersistentVolumeClaim"
SET_REF = controller_reference(stateful_set())
POD_REF = controller_reference(pod("web-0"))
OLD_SET_REF = SET_REF | {"uid": "an-earlier-set"}
OLD_POD_REF = POD_REF | {"uid": "an-earlier-pod"}
FOREIGN = {"apiVersion": "example.com/v1", "kind": "Backup", "name": "b", "uid": "b"}
FOREIGN_CONTROLLER = FOREIGN | {"controller": True}
LOOSE_SET_REF = SET_REF | {"controller": False}

RETAIN, DELETE = "Retain", "Delete"

OWNERS: list[tuple[Any, ...]] = [
    # id, whenScaled, whenDeleted, references before, after in range, after condemned
    ("retain-retain-none", RETAIN, RETAIN, [], [], []),
    ("retain-retain-removes-the-set", RETAIN, RETAIN, [SET_REF], [], []),
    ("retain-retain-removes-the-pod", RETAIN, RETAIN, [POD_REF], [], []),
    ("retain-delete-the-set", RETAIN, DELETE, [], [SET_REF], [SET_REF]),
    ("retain-delete-kept", RETAIN, DELETE, [SET_REF], [SET_REF], [SET_REF]),
    ("retain-delete-removes-the-pod", RETAIN, DELETE, [POD_REF], [SET_REF], [SET_REF]),
    ("delete-retain-the-pod-when-condemned", DELETE, RETAIN, [], [], [POD_REF]),
    ("delete-retain-removes-the-set", DELETE, RETAIN, [SET_REF], [], [POD_REF]),
    ("delete-retain-back-in-range", DELETE, RETAIN, [POD_REF], [], [POD_REF]),
    ("delete-delete-changes-hands", DELETE, DELETE, [SET_REF], [SET_REF], [POD_REF]),
    ("delete-delete-none-yet", DELETE, DELETE, [], [SET_REF], [POD_REF]),
    ("delete-delete-back-in-range", DELETE, DELETE, [POD_REF], [SET_REF], [POD_REF]),
    ("a-foreign-owner-is-kept", DELETE, DELETE, [FOREIGN], [FOREIGN, SET_REF], [FOREIGN, POD_REF]),
    ("a-foreign-owner-is-kept-in-front", RETAIN, RETAIN, [SET_REF, FOREIGN], [FOREIGN], [FOREIGN]),
    ("a-reference-that-does-not-control-is-repaired", RETAIN, DELETE, [LOOSE_SET_REF], [SET_REF], [SET_REF]),
    ("a-foreign-controller-is-respected", RETAIN, DELETE, *[[FOREIGN_CONTROLLER]] * 3),
    ("beside-a-foreign-controller-ours-go", RETAIN, DELETE, [FOREIGN_CONTROLLER, SET_REF], *[[FOREIGN_CONTROLLER]] * 2),
    ("a-foreign-controller-under-retain", RETAIN, RETAIN, [FOREIGN_CONTROLLER, SET_REF], *[[FOREIGN_CONTROLLER]] * 2),
    ("a-stale-set-reference-is-left-alone", RETAIN, DELETE, *[[OLD_SET_REF]] * 3),
    ("a-stale-set-reference-under-retain", RETAIN, RETAIN, *[[OLD_SET_REF]] * 3),
    ("a-stale-set-reference-beside-our-pods", RETAIN, RETAIN, *[[OLD_SET_REF, POD_REF]] * 3),
    ("a-stale-pod-reference-is-left-alone", DELETE, DELETE, *[[OLD_POD_REF]] * 3),
    ("stale-beside-ours-is-left-alone", DELETE, DELETE, *[[OLD_POD_REF, SET_REF]] * 3),
]


def _owner(scaled: str, deleted: str, **settings: Any) -> Object:
    policy = {"persistentVolumeClaimRetentionPolicy": {"whenScaled": scaled, "whenDeleted": deleted}}
    return stateful_set(claims=["data"], spec=policy | settings.pop("spec", {}), **settings)


def _claim_after(owner: Object, states: str, references: list[Object]) -> list[Object]:
    """The references of data-web-0 after one sync."""
    stored = claim("data-web-0", owners=references)
    outcome = decide(owner, revision(owner), pods_of(owner, states), stored)
    updates = [each.object for each in outcome.writes if isinstance(each, Update) and each.object["kind"] == PVC]
    assert len(updates) <= 1
    if not updates:
        return references
    assert {**updates[0], "metadata": stored["metadata"]} == stored
    assert updates[0]["metadata"]["resourceVersion"] == "1"
    return list(updates[0]["metadata"]["ownerReferences"])


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
@pytest.mark.parametrize(
    ("scaled", "deleted", "before", "in_range", "condemned"), [pytest.param(*row[1:], id=row[0]) for row in OWNERS]
)
def test_owners(
    policy: str, scaled: str, deleted: str, before: list[Object], in_range: list[Object], condemned: list[Object]
) -> None:
    management = {"podManagementPolicy": policy}
    assert _claim_after(_owner(scaled, deleted, replicas=1, spec=management), "R", before) == in_range
    assert _claim_after(_owner(scaled, deleted, replicas=0, spec=management), "R", before) == condemned


def test_a_change_of_policy_puts_the_pod_again() -> None:
    owner = _owner(RETAIN, DELETE, replicas=1)
    outcome = decide(owner, revision(owner), pods_of(owner, "R"), claim("data-web-0"))
    assert steps(outcome, PVC, "Pod") == ["update data-web-0", "update web-0"]


def test_a_condemned_pods_claim_changes_hands_before_the_pod_goes() -> None:
    owner = _owner(DELETE, RETAIN, replicas=0)
    outcome = decide(owner, revision(owner), pods_of(owner, "R"), claim("data-web-0"))
    assert steps(outcome, PVC, "Pod") == ["update data-web-0", "delete web-0"]


def test_all_condemned_claims_change_hands_at_once() -> None:
    owner = _owner(DELETE, RETAIN, replicas=1)
    claims = [claim(f"data-web-{ordinal}") for ordinal in range(3)]
    outcome = decide(owner, revision(owner), pods_of(owner, "R R R"), claims)
    assert steps(outcome, PVC, "Pod") == ["update data-web-2", "update data-web-1", "delete web-2"]


def test_nothing_changes_hands_while_a_kept_pod_is_unready() -> None:
    owner = _owner(DELETE, RETAIN, replicas=1)
    assert steps(decide(owner, revision(owner), pods_of(owner, "U R"), claim("data-web-1")), PVC, "Pod") == []


def test_a_reused_claim_gets_its_owner_with_the_new_pod() -> None:
    owner = _owner(RETAIN, DELETE)
    outcome = decide(owner, revision(owner), claim("data-web-0"))
    assert steps(outcome, PVC, "Pod") == ["create web-0", "update data-web-0"]


def test_a_fresh_claim_has_no_owner_until_the_pod_is_pending() -> None:
    owner = _owner(RETAIN, DELETE, replicas=1)
    assert steps(decide(owner, revision(owner)), PVC) == ["create data-web-0"]
    pending = decide(owner, revision(owner), pods_of(owner, "P"), claim("data-web-0"))
    assert steps(pending, PVC, "Pod") == ["update data-web-0"]


def test_a_pending_pod_of_a_parallel_set_updates_its_claim_once_and_not_itself() -> None:
    owner = _owner(RETAIN, DELETE, replicas=1, spec={"podManagementPolicy": "Parallel"})
    outcome = decide(owner, revision(owner), pods_of(owner, "P"), claim("data-web-0"))
    assert steps(outcome, PVC, "Pod") == ["update data-web-0"]


@pytest.mark.parametrize(
    ("scaled", "deleted", "recorded"),
    [
        pytest.param(RETAIN, DELETE, True, id="under-a-delete-policy"),
        pytest.param(DELETE, RETAIN, True, id="under-the-other-delete-policy"),
        pytest.param(RETAIN, RETAIN, False, id="not-under-retain"),
    ],
)
def test_a_conflicting_controller_is_reported(scaled: str, deleted: str, recorded: bool) -> None:
    owner = _owner(scaled, deleted, replicas=1)
    stored = claim("data-web-0", owners=[FOREIGN_CONTROLLER, SET_REF])
    outcome = decide(owner, revision(owner), pods_of(owner, "R"), stored)
    records = [each for each in outcome.writes if isinstance(each, Record)]
    expected = Record(
        owner,
        "Warning",
        "ConflictingController",
        "PersistentVolumeClaim data-web-0 has a conflicting OwnerReference that acts as a managing controller, "
        "the retention policy is ignored for this claim",
    )
    assert records == ([expected] if recorded else [])


def test_a_stale_reference_is_reported_too() -> None:
    owner = _owner(RETAIN, DELETE, replicas=1)
    outcome = decide(owner, revision(owner), pods_of(owner, "P"), claim("data-web-0", owners=[OLD_SET_REF]))
    assert steps(outcome, "Event", PVC) == ["record ConflictingController"]


@pytest.mark.parametrize("states", ["R R R F", "R R R", "F R R"])
def test_a_claim_is_never_deleted(states: str) -> None:
    owner = _owner(DELETE, DELETE, replicas=2)
    claims = [claim(f"data-web-{ordinal}") for ordinal in range(4)]
    outcome = decide(owner, revision(owner), pods_of(owner, states), claims)
    assert not [step for step in steps(outcome, PVC) if step.startswith("delete")]


def test_only_a_delete_policy_waits_for_a_stale_claim() -> None:
    stale = claim("data-web-0", owners=[OLD_POD_REF])
    retaining = _owner(RETAIN, DELETE)
    assert steps(decide(retaining, revision(retaining), stale)) == ["create web-0"]
    deleting = _owner(DELETE, RETAIN)
    assert steps(decide(deleting, revision(deleting), stale)) == []
    assert name_of(stale) == "data-web-0"

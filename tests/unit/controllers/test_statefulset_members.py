"""What wakes a set, and which pods and revisions are its own (1.3 and 1.4)."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object, controller_of, controller_reference
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import ConfirmNone, Patch
from petset.cluster.controllers.statefulset import CONTROLLER
from petset.cluster.controllers.statefulset.pods import parent_and_ordinal
from tests.builders import LABELS, pod, stateful_set
from tests.unit.controllers.statefulset_kit import NOW, decide, pods_of, revision, status_of, steps

OWNER = stateful_set()
OTHER = stateful_set("other")
NAMESAKE = stateful_set(uid="an-earlier-web")

MEMBERSHIP: list[tuple[str, Object, str]] = [
    # pod web-7 (beyond the replicas unless adopted it does nothing), and what is done: adopt, release, keep, ignore
    ("owned-and-matching", {"owner": OWNER}, "keep"),
    ("owned-but-labels-differ", {"owner": OWNER, "labels": {"app": "other"}}, "release"),
    ("owned-but-unlabelled", {"owner": OWNER, "labels": {}}, "release"),
    ("owned-but-terminating-and-differing", {"owner": OWNER, "labels": {}, "terminating": True}, "release"),
    ("owned-by-another", {"owner": OTHER}, "ignore"),
    ("owned-by-an-earlier-set-of-the-name", {"owner": NAMESAKE}, "ignore"),
    ("orphan-that-matches", {}, "adopt"),
    ("orphan-with-another-non-controlling-owner", {"owners": [{"kind": "X", "name": "x", "uid": "x"}]}, "adopt"),
    ("orphan-with-other-labels", {"labels": {"app": "other"}}, "ignore"),
    ("orphan-that-is-terminating", {"terminating": True}, "ignore"),
    ("orphan-in-another-namespace", {"namespace": "elsewhere"}, "ignore"),
]


@pytest.mark.parametrize(("settings", "expected"), [pytest.param(*row[1:], id=row[0]) for row in MEMBERSHIP])
def test_membership(settings: dict[str, Any], expected: str) -> None:
    subject = pod("web-1", ready=True, **settings)
    outcome = decide(OWNER, revision(OWNER), pods_of(OWNER, "R . R"), subject)
    patches = [each for each in outcome.writes if isinstance(each, Patch)]
    assert len(patches) == (expected in ("adopt", "release"))
    counted = (status_of(outcome) or {})["replicas"]
    assert counted == (3 if expected in ("keep", "adopt") else 2)


def test_adoption_patch() -> None:
    outcome = decide(OWNER, revision(OWNER), pod("web-0", ready=True))
    assert outcome.writes[1] == Patch(
        kind="Pod",
        namespace="default",
        name="web-0",
        body={"metadata": {"ownerReferences": [controller_reference(OWNER)]}},
        type="strategic",
        uid="uid-pod-web-0",
    )
    assert controller_reference(OWNER) == {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": "web",
        "uid": "uid-statefulset-web",
        "controller": True,
        "blockOwnerDeletion": True,
    }


@pytest.mark.parametrize(
    ("live", "forbidden"),
    [
        pytest.param(stateful_set(replicas=9), False, id="the-same-set"),
        pytest.param(stateful_set(uid="reborn"), True, id="another-uid"),
        pytest.param(stateful_set(terminating=True), True, id="being-deleted"),
    ],
)
def test_the_live_set_is_asked_once_before_the_first_adoption(live: Object, forbidden: bool) -> None:
    orphans = [pod(f"web-{ordinal}", ready=True) for ordinal in range(3)]
    outcome = decide(OWNER, revision(OWNER, owner=None), orphans)
    confirmations = [each for each in outcome.writes if isinstance(each, ConfirmNone)]
    assert confirmations == [outcome.writes[0]]
    [first] = confirmations
    assert (first.kind, first.namespace, first.name) == ("StatefulSet", "default", "web")
    assert first.matching(live) == forbidden


def test_without_an_adoption_nothing_is_asked() -> None:
    outcome = decide(OWNER, revision(OWNER), pods_of(OWNER, "R R R"), pod("web-7", owner=OWNER, labels={}))
    assert not [each for each in outcome.writes if isinstance(each, ConfirmNone)]


def test_release_patch() -> None:
    outcome = decide(OWNER, revision(OWNER), pod("web-0", owner=OWNER, labels={}))
    assert outcome.writes[0] == Patch(
        kind="Pod",
        namespace="default",
        name="web-0",
        body={"metadata": {"ownerReferences": [{"$patch": "delete", "uid": "uid-statefulset-web"}]}},
        type="strategic",
        uid="uid-pod-web-0",
    )


@pytest.mark.parametrize("settings", [{}, {"owner": OWNER, "labels": {}}])
def test_a_set_that_is_being_deleted_neither_adopts_nor_releases(settings: dict[str, Any]) -> None:
    owner = stateful_set(terminating=True)
    orphan_revision = revision(owner, owner=None)
    outcome = decide(owner, orphan_revision, pod("web-0", ready=True, **settings))
    assert steps(outcome, "Pod", "ControllerRevision") == []


def test_an_orphan_revision_is_adopted() -> None:
    outcome = decide(OWNER, revision(OWNER, owner=None), pods_of(OWNER, "R R R"))
    assert steps(outcome, "ControllerRevision") == [f"patch {revision(OWNER)['metadata']['name']}"]
    patch = outcome.writes[1]
    assert isinstance(patch, Patch)
    assert patch.body == {"metadata": {"ownerReferences": [controller_reference(OWNER)]}}
    assert patch.uid == revision(OWNER)["metadata"]["uid"]


def test_revisions_of_others_are_left_alone() -> None:
    foreign = revision(OTHER)
    unmatched = revision(OWNER, owner=None, labels={"app": "else"})
    unmatched["metadata"]["name"] = "unmatched"
    outcome = decide(OWNER, revision(OWNER), foreign, unmatched, pods_of(OWNER, "R R R"))
    assert steps(outcome, "ControllerRevision") == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("web-0", ("web", 0), id="plain"),
        pytest.param("my-web-12", ("my-web", 12), id="dash-in-the-parent"),
        pytest.param("web-1-2", ("web-1", 2), id="longest-parent"),
        pytest.param("web-01", ("web", 1), id="padded"),
        pytest.param("web", None, id="no-ordinal"),
        pytest.param("web-a", None, id="no-number"),
        pytest.param("web-", None, id="nothing"),
        pytest.param("web-2147483647", ("web", 2147483647), id="largest"),
        pytest.param("web-2147483648", None, id="too-large"),
    ],
)
def test_parent_and_ordinal(name: str, expected: tuple[str, int] | None) -> None:
    assert parent_and_ordinal(name) == expected


@pytest.mark.parametrize("name", ["other-0", "web-1-2", "web", "my-web-0"])
def test_an_orphan_of_another_name_is_ignored_and_an_owned_one_released(name: str) -> None:
    ours = pods_of(OWNER, "R R R")
    assert steps(decide(OWNER, revision(OWNER), ours, pod(name, ready=True))) == []
    assert steps(decide(OWNER, revision(OWNER), ours, pod(name, ready=True, owner=OWNER))) == [f"patch {name}"]


def test_an_adopted_pod_is_repaired_in_the_next_sync_only() -> None:
    owner = stateful_set(replicas=1)
    orphan = pod("web-0", ready=True)
    assert steps(decide(owner, revision(owner), orphan)) == ["patch web-0", "delete web-0"]
    owner["spec"]["updateStrategy"] = {"type": "OnDelete"}
    assert steps(decide(owner, revision(owner), orphan)) == ["patch web-0"]
    adopted = pod("web-0", ready=True, owner=owner)
    assert steps(decide(owner, revision(owner), adopted)) == ["update web-0"]


def test_a_padded_name_holds_the_slot_only_while_the_real_one_is_missing() -> None:
    owner = stateful_set(replicas=1)
    padded = pods_of(owner, "U")[0]
    padded["metadata"] |= {"name": "web-00"}
    assert steps(decide(owner, revision(owner), padded)) == []
    real = pods_of(owner, "R")
    assert steps(decide(owner, revision(owner), padded, real)) == []
    assert (status_of(decide(owner, revision(owner), padded, real)) or {})["readyReplicas"] == 1


WAKES: list[tuple[str, Object, list[tuple[str, str]]]] = [
    ("owned", pod(owner=OWNER), [("default", "web")]),
    ("owned-whatever-its-labels", pod(owner=OWNER, labels={}), [("default", "web")]),
    ("owned-by-an-earlier-set", pod(owner=NAMESAKE), []),
    ("owned-by-another-kind", pod(owner=OWNER | {"kind": "ReplicaSet"}), []),
    ("owned-by-an-unknown-set", pod(owner=stateful_set("gone")), []),
    ("orphan-wakes-every-set-that-selects-it", pod(), [("default", "other"), ("default", "web")]),
    ("orphan-that-nobody-selects", pod(labels={}), []),
    ("orphan-elsewhere", pod(namespace="elsewhere"), []),
]


@pytest.mark.parametrize(("subject", "expected"), [pytest.param(*row[1:], id=row[0]) for row in WAKES])
def test_a_pod_wakes(subject: Object, expected: list[tuple[str, str]]) -> None:
    snapshot = Snapshot.of([OWNER, OTHER, stateful_set("third", spec={"selector": {"matchLabels": {"app": "x"}}})])
    assert list(CONTROLLER.triggers["Pod"](subject, snapshot)) == expected


def test_a_set_wakes_itself_and_claims_and_revisions_wake_nothing() -> None:
    assert list(CONTROLLER.triggers["StatefulSet"](OWNER, Snapshot())) == [("default", "web")]
    assert set(CONTROLLER.triggers) == {"StatefulSet", "Pod"}
    assert set(CONTROLLER.kinds) == {"StatefulSet", "Pod", "ControllerRevision", "PersistentVolumeClaim"}
    assert CONTROLLER.component == "statefulset-controller"


def test_match_expressions_select() -> None:
    owner = stateful_set(spec={"selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}})
    outcome = decide(owner, revision(owner), pod("web-0", labels=LABELS, ready=True), now=NOW)
    assert steps(outcome)[0] == "patch web-0"
    assert controller_of(pod("web-0")) is None

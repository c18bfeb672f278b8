"""ControllerRevisions of a set: create, reuse, roll back, collide, truncate (1.5)."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object, controller_reference, name_of
from petset.cluster.api.revisions import HASH_LABEL, apply_revision, hash_of, revision_data, revision_name
from petset.cluster.control.writes import Create, Patch
from tests.builders import LABELS, pod_template, stateful_set
from tests.unit.controllers.statefulset_kit import created, decide, pods_of, revision, status_of, steps

KIND = "ControllerRevision"


def _image(number: int) -> Object:
    return pod_template(f"web:{number}")


def _past(owner: Object, *images: int) -> list[Object]:
    """Revisions of these images, numbered from 1 in the order given."""
    return [revision(owner, _image(image), number=index + 1) for index, image in enumerate(images)]


def _image_set(image: int, **settings: Any) -> Object:
    return stateful_set(template=_image(image), **settings)


def test_the_first_revision_as_a_whole() -> None:
    owner = stateful_set(annotations={"note": "x"})
    data = revision_data(owner["spec"]["template"])
    outcome = decide(owner)
    assert outcome.writes[0] == Create(
        {
            "apiVersion": "apps/v1",
            "kind": KIND,
            "metadata": {
                "name": f"web-{hash_of(data, 0)}",
                "namespace": "default",
                "labels": LABELS | {HASH_LABEL: hash_of(data, 0)},
                "annotations": {"note": "x"},
                "ownerReferences": [controller_reference(owner)],
            },
            "data": {"spec": {"template": owner["spec"]["template"] | {"$patch": "replace"}}},
            "revision": 1,
        }
    )
    assert steps(outcome, KIND, "Pod") == [f"create web-{hash_of(data, 0)}", "create web-0"]


@pytest.mark.parametrize(
    ("past", "image", "expected_number", "renumbered"),
    [
        pytest.param([], 1, 1, False, id="first-is-number-one"),
        pytest.param([1], 2, 2, False, id="new-template-next-number"),
        pytest.param([1, 2, 3], 4, 4, False, id="after-the-last"),
        pytest.param([1], 1, None, False, id="unchanged-is-reused"),
        pytest.param([1, 2], 2, None, False, id="equal-to-the-last-is-reused"),
        pytest.param([1, 2], 1, 3, True, id="rollback-renumbers"),
        pytest.param([1, 2, 3], 2, 4, True, id="rollback-to-the-middle"),
    ],
)
def test_create_reuse_or_roll_back(past: list[int], image: int, expected_number: int | None, renumbered: bool) -> None:
    owner = _image_set(image)
    outcome = decide(owner, _past(owner, *past))
    name = name_of(revision(owner))
    if expected_number is None:
        assert steps(outcome, KIND) == []
    elif renumbered:
        assert steps(outcome, KIND) == [f"patch {name}"]
        patch = outcome.writes[0]
        assert isinstance(patch, Patch)
        assert (patch.body, patch.uid) == ({"revision": expected_number}, f"uid-controllerrevision-{name}")
    else:
        assert created(outcome, name)["revision"] == expected_number
    assert (status_of(outcome) or {})["updateRevision"] == name


def test_equal_data_is_found_whatever_noise_it_was_stored_with() -> None:
    owner = stateful_set()
    stored = revision(owner)
    stored["metadata"]["name"] = "web-older-hash"
    stored["data"]["spec"]["template"]["metadata"]["creationTimestamp"] = None
    outcome = decide(owner, stored)
    assert steps(outcome, KIND) == []
    assert created(outcome, "web-0")["metadata"]["labels"]["controller-revision-hash"] == "web-older-hash"


def test_of_several_equal_ones_the_newest_is_taken() -> None:
    owner = _image_set(1)
    twins = [revision(owner, number=number) for number in (1, 2)]
    twins[0]["metadata"]["name"] = "web-twin"
    outcome = decide(owner, twins, revision(owner, _image(2), number=3))
    assert steps(outcome, KIND) == [f"patch {name_of(twins[1])}"]


def test_the_last_is_the_one_with_the_highest_number_not_the_youngest() -> None:
    owner = _image_set(1)
    rolled_back = revision(owner, _image(1), number=3, created=0.0)
    assert steps(decide(owner, rolled_back, revision(owner, _image(2), number=2)), KIND) == []


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        pytest.param("", 2, id="none-is-the-update-revision"),
        pytest.param("web-unknown", 2, id="an-unknown-one-is-the-update-revision"),
        pytest.param(None, 1, id="the-named-one"),
    ],
)
def test_current_revision(stored: str | None, expected: int) -> None:
    owner = _image_set(2)
    name = name_of(revision(owner, _image(1))) if stored is None else stored
    owner["status"] = {"currentRevision": name}
    status = status_of(decide(owner, _past(owner, 1, 2))) or {}
    assert status["currentRevision"] == name_of(revision(owner, _image(expected)))
    assert status["updateRevision"] == name_of(revision(owner))


def _collider(owner: Object, /, count: int, data: Object, **settings: Any) -> Object:
    """Somebody else's object that has the name which the set's template gets at this collision count."""
    wanted = hash_of(revision_data(owner["spec"]["template"]), count)
    taken = revision(owner, number=1, labels={}, **settings)
    taken["metadata"]["name"] = revision_name("web", wanted)
    taken["data"] = data
    return taken


@pytest.mark.parametrize("taken", [1, 2, 3])
def test_a_name_taken_by_other_data_raises_the_collision_count(taken: int) -> None:
    owner = stateful_set()
    outcome = decide(owner, [_collider(owner, count, {"other": count}, owner=None) for count in range(taken)])
    name = revision_name("web", hash_of(revision_data(owner["spec"]["template"]), taken))
    assert created(outcome, name)["revision"] == 1
    assert (status_of(outcome) or {})["collisionCount"] == taken
    assert (status_of(outcome) or {})["updateRevision"] == name


def test_the_collision_count_is_kept() -> None:
    owner = stateful_set(status={"collisionCount": 3})
    outcome = decide(owner)
    assert steps(outcome, KIND) == ["create " + revision_name("web", hash_of(revision_data(_image(1)), 3))]
    assert (status_of(outcome) or {})["collisionCount"] == 3


def test_a_name_taken_by_the_same_data_is_reused_whoever_owns_it() -> None:
    owner = stateful_set()
    twin = _collider(owner, 0, revision_data(owner["spec"]["template"]), owner=stateful_set("other"))
    outcome = decide(owner, twin)
    assert steps(outcome, KIND) == []
    assert (status_of(outcome) or {})["updateRevision"] == name_of(twin)
    assert (status_of(outcome) or {})["collisionCount"] == 0


@pytest.mark.parametrize(
    ("limit", "past", "states", "gone"),
    [
        pytest.param(2, [1, 2, 3, 9], "R R R", [1], id="oldest-beyond-the-limit"),
        pytest.param(0, [1, 2, 3, 9], "R R R", [1, 2, 3], id="none-kept"),
        pytest.param(3, [1, 2, 3, 9], "R R R", [], id="within-the-limit"),
        pytest.param(1, [0, 2, 3, 9], "R R R*", [2], id="a-pods-revision-is-live-and-not-counted"),
        pytest.param(-1, [1, 2, 3, 9], "R R R", [], id="a-negative-limit-keeps-all"),
        pytest.param(0, [1, 2, 3], ". . .", [1, 2, 3], id="a-new-revision-is-live"),
    ],
)
def test_truncation(limit: int, past: list[int], states: str, gone: list[int]) -> None:
    owner = _image_set(9, spec={"revisionHistoryLimit": limit})
    outcome = decide(owner, _past(owner, *past), pods_of(owner, states))
    deleted = [step for step in steps(outcome, KIND) if step.startswith("delete")]
    assert deleted == [f"delete {name_of(revision(owner, _image(image)))}" for image in gone]


@pytest.mark.parametrize("states", ["R R R", ""])
def test_the_current_and_the_update_revision_are_never_truncated(states: str) -> None:
    owner = _image_set(9, spec={"revisionHistoryLimit": 0, "updateStrategy": {"type": "OnDelete"}})
    owner["status"] = {"currentRevision": name_of(revision(owner, _image(1)))}
    outcome = decide(owner, _past(owner, 1, 2, 9), pods_of(owner, states))
    assert steps(outcome, KIND) == [f"delete {name_of(revision(owner, _image(2)))}"]


def test_a_set_adopted_after_an_orphaning_delete_reuses_the_revision() -> None:
    """`kubectl delete --cascade=orphan`, then the same manifest again: nothing restarts."""
    owner = stateful_set(uid="reborn")
    orphans = [pod | {"metadata": pod["metadata"] | {"ownerReferences": []}} for pod in pods_of(owner, "R R R")]
    outcome = decide(owner, revision(owner, owner=None), orphans)
    name = name_of(revision(owner))
    assert steps(outcome, KIND, "Pod") == [f"patch {name}", "patch web-0", "patch web-1", "patch web-2"]


def test_pods_are_made_of_what_the_revision_stores() -> None:
    owner = _image_set(2, spec={"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}})
    past = _past(owner, 1)
    owner["status"] = {"currentRevision": name_of(past[0])}
    pod = created(decide(owner, past), "web-0")
    assert pod["spec"]["containers"] == apply_revision(past[0])["spec"]["containers"]

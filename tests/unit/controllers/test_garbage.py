from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.kinds import BUILT_IN
from petset.cluster.api.objects import Object, controller_reference, owner_references
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import NOTHING, ConfirmNone, Delete, Outcome, Patch, Update
from petset.cluster.controllers.confirm import HasUid, OwnedBy
from petset.cluster.controllers.garbage import garbage_controllers, plan_object
from tests import builders
from tests.unit.controllers.world import World

KINDS = {each.kind: each for each in BUILT_IN}
CONTROLLERS = dict(zip(KINDS, garbage_controllers(BUILT_IN), strict=True))


def plan(kind: str, name: str, *objects: Object) -> Outcome:
    return CONTROLLERS[kind].plan(("default", name), Snapshot.of(objects), 0.0)


def ref(name: str = "web", *, uid: str = "", kind: str = "StatefulSet", block: bool = True) -> Object:
    found = uid or f"uid-{kind.lower()}-{name}"
    return {"apiVersion": "v1", "kind": kind, "name": name, "uid": found, "blockOwnerDeletion": block}


def pod(*owners: Object, **options: Any) -> Object:
    return builders.pod("web-0", owners=owners, **options)


def owner(name: str = "web", **options: Any) -> Object:
    return builders.stateful_set(name, **options)


def foreground(name: str = "web") -> Object:
    return owner(name, terminating=True, finalizers=["foregroundDeletion"])


GONE = Delete("Pod", "default", "web-0", uid="uid-pod-web-0", revision="1", propagation="Background")


@pytest.mark.parametrize(
    ("dependent", "others"),
    [
        pytest.param(pod(), [], id="no-owner"),
        pytest.param(pod(ref()), [owner()], id="solid-owner"),
        pytest.param(pod(ref(kind="Widget")), [], id="kind-that-is-not-collected"),
        pytest.param(pod(ref()), [owner(terminating=True, finalizers=["x"])], id="owner-going-in-the-background"),
        pytest.param(pod(ref(), terminating=True), [], id="terminating-already"),
    ],
)
def test_what_stays(dependent: Object, others: list[Object]) -> None:
    assert plan("Pod", "web-0", dependent, *others) == NOTHING


@pytest.mark.parametrize(
    ("references", "others"),
    [
        pytest.param([ref()], [], id="owner-gone"),
        pytest.param([ref(uid="old")], [owner()], id="owner-replaced"),
        pytest.param([ref("a"), ref("b")], [], id="all-owners-gone"),
    ],
)
def test_an_object_without_any_owner_left_is_deleted_after_a_look_at_the_server(
    references: list[Object], others: list[Object]
) -> None:
    *confirmations, delete = plan("Pod", "web-0", pod(*references), *others).writes
    assert confirmations == [
        ConfirmNone("StatefulSet", "default", each["name"], HasUid(each["uid"])) for each in references
    ]
    assert delete == GONE


def test_a_cluster_scoped_owner_is_looked_for_without_namespace() -> None:
    confirm, _ = plan("Pod", "web-0", pod(ref("node-1", kind="Node"))).writes
    assert confirm == ConfirmNone("Node", "", "node-1", HasUid("uid-node-node-1"))
    assert plan("Pod", "web-0", pod(ref("node-1", kind="Node")), builders.node()) == NOTHING


def test_a_namespaced_owner_of_a_cluster_scoped_object_is_never_absent() -> None:
    lost = builders.node(owners=[ref()])
    assert CONTROLLERS["Node"].plan(("", "node-1"), Snapshot.of([lost]), 0.0) == NOTHING


def test_one_solid_owner_keeps_the_object_and_dangling_references_go() -> None:
    confirm, patch = plan("Pod", "web-0", pod(ref("gone"), ref()), owner()).writes
    assert confirm == ConfirmNone("StatefulSet", "default", "gone", HasUid("uid-statefulset-gone"))
    assert isinstance(patch, Patch)
    assert patch.body == {"metadata": {"resourceVersion": "1", "ownerReferences": [ref()]}}


def test_a_late_cache_deletes_nothing() -> None:
    outcome = plan("Pod", "web-0", pod(ref()))
    world = World(pod(ref()), owner())
    world.apply(outcome)
    assert world.has("Pod", "web-0")


@pytest.mark.parametrize(
    ("finalizers", "propagation"),
    [(["foregroundDeletion"], "Foreground"), (["orphan"], "Orphan"), (["other"], "Background")],
)
def test_finalizers_chosen_before_decide_the_propagation(finalizers: list[str], propagation: str) -> None:
    delete = plan("Pod", "web-0", pod(ref(), finalizers=finalizers)).writes[-1]
    assert isinstance(delete, Delete)
    assert delete.propagation == propagation


def test_a_dependent_of_an_owner_that_waits_is_deleted_in_the_background_if_it_has_none_itself() -> None:
    assert plan("Pod", "web-0", pod(ref()), foreground()).writes == (GONE,)


def test_a_dependent_with_dependents_of_its_own_goes_in_the_foreground() -> None:
    below = builders.claim(owners=[ref("web-0", kind="Pod")])
    (delete,) = plan("Pod", "web-0", pod(ref()), foreground(), below).writes
    assert isinstance(delete, Delete)
    assert delete.propagation == "Foreground"


@pytest.mark.parametrize(
    ("dependents", "waits"),
    [
        pytest.param([], False, id="none-left"),
        pytest.param([pod(ref())], True, id="blocking-dependent"),
        pytest.param([pod(ref(block=False))], False, id="dependent-that-does-not-block"),
        pytest.param([pod(ref(uid="other"))], False, id="somebody-elses"),
    ],
)
def test_foreground_owner_waits_for_blocking_dependents(dependents: list[Object], waits: bool) -> None:
    writes = plan("StatefulSet", "web", foreground(), *dependents).writes
    assert (writes == ()) is waits
    if not waits:
        (update,) = writes
        assert isinstance(update, Update)
        assert update.object["metadata"]["finalizers"] == []


def orphaning() -> Object:
    return owner(terminating=True, finalizers=["orphan", "other"])


def test_orphaning_strips_only_this_owner() -> None:
    (patch,) = plan("StatefulSet", "web", orphaning(), pod(ref(), ref("b"))).writes
    assert isinstance(patch, Patch)
    assert patch.body == {"metadata": {"resourceVersion": "1", "ownerReferences": [ref("b")]}}


def test_orphaning_ends_when_the_server_knows_no_dependent() -> None:
    *confirmations, update = plan("StatefulSet", "web", orphaning()).writes
    assert ConfirmNone("Pod", "default", matching=OwnedBy("uid-statefulset-web")) in confirmations
    assert {each.kind for each in confirmations if isinstance(each, ConfirmNone)} == {
        each.kind for each in BUILT_IN if each.namespaced
    }
    assert isinstance(update, Update)
    assert update.object["metadata"]["finalizers"] == ["other"]


PLANS = tuple((kind, each.plan) for kind, each in CONTROLLERS.items())


def tree() -> list[Object]:
    top = owner()
    return [
        top,
        builders.pod("web-0", owner=top),
        builders.pod("web-1", owner=top),
        builders.claim(owners=[controller_reference(top)]),
        builders.claim("kept"),
    ]


def remaining(propagation: str) -> World:
    world = World(*tree())
    world.apply(Outcome((Delete("StatefulSet", "default", "web", propagation=propagation),)))
    world.settle(PLANS)
    return world


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_cascades_remove_everything_owned(propagation: str) -> None:
    assert list(remaining(propagation).objects) == [("PersistentVolumeClaim", "default", "kept")]


def test_orphaning_removes_only_the_owner() -> None:
    world = remaining("Orphan")
    assert sorted(name for _, _, name in world.objects) == ["data-web-0", "kept", "web-0", "web-1"]
    assert not any(owner_references(each) for each in world.objects.values())


def woken(kind: str, event: Object, *present: Object) -> list[tuple[str, str]]:
    return list(CONTROLLERS[kind].triggers[event["kind"]](event, Snapshot.of(present)))


@pytest.mark.parametrize(
    ("kind", "event", "present", "expected"),
    [
        pytest.param("Pod", owner(), [pod(ref())], ["web-0"], id="gone-owner-wakes-dependents"),
        pytest.param("Pod", owner(), [owner(), pod(ref())], [], id="living-owner-does-not"),
        pytest.param("Pod", foreground(), [foreground(), pod(ref())], ["web-0"], id="going-owner-does"),
        pytest.param("StatefulSet", pod(ref()), [foreground()], ["web"], id="dependent-wakes-going-owner"),
        pytest.param("StatefulSet", pod(ref()), [owner()], [], id="dependent-does-not-wake-living-owner"),
        pytest.param("Pod", pod(ref()), [], ["web-0"], id="itself"),
        pytest.param("Pod", pod(), [], [], id="without-owners-nothing-to-do"),
    ],
)
def test_triggers(kind: str, event: Object, present: list[Object], expected: list[str]) -> None:
    assert woken(kind, event, *present) == [("default", name) for name in expected]


def test_kinds_outside_the_given_ones_are_solid() -> None:
    only_pods = {"Pod": KINDS["Pod"]}
    snapshot = Snapshot.of([pod(ref())])
    assert plan_object(("default", "web-0"), snapshot, 0.0, kind="Pod", kinds=only_pods) == NOTHING

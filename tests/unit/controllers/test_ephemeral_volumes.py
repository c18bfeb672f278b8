"""A pod's ephemeral volumes get claims of their own."""

from __future__ import annotations

from petset.cluster.api.objects import Object, controller_reference
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import NOTHING
from petset.cluster.controllers.ephemeral_volumes import CONTROLLER, plan_pod
from tests import builders
from tests.unit.controllers.volume_kit import claim
from tests.unit.controllers.world import World

KEY = ("default", "web-0")
SPEC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


def pod(**options: object) -> Object:
    template = {"metadata": {"labels": {"kind": "scratch"}, "annotations": {"a": "b"}}, "spec": SPEC}
    volume = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}
    return builders.pod(spec={"volumes": [volume, {"name": "other", "emptyDir": {}}]}, **options)


def test_the_claim_is_made_of_the_template_and_is_the_pods() -> None:
    world = World(pod())
    for _ in range(2):
        world.apply(plan_pod(KEY, world.snapshot, 0.0))
    made = world.get("PersistentVolumeClaim", "web-0-scratch")
    assert made["spec"] == SPEC
    assert (made["metadata"]["labels"], made["metadata"]["annotations"]) == ({"kind": "scratch"}, {"a": "b"})
    assert made["metadata"]["ownerReferences"] == [controller_reference(pod())]
    assert world.said == []


def test_a_claim_of_somebody_else_is_not_taken() -> None:
    world = World(pod(), claim("web-0-scratch"))
    world.apply(plan_pod(KEY, world.snapshot, 0.0))
    (said,) = world.said
    assert (said.type, said.reason) == ("Warning", "FailedBinding")
    text = "PVC default/web-0-scratch was not created for pod default/web-0 (pod is not owner)"
    assert said.message == f"ephemeral volume scratch: {text}"


def test_a_pod_that_goes_gets_no_claim() -> None:
    assert plan_pod(KEY, Snapshot.of([pod(terminating=True)]), 0.0) == NOTHING


def test_a_claim_that_was_deleted_wakes_the_pod_that_wants_it() -> None:
    trigger = CONTROLLER.triggers["PersistentVolumeClaim"]
    assert [*trigger(claim("web-0-scratch"), Snapshot.of([pod()]))] == [KEY], "also when it was somebody else's"
    assert [*trigger(claim("web-0-scratch"), Snapshot.of([pod(), claim("web-0-scratch")]))] == [], "it is there"
    assert [*trigger(claim(), Snapshot.of([pod()]))] == []
    assert [*CONTROLLER.triggers["Pod"](pod(), Snapshot.of([]))] == [KEY]
    assert [*CONTROLLER.triggers["Pod"](builders.pod(), Snapshot.of([]))] == []

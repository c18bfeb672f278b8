from __future__ import annotations

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.api.volumes import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    DISK_FINALIZER,
    PROVISIONED_BY,
    SELECTED_NODE,
)
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import NOTHING, ConfirmNone, Create, Patch, Record, Update
from petset.cluster.controllers.volume_protection import plan_claim_protection, plan_volume_protection
from petset.cluster.controllers.volumes import claim_controller, plan_claim, volume_controllers
from tests import builders
from tests.unit.controllers.volume_kit import (
    KEY,
    PLANS,
    RWO,
    RWX,
    bound,
    claim,
    node_of,
    reference,
    settled,
    storage_class,
    user,
    volume,
    volume_of,
)
from tests.unit.controllers.world import Crash, World

MATCHING = [
    pytest.param(claim(), [volume("a", storage="5Gi"), volume("b", storage="2Gi")], "b", id="smallest-wins"),
    pytest.param(claim(), [volume("b"), volume("a")], "a", id="equal-size-first-name"),
    pytest.param(claim(), [volume("a", modes=(RWO, RWX)), volume("b", storage="100Gi")], "b",
                 id="fewest-access-modes-beat-size"),
    pytest.param(claim(modes=(RWX,)), [volume("a"), volume("b", modes=(RWO, RWX))], "b", id="modes-must-be-offered"),
    pytest.param(claim(storage="2Gi"), [volume("a")], None, id="too-small"),
    pytest.param(claim(), [volume("a", storageClassName="fast")], None, id="class-differs"),
    pytest.param(claim(storageClassName=""), [volume("a")], "a", id="class-empty-is-no-class"),
    pytest.param(claim(storageClassName="x"), [volume("a", storageClassName="x")], "a",
                 id="class-object-need-not-exist"),
    pytest.param(claim(annotations={"volume.beta.kubernetes.io/storage-class": "x"}, storageClassName="y"),
                 [volume("a", storageClassName="x")], "a", id="class-annotation-wins"),
    pytest.param(claim(volumeMode="Block"), [volume("a")], None, id="volumeMode-differs"),
    pytest.param(claim(), [volume("a", volumeMode="Filesystem")], "a", id="volumeMode-defaults-to-Filesystem"),
    pytest.param(claim(selector={"matchLabels": {"k": "v"}}), [volume("a"), volume("b", labels={"k": "v"})], "b",
                 id="selector"),
    pytest.param(claim(), [volume("a", claimRef=reference("other", "uid-x"))], None, id="claimed-by-another"),
    pytest.param(claim(), [volume("a", phase="Released", claimRef=reference(uid="old"))], None,
                 id="released-by-a-claim-of-the-same-name"),
    pytest.param(claim(), [volume("a", terminating=True, finalizers=["x"])], None, id="terminating-volume"),
    pytest.param(claim(), [volume("a"), volume("b", storage="9Gi", claimRef=reference(uid=""), storageClassName="z")],
                 "b", id="reserved-by-the-user-wins"),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "offered", "expected"), MATCHING)
def test_matching(wanted: Object, offered: list[Object], expected: str | None) -> None:
    assert volume_of(settled(wanted, *offered)) == expected


def test_binding_fills_both_sides() -> None:
    world = settled(claim(), volume(storage="5Gi"))
    made, taken = world.get("PersistentVolumeClaim", "data"), world.get("PersistentVolume", "pv-a", "")
    assert made["status"] == {"phase": "Bound", "accessModes": [RWO], "capacity": {"storage": "5Gi"}}
    assert made["metadata"]["annotations"] == {BIND_COMPLETED: "yes", BOUND_BY_CONTROLLER: "yes"}
    assert taken["spec"]["claimRef"]["uid"] == "uid-persistentvolumeclaim-data"
    assert taken["metadata"]["annotations"] == {BOUND_BY_CONTROLLER: "yes"}
    assert taken["status"]["phase"] == "Bound"


def test_a_volume_reserved_by_the_user_is_not_marked_as_bound_by_the_controller() -> None:
    world = settled(claim(), volume(claimRef=reference(uid="")))
    taken = world.get("PersistentVolume", "pv-a", "")
    assert taken["spec"]["claimRef"]["uid"] == "uid-persistentvolumeclaim-data"
    assert BOUND_BY_CONTROLLER not in (taken["metadata"].get("annotations") or {})


@pytest.mark.parametrize("crash_after", range(8))
@pytest.mark.parametrize("provisioned", [False, True])
def test_binding_survives_a_crash_between_any_two_writes(crash_after: int, provisioned: bool) -> None:
    objects = [claim(storageClassName="fast"), claim("other", storageClassName="fast"), storage_class()]
    if not provisioned:
        objects += [volume("a", storageClassName="fast"), volume("b", storageClassName="fast")]
    world = World(*objects, writes_left=crash_after)
    with pytest.raises(Crash):
        world.settle(PLANS)
    world.writes_left = None
    world.settle(PLANS)
    claims = [world.get("PersistentVolumeClaim", name) for name in ("data", "other")]
    names = [each["spec"]["volumeName"] for each in claims]
    assert len(set(names)) == 2
    for each, name in zip(claims, names, strict=True):
        taken = world.get("PersistentVolume", name, "")
        assert taken["spec"]["claimRef"]["uid"] == each["metadata"]["uid"]
        assert (each["status"]["phase"], taken["status"]["phase"]) == ("Bound", "Bound")
    assert sum(kind == "PersistentVolume" for kind, _, _ in world.objects) == 2


@pytest.mark.parametrize(
    ("wanted", "offered", "reason", "message"),
    [
        pytest.param(claim(volumeName="pv-a", storage="2Gi"), [volume()], "VolumeMismatch",
                     'Cannot bind to requested volume "pv-a": requested PV is too small', id="too-small"),
        pytest.param(claim(volumeName="pv-a", storageClassName="x"), [volume()], "VolumeMismatch",
                     'Cannot bind to requested volume "pv-a": storageClassName does not match', id="class"),
        pytest.param(claim(volumeName="pv-a", volumeMode="Block"), [volume()], "VolumeMismatch",
                     'Cannot bind to requested volume "pv-a": incompatible volumeMode', id="mode"),
        pytest.param(claim(volumeName="pv-a", modes=(RWX,)), [volume()], "VolumeMismatch",
                     'Cannot bind to requested volume "pv-a": incompatible accessMode', id="access"),
        pytest.param(claim(volumeName="pv-a"), [volume(claimRef=reference("x", "y"))], "FailedBinding",
                     'volume "pv-a" already bound to a different claim.', id="taken"),
        pytest.param(claim(), [], "FailedBinding",
                     "no persistent volumes available for this claim and no storage class is set", id="no-volume"),
        pytest.param(claim(storageClassName="x"), [], "ProvisioningFailed",
                     'storageclass.storage.k8s.io "x" not found', id="no-class"),
        pytest.param(claim(storageClassName="fast"), [storage_class(provisioner="kubernetes.io/no-provisioner")],
                     "ProvisioningFailed", "no volume plugin matched name: kubernetes.io/no-provisioner",
                     id="no-provisioner"),
        pytest.param(claim(storageClassName="fast", selector={}), [], "ProvisioningFailed",
                     'storageclass.storage.k8s.io "fast" not found', id="class-first"),
        pytest.param(claim(storageClassName="fast", selector={"matchLabels": {"a": "b"}}), [storage_class()],
                     "ProvisioningFailed",
                     'failed to provision volume with StorageClass "fast": claim Selector is not supported',
                     id="selector-is-not-provisioned"),
        pytest.param(claim(storageClassName="fast"), [storage_class(wait=True)], "WaitForFirstConsumer",
                     "waiting for first consumer to be created before binding", id="waits"),
        pytest.param(claim(storageClassName="fast"), [storage_class(wait=True), builders.pod(
            spec={"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]})],
            "WaitForPodScheduled", "waiting for pod web-0 to be scheduled", id="waits-for-the-pod"),
    ],
)  # fmt: skip
def test_why_a_claim_stays_pending(wanted: Object, offered: list[Object], reason: str, message: str) -> None:
    world = World(wanted | {"status": {}}, *offered)
    world.apply(plan_claim(KEY, world.snapshot, 0.0))
    (said,) = world.said
    assert (said.reason, said.message) == (reason, message)
    assert said.type == ("Normal" if message.startswith(("no pers", "waiting")) else "Warning")
    assert world.get("PersistentVolumeClaim", "data")["status"] == {"phase": "Pending"}


def test_a_named_volume_that_does_not_exist_is_waited_for_in_silence() -> None:
    assert plan_claim(KEY, Snapshot.of([claim(volumeName="pv-a")]), 0.0) == NOTHING


def test_a_delayed_claim_takes_no_free_volume_but_one_reserved_for_it() -> None:
    waiting, free = storage_class(wait=True), volume("a", storageClassName="fast")
    assert volume_of(settled(claim(storageClassName="fast"), waiting, free)) is None
    reserved = volume("b", storageClassName="fast", claimRef=reference())
    assert volume_of(settled(claim(storageClassName="fast"), waiting, free, reserved)) == "b"


@pytest.mark.parametrize(("asked", "given"), [("1", "1Mi"), ("5Gi", "5Gi"), ("1500M", "1500M")])
def test_provisioning(asked: str, given: str) -> None:
    selected = {SELECTED_NODE: "node-1"}
    waiting = claim(storageClassName="fast", storage=asked, annotations=selected)
    world = settled(waiting, storage_class(wait=True), node_of("node-1"))
    name = "pvc-uid-persistentvolumeclaim-data"
    made = world.get("PersistentVolume", name, "")
    assert made["spec"]["csi"] == {"driver": "petset.dev/disk", "volumeHandle": name, "fsType": "ext4"}
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    assert made["metadata"]["annotations"][PROVISIONED_BY] == "petset.dev/disk"
    assert BOUND_BY_CONTROLLER not in made["metadata"]["annotations"]
    assert world.get("PersistentVolumeClaim", "data")["status"]["capacity"] == {"storage": given}
    assert world.reasons() == ["ExternalProvisioning", "Provisioning", "ProvisioningSucceeded"]
    assert world.said[-1].message == f"Successfully provisioned volume {name}"


def test_a_default_class_is_assigned_retroactively_only_where_nothing_matched() -> None:
    default = storage_class(default=True, wait=True)
    assert settled(claim(), default).get("PersistentVolumeClaim", "data")["spec"]["storageClassName"] == "fast"
    assert volume_of(settled(claim(), volume(), default)) == "pv-a"
    untouched = settled(claim(storageClassName=""), default).get("PersistentVolumeClaim", "data")
    assert untouched["spec"]["storageClassName"] == ""


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        pytest.param([bound()], "ClaimLost", id="volume-vanished"),
        pytest.param([bound(name="")], "ClaimLost", id="no-reference"),
        pytest.param([bound(), volume(claimRef=reference(uid="other"), phase="Bound")], "ClaimMisbound", id="misbound"),
    ],
)
def test_lost_claims(objects: list[Object], reason: str) -> None:
    world = World(*objects)
    for _ in range(2):
        world.apply(plan_claim(KEY, world.snapshot, 0.0))
    assert world.get("PersistentVolumeClaim", "data")["status"] == {"phase": "Lost"}
    assert world.reasons() == [reason]


def test_a_volume_is_only_lost_when_the_server_says_so() -> None:
    first = plan_claim(KEY, Snapshot.of([bound()]), 0.0).writes[0]
    assert first == ConfirmNone("PersistentVolume", name="pv-a")


def test_a_bound_claim_rebinds_a_volume_whose_claim_reference_was_cleared() -> None:
    world = settled(bound(), volume())
    assert world.get("PersistentVolume", "pv-a", "")["spec"]["claimRef"]["uid"] == "uid-persistentvolumeclaim-data"


def test_a_terminating_unbound_claim_gets_nothing() -> None:
    going = claim(terminating=True, finalizers=["x"])
    assert plan_claim(KEY, Snapshot.of([going, volume()]), 0.0) == NOTHING


@pytest.mark.parametrize(
    ("pods", "goes"),
    [
        pytest.param([], True, id="unused"),
        pytest.param([user("node-1")], False, id="scheduled-pod-holds-it"),
        pytest.param([user("")], True, id="unscheduled-pod-does-not"),
        pytest.param([user("node-1", "other")], True, id="other-claim"),
    ],
)
def test_claim_protection(pods: list[Object], goes: bool) -> None:
    going = claim(terminating=True, finalizers=["kubernetes.io/pvc-protection"])
    world = World(going, *pods)
    world.apply(plan_claim_protection(KEY, world.snapshot, 0.0))
    assert world.has("PersistentVolumeClaim", "data") is not goes


def test_claim_protection_asks_the_server_for_pods_that_its_cache_lacks() -> None:
    going = claim(terminating=True, finalizers=["kubernetes.io/pvc-protection"])
    outcome = plan_claim_protection(KEY, Snapshot.of([going]), 0.0)
    world = World(going, user("node-1"))
    world.apply(outcome)
    assert world.has("PersistentVolumeClaim", "data")


@pytest.mark.parametrize(("phase", "stays"), [("Bound", True), ("Released", False), ("Available", False)])
def test_volume_protection(phase: str, stays: bool) -> None:
    going = volume(phase=phase, terminating=True, finalizers=["kubernetes.io/pv-protection"])
    world = World(going)
    world.apply(plan_volume_protection(("", "pv-a"), world.snapshot, 0.0))
    assert world.has("PersistentVolume", "pv-a", "") is stays


def test_the_whole_life_of_a_provisioned_claim() -> None:
    world = settled(claim(storageClassName="fast", finalizers=["kubernetes.io/pvc-protection"]), storage_class())
    going = world.get("PersistentVolumeClaim", "data")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.settle(PLANS)
    (disk,) = [each for each in world.objects.values() if each["kind"] == "PersistentVolume"]
    assert disk["metadata"]["finalizers"] == [DISK_FINALIZER]
    assert disk["metadata"]["deletionTimestamp"]


@pytest.mark.parametrize("claim_ref", [{}, {"namespace": "default"}, {"uid": "u"}])
def test_a_reservation_that_names_no_claim_harms_nobody(claim_ref: Object) -> None:
    odd = volume("odd", claimRef=claim_ref)
    for controller in volume_controllers():
        for key in controller.triggers.get("PersistentVolume", lambda *_: [])(odd, Snapshot.of([odd, claim()])):
            controller.plan(key, Snapshot.of([odd, claim()]), 0.0)
    assert volume_of(settled(claim(), odd, volume("pv-b"))) == ("pv-b" if claim_ref else "odd")


def test_triggers_reach_the_claims_that_a_free_volume_could_serve() -> None:
    claims = [claim("a"), claim("b", storageClassName="x"), claim("c", volumeName="pv-a"), claim("d", volumeName="z")]
    found = claim_controller().triggers["PersistentVolume"](volume(), Snapshot.of(claims))
    assert sorted(found) == [("default", "a"), ("default", "c")]
    classes = claim_controller().triggers["StorageClass"](storage_class("x"), Snapshot.of(claims))
    assert sorted(classes) == [("default", "a"), ("default", "b")]


def test_every_controller_is_exposed() -> None:
    assert len({(each.component, *each.triggers) for each in volume_controllers()}) == 4


def test_the_contended_step_is_guarded_by_the_resource_version() -> None:
    first = plan_claim(KEY, Snapshot.of([claim(), volume()]), 0.0).writes[0]
    assert isinstance(first, Update)
    assert first.object["metadata"]["resourceVersion"] == "1"


def test_the_volume_is_protected_before_the_claim_says_that_it_has_it() -> None:
    """The four steps in their order: a volume that is not Bound could be deleted under a claim that names it."""
    first, *later = plan_claim(KEY, Snapshot.of([claim(), volume()]), 0.0).writes
    assert isinstance(first, Update)
    assert first.object["kind"] == "PersistentVolume"
    assert [(each.kind, each.subresource) for each in later if isinstance(each, Patch)] == [
        ("PersistentVolume", "status"),
        ("PersistentVolumeClaim", ""),
        ("PersistentVolumeClaim", "status"),
    ]


@pytest.mark.parametrize("phase", ["Pending", "Released", "Failed"])
def test_only_an_available_volume_is_matched(phase: str) -> None:
    """One that was recycled has no claimRef any more, and a pod that may still empty it."""
    free = volume(phase=phase)
    world = World(claim(), free)
    world.apply(plan_claim(KEY, world.snapshot, 0.0))
    assert volume_of(world) is None


def test_provisioning_twice_creates_one_volume() -> None:
    snapshot = Snapshot.of([claim(storageClassName="fast"), storage_class()])
    writes = plan_claim(KEY, snapshot, 0.0).writes
    (create,) = [each for each in writes if isinstance(each, Create)]
    assert create.exists_ok
    assert [each.reason for each in writes if isinstance(each, Record)] == ["Provisioning"]

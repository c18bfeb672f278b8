"""Phases of volumes, and what happens to them when their claims are gone."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.api.volumes import BOUND_BY_CONTROLLER, PROVISIONED_BY
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import ConfirmNone, Delete
from petset.cluster.controllers import volume_phases
from petset.cluster.controllers.confirm import HasUid
from tests import builders
from tests.unit.controllers.volume_kit import PLANS, bound, claim, plan_volume, reference, settled, volume, volume_of
from tests.unit.controllers.world import World

PHASES = [
    pytest.param(volume(phase="Pending"), [], "Available", id="no-claim"),
    pytest.param(volume(phase="Pending", claimRef=reference(uid="")), [], "Available", id="reserved-by-name"),
    pytest.param(volume(phase="Available", claimRef=reference()), [bound()], "Bound", id="claim-names-it"),
    pytest.param(volume(phase="Bound", claimRef=reference()), [], "Released", id="claim-gone"),
    pytest.param(volume(phase="Bound", claimRef=reference(uid="old")), [bound()], "Released", id="claim-replaced"),
    pytest.param(volume(phase="Released", claimRef=reference(uid="old")), [], "Released", id="retained"),
    pytest.param(volume(phase="Pending", claimRef=reference()), [claim()], "Pending", id="binding-under-way"),
]


@pytest.mark.parametrize(("one", "others", "phase"), PHASES)
def test_volume_phases(one: Object, others: list[Object], phase: str) -> None:
    world = World(one, *others)
    world.apply(plan_volume(("", "pv-a"), world.snapshot, 0.0))
    assert world.get("PersistentVolume", "pv-a", "")["status"]["phase"] == phase


def test_a_volume_is_released_only_when_the_server_says_that_its_claim_is_gone() -> None:
    one = volume(phase="Bound", claimRef=reference())
    first = plan_volume(("", "pv-a"), Snapshot.of([one]), 0.0).writes[0]
    uid = HasUid("uid-persistentvolumeclaim-data")
    assert first == ConfirmNone("PersistentVolumeClaim", "default", "data", uid)


@pytest.mark.parametrize("policy", ["Delete", "Recycle"])
def test_data_of_a_claim_that_the_cache_does_not_show_yet_is_safe(policy: str) -> None:
    """An administrator gave a Released volume to a new claim; the news of the volume came before that of the claim."""
    given = volume(phase="Released", claimRef=reference(uid="new"), persistentVolumeReclaimPolicy=policy)
    outcome = plan_volume(("", "pv-a"), Snapshot.of([given]), 0.0)
    world = World(given, claim(uid="new"))
    world.apply(outcome)
    assert world.has("PersistentVolume", "pv-a", "")
    assert not world.has("Pod", "recycler-for-pv-a")


def test_a_recreated_claim_does_not_get_its_retained_volume_back() -> None:
    kept = volume(phase="Released", claimRef=reference(uid="old"))
    assert volume_of(settled(claim(), kept)) is None


def released(policy: str, **options: Any) -> Object:
    taken = {"phase": "Bound", "claimRef": reference(uid="old"), "persistentVolumeReclaimPolicy": policy}
    return volume(**(taken | options))


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(released("Delete", csi={}, annotations={PROVISIONED_BY: "d"}), id="provisioned"),
        pytest.param(released("Delete", csi={}, annotations={PROVISIONED_BY: "d"},
                              finalizers=["kubernetes.io/pv-protection"]), id="protected"),
        pytest.param(released("Delete"), id="hostPath-below-tmp"),
    ],
)  # fmt: skip
def test_delete_policy_removes_the_volume(one: Object) -> None:
    assert not settled(one).has("PersistentVolume", "pv-a", "")


@pytest.mark.parametrize(
    ("one", "reason", "message"),
    [
        pytest.param(released("Delete", hostPath={"path": "/data"}), "VolumeFailedDelete",
                     "host_path deleter only supports /tmp/.+ but received provided /data", id="hostPath"),
        pytest.param(released("Delete", hostPath={"path": "/tmp/"}), "VolumeFailedDelete",
                     "host_path deleter only supports /tmp/.+ but received provided /tmp/", id="tmp-itself"),
        pytest.param(released("Delete", csi={}), "VolumeFailedDelete",
                     'error getting deleter volume plugin for volume "pv-a": no deletable volume plugin matched',
                     id="hand-made"),
        pytest.param(released("Recycle", csi={}), "VolumeFailedRecycle",
                     "No recycler plugin found for the volume!", id="no-recycler"),
        pytest.param(released("Burn"), "VolumeUnknownReclaimPolicy",
                     "Volume has unrecognized PersistentVolumeReclaimPolicy", id="unknown-policy"),
    ],
)  # fmt: skip
def test_policies_that_cannot_be_carried_out(one: Object, reason: str, message: str) -> None:
    world = settled(one)
    assert world.get("PersistentVolume", "pv-a", "")["status"] == {"phase": "Failed", "message": message}
    assert [(each.reason, each.message) for each in world.said] == [(reason, message)]


def test_recycling_scrubs_with_a_pod_and_frees_the_volume() -> None:
    world = settled(released("Recycle", annotations={BOUND_BY_CONTROLLER: "yes"}))
    pod = world.get("Pod", "recycler-for-pv-a")
    assert pod["spec"]["volumes"] == [{"name": "vol", "hostPath": {"path": "/tmp/pv-a"}}]
    assert world.get("PersistentVolume", "pv-a", "")["status"]["phase"] == "Released"
    pod["status"] = {"phase": "Succeeded"}
    world.settle(PLANS)
    free = world.get("PersistentVolume", "pv-a", "")
    assert free["status"]["phase"] == "Available"
    assert "claimRef" not in free["spec"]
    assert world.reasons() == ["VolumeRecycled"]
    assert not world.has("Pod", "recycler-for-pv-a")


@pytest.mark.parametrize("terminating", [False, True])
def test_nobody_gets_a_volume_while_a_pod_may_still_empty_it(terminating: bool) -> None:
    """Its administrator cleared the claimRef, or made the volume anew, while it was being recycled."""
    marks = {"annotations": {volume_phases.RECYCLED_CLAIM: "old"}, "terminating": terminating}
    pod = builders.pod("recycler-for-pv-a", phase="Running", **marks)
    world = World(volume(phase="Released"), pod)
    world.apply(plan_volume(("", "pv-a"), world.snapshot, 0.0))
    assert world.get("PersistentVolume", "pv-a", "")["status"]["phase"] == "Released"
    world.objects.pop(("Pod", "default", "recycler-for-pv-a"), None)
    world.apply(plan_volume(("", "pv-a"), world.snapshot, 0.0))
    assert world.get("PersistentVolume", "pv-a", "")["status"]["phase"] == "Available"


def test_an_old_recycler_pod_does_not_count_for_a_new_claim() -> None:
    old = builders.pod("recycler-for-pv-a", phase="Succeeded", annotations={volume_phases.RECYCLED_CLAIM: "older"})
    _, write = plan_volume(("", "pv-a"), Snapshot.of([released("Recycle", phase="Released"), old]), 0.0).writes
    assert write == Delete("Pod", "default", "recycler-for-pv-a", uid="uid-pod-recycler-for-pv-a")


def test_a_failed_recycler_fails_the_volume() -> None:
    pod = builders.pod("recycler-for-pv-a", phase="Failed", annotations={volume_phases.RECYCLED_CLAIM: "old"})
    world = settled(released("Recycle", phase="Released"), pod)
    assert world.get("PersistentVolume", "pv-a", "")["status"]["phase"] == "Failed"
    assert world.reasons() == ["VolumeFailedRecycle"]


@pytest.mark.parametrize(
    ("one", "left"),
    [
        pytest.param(volume("x", claimRef=reference(), phase="Bound", annotations={BOUND_BY_CONTROLLER: "yes"}),
                     None, id="taken-by-us"),
        pytest.param(volume("x", claimRef=reference(), phase="Bound"),
                     {"namespace": "default", "name": "data"}, id="reserved-by-the-user"),
    ],
)  # fmt: skip
def test_a_volume_of_a_claim_that_is_bound_elsewhere_is_free_again(one: Object, left: dict[str, str] | None) -> None:
    world = settled(bound("pv-a"), volume("pv-a", claimRef=reference(), phase="Bound"), one)
    freed = world.get("PersistentVolume", "x", "")
    assert freed["spec"].get("claimRef") == left
    assert freed["status"]["phase"] == "Available"


def test_a_superfluous_provisioned_disk_is_deleted() -> None:
    extra = volume("x", csi={}, claimRef=reference(), persistentVolumeReclaimPolicy="Delete",
                   annotations={PROVISIONED_BY: "d"})  # fmt: skip
    world = settled(bound("pv-a"), volume("pv-a", claimRef=reference(), phase="Bound"), extra)
    assert not world.has("PersistentVolume", "x", "")

"""Persistent volumes: every claim gets a volume of its own, now or when a pod needs it, and keeps it for life.

    claim ──no volume──▶ match a free volume ──────────────┐
              │                                            ▼
              ├─ class waits for a consumer: wait     1 PV.spec.claimRef     who owns the volume (contended: guarded
              │  until the scheduler chose a node                            by resourceVersion, the loser starts over)
              └─ provision a PV pvc-<claim uid>,      2 PV.status Bound
                 claimRef preset ──────────────────▶  3 PVC.spec.volumeName  + bind-completed
                                                      4 PVC.status Bound     with the volume's capacity and modes

Each step is written only if it is missing, and each one alone leaves a state from which the next sync goes on: a
crash between any two of them loses nothing and binds nothing twice. A provisioned volume's name is made of the
claim's uid, so that provisioning twice is creating the same object twice.

Every class whose provisioner is not `kubernetes.io/no-provisioner` provisions a network disk (`spec.csi`), reachable
from every node; the folder behind it is made and removed by whoever watches PersistentVolumes. Growing a bound claim
grows its disk at once, as a folder has no size. Volumes themselves are volume_phases.py's, finalizers
volume_protection.py's. Left out: data sources, volume attributes classes beyond equality, Resizing conditions.

Rules and texts: statefulset.md section 4 (pv_controller.go).
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.cluster.api.objects import Object, annotations_of, is_terminating, name_of, namespace_of, uid_of
from petset.cluster.api.quantities import parse_quantity
from petset.cluster.api.volumes import (
    BETA_STORAGE_PROVISIONER,
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    DISK_FINALIZER,
    NO_PROVISIONER,
    PROVISIONED_BY,
    SELECTED_NODE,
    STORAGE_PROVISIONER,
    capacity,
    claim_names,
    claim_reference,
    claimed,
    class_of,
    default_class,
    is_claimed_by,
    match_now,
    mismatch,
    requested,
    waits_for_consumer,
)
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, ConfirmNone, Create, Outcome, Record, Update, Write
from petset.cluster.controllers.edits import patch_spec, patch_status
from petset.cluster.controllers.volume_phases import volume_controller
from petset.cluster.controllers.volume_protection import CLAIM_PROTECTION, VOLUME_PROTECTION

COMPONENT = "persistentvolume-controller"

SMALLEST_DISK = "1Mi"
"""What a claim for less gets: requests are rounded up, never refused."""

LOST = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
LOST_REFERENCE = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
MISBOUND = "Two claims are bound to the same volume, this one is bound incorrectly"
NO_VOLUME = "no persistent volumes available for this claim and no storage class is set"
WAIT_FOR_CONSUMER = "waiting for first consumer to be created before binding"
WAIT_FOR_PROVISIONER = (
    "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system "
    "administrator. If volume creation is delayed, please verify that the provisioner is running and correctly "
    "registered."
)


def plan_claim(key: Key, snapshot: Snapshot, now: float) -> Outcome:
    """The next step of one claim towards its volume."""
    claim = snapshot.get("PersistentVolumeClaim", *key)
    if claim is None:
        return NOTHING
    if BIND_COMPLETED in annotations_of(claim):
        return Outcome(_check_bound(claim, snapshot))
    if is_terminating(claim):
        return NOTHING
    if claim["spec"].get("volumeName"):
        return Outcome(_bind_requested(claim, snapshot))
    return Outcome(_find_volume(claim, snapshot))


def _check_bound(claim: Object, snapshot: Snapshot) -> tuple[Write, ...]:
    """A claim that was bound once: is its volume still there and still its own?"""
    name = str(claim["spec"].get("volumeName", ""))
    if not name:
        return _lose(claim, "ClaimLost", LOST_REFERENCE)
    volume = snapshot.get("PersistentVolume", "", name)
    if volume is None:
        lost = _lose(claim, "ClaimLost", LOST)
        return (ConfirmNone("PersistentVolume", name=name), *lost) if lost else ()
    if not volume["spec"].get("claimRef") or is_claimed_by(volume, claim):
        return (*_bind(volume, claim), *_grow(volume, claim, snapshot))
    return _lose(claim, "ClaimMisbound", MISBOUND)


def _lose(claim: Object, reason: str, message: str) -> tuple[Write, ...]:
    """Phase Lost, said once."""
    if _phase(claim) == "Lost":
        return ()
    said = Record(claim, "Warning", reason, message)
    return (patch_status(claim, {"phase": "Lost", "accessModes": None, "capacity": None}, said=said),)


def _bind_requested(claim: Object, snapshot: Snapshot) -> tuple[Write, ...]:
    """The user named the volume."""
    name = claim["spec"]["volumeName"]
    volume = snapshot.get("PersistentVolume", "", name)
    if volume is None:
        return _pending(claim)
    if is_claimed_by(volume, claim):
        return _bind(volume, claim)
    if volume["spec"].get("claimRef"):
        said = Record(claim, "Warning", "FailedBinding", f'volume "{name}" already bound to a different claim.')
        return (said, *_pending(claim))
    if wrong := mismatch(volume, claim):
        text = f'Cannot bind to requested volume "{name}": {wrong}'
        return (Record(claim, "Warning", "VolumeMismatch", text), *_pending(claim))
    return _bind(volume, claim)


def _find_volume(claim: Object, snapshot: Snapshot) -> tuple[Write, ...]:
    """Match, else wait, else provision."""
    named = class_of(claim)
    storage_class = snapshot.get("StorageClass", "", named) if named else None
    delayed = waits_for_consumer(storage_class)
    if volume := match_now(claim, snapshot.objects("PersistentVolume"), prebound_only=delayed):
        return _bind(volume, claim)
    if named is None and (default := default_class(snapshot.objects("StorageClass"))):
        # Retroactive assignment: the default class appeared after the claim (KEP-3333).
        return (patch_spec(claim, {"storageClassName": name_of(default)}),)
    if delayed and SELECTED_NODE not in annotations_of(claim):
        return (_waiting(claim, snapshot), *_pending(claim))
    if named:
        return (*_provision(claim, named, storage_class), *_pending(claim))
    return (Record(claim, "Normal", "FailedBinding", NO_VOLUME), *_pending(claim))


def _waiting(claim: Object, snapshot: Snapshot) -> Record:
    pods = [
        name_of(pod)
        for pod in snapshot.objects("Pod", namespace_of(claim))
        if not pod["spec"].get("nodeName") and name_of(claim) in claim_names(pod)
    ]
    if not pods:
        return Record(claim, "Normal", "WaitForFirstConsumer", WAIT_FOR_CONSUMER)
    which = f"pod {pods[0]}" if len(pods) == 1 else f"pods {','.join(pods)}"
    return Record(claim, "Normal", "WaitForPodScheduled", f"waiting for {which} to be scheduled")


def _pending(claim: Object) -> tuple[Write, ...]:
    return () if _phase(claim) == "Pending" else (patch_status(claim, {"phase": "Pending"}),)


def _phase(obj: Object) -> str:
    return str((obj.get("status") or {}).get("phase", ""))


def _provision(claim: Object, named: str, storage_class: Object | None) -> tuple[Write, ...]:
    """Both sides of dynamic provisioning: the controller's announcement and the external provisioner's volume."""

    def failed(message: str) -> tuple[Write, ...]:
        return (Record(claim, "Warning", "ProvisioningFailed", message),)

    if storage_class is None:
        return failed(f'storageclass.storage.k8s.io "{named}" not found')
    provisioner = storage_class["provisioner"]
    if provisioner == NO_PROVISIONER:
        return failed(f"no volume plugin matched name: {provisioner}")
    if claim["spec"].get("selector"):
        return failed(f'failed to provision volume with StorageClass "{named}": claim Selector is not supported')
    announced = {STORAGE_PROVISIONER: provisioner, BETA_STORAGE_PROVISIONER: provisioner}
    where = f'External provisioner is provisioning volume for claim "{namespace_of(claim)}/{name_of(claim)}"'
    volume = _new_volume(claim, storage_class)
    return (
        patch_spec(
            claim, {}, annotations=announced,
            said=Record(claim, "Normal", "ExternalProvisioning", WAIT_FOR_PROVISIONER.format(provisioner)),
        ),
        Record(claim, "Normal", "Provisioning", where),
        Create(
            volume, exists_ok=True,
            said=Record(claim, "Normal", "ProvisioningSucceeded",
                        f"Successfully provisioned volume {name_of(volume)}"),
        ),
    )  # fmt: skip


def _new_volume(claim: Object, storage_class: Object) -> Object:
    """A network disk for exactly this claim."""
    name = f"pvc-{uid_of(claim)}"
    asked = (claim["spec"].get("resources") or {}).get("requests", {}).get("storage", "0")
    spec: Object = {
        "capacity": {"storage": asked if requested(claim) >= parse_quantity(SMALLEST_DISK) else SMALLEST_DISK},
        "accessModes": claim["spec"].get("accessModes") or ["ReadWriteOnce"],
        "volumeMode": claim["spec"].get("volumeMode") or "Filesystem",
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
        "storageClassName": name_of(storage_class),
        "claimRef": claim_reference(claim),
        "csi": {"driver": storage_class["provisioner"], "volumeHandle": name, "fsType": "ext4"},
    }
    if storage_class.get("mountOptions"):
        spec["mountOptions"] = storage_class["mountOptions"]
    annotations = {PROVISIONED_BY: storage_class["provisioner"]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": annotations, "finalizers": [DISK_FINALIZER]},
        "spec": spec,
    }


def _bind(volume: Object, claim: Object) -> tuple[Write, ...]:
    """The missing ones of the four steps, in their order."""
    writes: list[Write] = []
    if (volume["spec"].get("claimRef") or {}).get("uid") != uid_of(claim):
        writes.append(Update(claimed(volume, claim)))
    if _phase(volume) != "Bound":
        writes.append(patch_status(volume, {"phase": "Bound", "reason": None, "message": None}))
    if claim["spec"].get("volumeName") != name_of(volume):
        annotations = {BOUND_BY_CONTROLLER: "yes", BIND_COMPLETED: "yes"}
        writes.append(patch_spec(claim, {"volumeName": name_of(volume)}, annotations=annotations))
    elif BIND_COMPLETED not in annotations_of(claim):
        writes.append(patch_spec(claim, {}, annotations={BIND_COMPLETED: "yes"}))
    if _phase(claim) != "Bound":
        status = {"accessModes": volume["spec"].get("accessModes"), "capacity": volume["spec"].get("capacity")}
        writes.append(patch_status(claim, {"phase": "Bound", **status}))
    return tuple(writes)


def _grow(volume: Object, claim: Object, snapshot: Snapshot) -> tuple[Write, ...]:
    """A larger request of a bound claim, where its class allows it: the disk, then what the claim shows."""
    asked = (claim["spec"].get("resources") or {}).get("requests", {}).get("storage")
    shown = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    storage_class = snapshot.get("StorageClass", "", class_of(claim) or "")
    allowed = storage_class is not None and storage_class.get("allowVolumeExpansion") is True
    if not allowed or not asked or shown is None or "csi" not in volume["spec"]:
        return ()
    if requested(claim) > capacity(volume):
        text = f"External resizer is resizing volume {name_of(volume)}"
        return (
            Record(claim, "Normal", "Resizing", text),
            patch_spec(volume, {"capacity": {"storage": asked}}),
            patch_status(claim, {"capacity": {"storage": asked}}, said=_resized(claim)),
        )
    if capacity(volume) > parse_quantity(shown) and requested(claim) > parse_quantity(shown):
        size = volume["spec"]["capacity"]["storage"]
        return (patch_status(claim, {"capacity": {"storage": size}}, said=_resized(claim)),)
    return ()


def _resized(claim: Object) -> Record:
    return Record(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")


def _itself(obj: Object, snapshot: Snapshot) -> Iterable[Key]:
    yield key_of(obj)


def _claims_of_volume(volume: Object, snapshot: Snapshot) -> Iterable[Key]:
    """The claim it is reserved for; a free volume concerns every claim of its class that has none."""
    if reference := volume["spec"].get("claimRef"):
        yield reference.get("namespace", ""), reference["name"]
    for claim in snapshot.objects("PersistentVolumeClaim"):
        wanted = claim["spec"].get("volumeName")
        if wanted == name_of(volume) or (not wanted and (class_of(claim) or "") == (class_of(volume) or "")):
            yield key_of(claim)


def _claims_without_volume(storage_class: Object, snapshot: Snapshot) -> Iterable[Key]:
    for claim in snapshot.objects("PersistentVolumeClaim"):
        if not claim["spec"].get("volumeName") and class_of(claim) in (None, name_of(storage_class)):
            yield key_of(claim)


CLAIMS = Controller(
    component=COMPONENT,
    triggers={
        "PersistentVolumeClaim": _itself,
        "PersistentVolume": _claims_of_volume,
        "StorageClass": _claims_without_volume,
    },
    plan=plan_claim,
    reads=("Pod",),
)


def volume_controllers(recycler_image: str = "busybox") -> tuple[Controller, ...]:
    """All controllers of volumes and claims; `recycler_image` must have `/bin/sh` and `find` (Recycle policy)."""
    return (CLAIMS, volume_controller(recycler_image), CLAIM_PROTECTION, VOLUME_PROTECTION)


CONTROLLERS = volume_controllers()

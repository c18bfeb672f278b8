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

What a class provisions is volume_provisioning.py's, how a bound claim grows volume_expansion.py's; volumes themselves
are volume_phases.py's, finalizers volume_protection.py's, and the folders behind provisioned disks are made and removed
on the nodes' side. Left out: data sources, volume attributes classes beyond equality.

Rules and texts: statefulset.md section 4 (pv_controller.go).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from petset.cluster.api.objects import Object, annotations_of, is_terminating, name_of, namespace_of, uid_of
from petset.cluster.api.volumes import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    SELECTED_NODE,
    claim_names,
    claimed,
    class_of,
    default_class,
    is_claimed_by,
    match_now,
    mismatch,
    waits_for_consumer,
)
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, ConfirmNone, Outcome, Patch, Record, Update, Write
from petset.cluster.controllers.edits import patch_spec, patch_status
from petset.cluster.controllers.volume_expansion import grow, is_growing
from petset.cluster.controllers.volume_phases import volume_controller
from petset.cluster.controllers.volume_protection import CLAIM_PROTECTION, VOLUME_PROTECTION
from petset.cluster.controllers.volume_provisioning import provision

COMPONENT = "persistentvolume-controller"

LOST = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
LOST_REFERENCE = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
MISBOUND = "Two claims are bound to the same volume, this one is bound incorrectly"
NO_VOLUME = "no persistent volumes available for this claim and no storage class is set"
WAIT_FOR_CONSUMER = "waiting for first consumer to be created before binding"


def plan_claim(key: Key, snapshot: Snapshot, now: float, *, local_disks: str = "") -> Outcome:
    """The next step of one claim towards its volume."""
    claim = snapshot.get("PersistentVolumeClaim", *key)
    if claim is None:
        return NOTHING
    if BIND_COMPLETED in annotations_of(claim):
        return Outcome(_check_bound(claim, snapshot, now))
    if is_terminating(claim):
        return NOTHING
    if claim["spec"].get("volumeName"):
        return Outcome(_bind_requested(claim, snapshot))
    return Outcome(_find_volume(claim, snapshot, local_disks))


def _check_bound(claim: Object, snapshot: Snapshot, now: float) -> tuple[Write, ...]:
    """A claim that was bound once: is its volume still there and still its own?"""
    name = str(claim["spec"].get("volumeName", ""))
    if not name:
        return _lose(claim, "ClaimLost", LOST_REFERENCE)
    volume = snapshot.get("PersistentVolume", "", name)
    if volume is None:
        lost = _lose(claim, "ClaimLost", LOST)
        return (ConfirmNone("PersistentVolume", name=name), *lost) if lost else ()
    if not volume["spec"].get("claimRef") or is_claimed_by(volume, claim):
        return (*_bind(volume, claim), *grow(volume, claim, snapshot, now))
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


def _find_volume(claim: Object, snapshot: Snapshot, local_disks: str) -> tuple[Write, ...]:
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
    if named and _has_lost_its_node(claim, snapshot):
        return (_choose_again(claim),)
    if named:
        return (*provision(claim, named, storage_class, local_disks=local_disks), *_pending(claim))
    return (Record(claim, "Normal", "FailedBinding", NO_VOLUME), *_pending(claim))


def _has_lost_its_node(claim: Object, snapshot: Snapshot) -> bool:
    node = annotations_of(claim).get(SELECTED_NODE)
    return node is not None and snapshot.get("Node", "", node) is None


def _choose_again(claim: Object) -> Patch:
    """The scheduler selects another node (sig-storage-lib-external-provisioner, ProvisioningReschedule)."""
    why = f'node "{annotations_of(claim)[SELECTED_NODE]}" not found'
    said = Record(claim, "Warning", "ProvisioningFailed", why)
    return patch_spec(claim, {}, annotations={SELECTED_NODE: None}, said=said)


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


def _itself(obj: Object, snapshot: Snapshot) -> Iterable[Key]:
    yield key_of(obj)


def _claims_of_volume(volume: Object, snapshot: Snapshot) -> Iterable[Key]:
    """The claim it is reserved for; a free volume concerns every claim of its class that has none."""
    if reference := volume["spec"].get("claimRef"):
        yield reference.get("namespace", ""), reference.get("name", "")
    for claim in snapshot.objects("PersistentVolumeClaim"):
        wanted = claim["spec"].get("volumeName")
        if wanted == name_of(volume) or (not wanted and (class_of(claim) or "") == (class_of(volume) or "")):
            yield key_of(claim)


def _claims_without_volume(storage_class: Object, snapshot: Snapshot) -> Iterable[Key]:
    for claim in snapshot.objects("PersistentVolumeClaim"):
        if not claim["spec"].get("volumeName") and class_of(claim) in (None, name_of(storage_class)):
            yield key_of(claim)


def _growing_claims(pod: Object, snapshot: Snapshot) -> Iterable[Key]:
    for name in claim_names(pod):
        claim = snapshot.get("PersistentVolumeClaim", namespace_of(pod), name)
        if claim is not None and is_growing(claim):
            yield key_of(claim)


def claim_controller(*, local_disks: str = "") -> Controller:
    """The controller of claims; `local_disks` as volume_provisioning.py has it."""
    return Controller(
        component=COMPONENT,
        triggers={
            "PersistentVolumeClaim": _itself,
            "PersistentVolume": _claims_of_volume,
            "StorageClass": _claims_without_volume,
            "Pod": _growing_claims,
        },
        plan=partial(plan_claim, local_disks=local_disks),
        reads=("Node",),
    )


def volume_controllers(recycler_image: str = "busybox", *, local_disks: str = "") -> tuple[Controller, ...]:
    """All controllers of volumes and claims; `recycler_image` must have `/bin/sh` and `find` (Recycle policy)."""
    return (
        claim_controller(local_disks=local_disks),
        volume_controller(recycler_image),
        CLAIM_PROTECTION,
        VOLUME_PROTECTION,
    )

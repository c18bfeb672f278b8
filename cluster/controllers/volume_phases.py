"""A PersistentVolume's phases, and what happens to it when its claim is gone.

    Pending ─▶ Available ◀──────────────── scrubbed (Recycle) ─┐
                  │ claimed                                     │
                  ▼            claim gone                       │
                Bound ───────────────────▶ Released ── Retain: stays until an administrator clears the claimRef
                                              │   └─── Delete: the object is deleted, its disk with it
                                              └──────▶ Failed, when the policy cannot be carried out

Released is never matched again: the claimRef keeps the uid of the claim that is gone, so that a new claim of the
same name does not get the old data. Before a volume is released, deleted or emptied the server itself is asked whether
the claim is really gone: data may hang on it, and a claim that an administrator gave a Released volume to may be newer
than this cache.

Recycling a hostPath volume runs a pod `recycler-for-<volume>` that empties the folder, as Kubernetes does. Deleting
needs somebody who can remove the storage: provisioned disks have one (node/disk_driver.py). Of a hostPath below /tmp
the object alone is deleted and the folder stays, as on every cluster whose controller manager has a /tmp of its own.
Others fail as they do there. Rules and texts: statefulset.md 4.3 (pv_controller.go syncVolume and reclaimVolume).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

from petset.cluster.api.objects import Object, annotations_of, is_terminating, name_of, uid_of
from petset.cluster.api.volumes import BOUND_BY_CONTROLLER, PROVISIONED_BY, is_claimed_by
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, ConfirmNone, Create, Delete, Outcome, Record, Update, Write
from petset.cluster.controllers.confirm import HasUid
from petset.cluster.controllers.edits import patch_status

RECYCLER_PREFIX = "recycler-for-"
RECYCLER_NAMESPACE = "default"
RECYCLED_CLAIM = "petset.dev/recycled-claim"
"""On a recycler pod: the uid of the claim whose data it removes, so that an old pod never counts for a new claim."""

_SCRUB = 'test -e /scrub && find /scrub -mindepth 1 -delete && test -z "$(ls -A /scrub)" || exit 1'


def plan_volume(key: Key, snapshot: Snapshot, now: float, *, recycler_image: str) -> Outcome:
    """The next step of one volume."""
    volume = snapshot.get("PersistentVolume", *key)
    if volume is None:
        return Outcome(_remove_recycler(key[1], snapshot))
    reference = volume["spec"].get("claimRef")
    if not reference or not reference.get("uid"):
        if _recycler_of(key[1], snapshot):
            # It may still empty the folder: nobody gets the volume before it is gone.
            return Outcome(_remove_recycler(key[1], snapshot))
        return Outcome(_phase_writes(volume, "Available"))
    claim = snapshot.get("PersistentVolumeClaim", reference.get("namespace", ""), reference.get("name", ""))
    if claim is None or uid_of(claim) != reference["uid"]:
        return Outcome(_released(volume, snapshot, recycler_image))
    bound_to = claim["spec"].get("volumeName")
    if not bound_to:
        return NOTHING  # Claimed but not bound through: the claim's controller goes on.
    if bound_to == name_of(volume):
        return Outcome(_phase_writes(volume, "Bound"))
    return Outcome(_superfluous(volume))


def _phase(volume: Object) -> str:
    return str((volume.get("status") or {}).get("phase", ""))


def _phase_writes(volume: Object, phase: str, said: Record | None = None, message: str = "") -> tuple[Write, ...]:
    """Write a phase that differs; its event is said only then."""
    if _phase(volume) == phase:
        return ()
    return (patch_status(volume, {"phase": phase, "message": message or None}, said=said),)


def _superfluous(volume: Object) -> tuple[Write, ...]:
    """The claim is bound elsewhere: a disk made for it goes, any other volume is free again."""
    if PROVISIONED_BY in annotations_of(volume) and _policy(volume) == "Delete":
        return _phase_writes(volume, "Released") or _delete(volume)
    return (Update(_unclaimed(volume)),)


def _unclaimed(volume: Object) -> Object:
    """Without its claim; where the user had reserved it, the reservation by name stays."""
    annotations = dict(annotations_of(volume))
    spec = dict(volume["spec"])
    if annotations.pop(BOUND_BY_CONTROLLER, None):
        del spec["claimRef"]
    else:
        lost = ("uid", "resourceVersion")
        spec["claimRef"] = {field: value for field, value in spec["claimRef"].items() if field not in lost}
    return {**volume, "metadata": {**volume["metadata"], "annotations": annotations}, "spec": spec}


def _policy(volume: Object) -> str:
    return str(volume["spec"].get("persistentVolumeReclaimPolicy") or "Retain")


def _released(volume: Object, snapshot: Snapshot, recycler_image: str) -> tuple[Write, ...]:
    """The claim is gone (or another one has its name)."""
    if _phase(volume) not in ("Released", "Failed"):
        return _once_gone(volume, _phase_writes(volume, "Released"))
    policy = _policy(volume)
    if policy == "Retain":
        return ()
    if policy == "Delete":
        return _once_gone(volume, _delete(volume))
    if policy == "Recycle":
        return _once_gone(volume, _recycle(volume, snapshot, recycler_image))
    return _fail(volume, "VolumeUnknownReclaimPolicy", "Volume has unrecognized PersistentVolumeReclaimPolicy")


def _once_gone(volume: Object, writes: tuple[Write, ...]) -> tuple[Write, ...]:
    """The writes, if the server has no claim of the uid that the volume was bound to."""
    reference = volume["spec"]["claimRef"]
    namespace, name, uid = (reference.get(field, "") for field in ("namespace", "name", "uid"))
    return (ConfirmNone("PersistentVolumeClaim", namespace, name, HasUid(uid)), *writes) if writes else ()


def _delete(volume: Object) -> tuple[Write, ...]:
    if is_terminating(volume):
        return ()
    path = (volume["spec"].get("hostPath") or {}).get("path")
    if path is not None and not re.search("/tmp/.+", path):
        return _fail(
            volume, "VolumeFailedDelete", f"host_path deleter only supports /tmp/.+ but received provided {path}"
        )
    if path is None and PROVISIONED_BY not in annotations_of(volume):
        text = f'error getting deleter volume plugin for volume "{name_of(volume)}": no deletable volume plugin matched'
        return _fail(volume, "VolumeFailedDelete", text)
    return (Delete("PersistentVolume", "", name_of(volume), uid=uid_of(volume)),)


def _fail(volume: Object, reason: str, message: str) -> tuple[Write, ...]:
    return _phase_writes(volume, "Failed", Record(volume, "Warning", reason, message), message)


def _recycle(volume: Object, snapshot: Snapshot, image: str) -> tuple[Write, ...]:
    """Run the recycler pod to its end; when it succeeded, the volume is free."""
    if "hostPath" not in volume["spec"]:
        return _fail(volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!")
    pod = snapshot.get("Pod", RECYCLER_NAMESPACE, RECYCLER_PREFIX + name_of(volume))
    if pod is None:
        return () if _phase(volume) == "Failed" else (Create(_recycler(volume, image), exists_ok=True),)
    if annotations_of(pod).get(RECYCLED_CLAIM) != volume["spec"]["claimRef"]["uid"]:
        return _remove_recycler(name_of(volume), snapshot)
    phase = (pod.get("status") or {}).get("phase")
    if phase == "Succeeded":
        # First the volume, then the pod (by the next sync): the other way round a crash would scrub it once more.
        return (Update(_unclaimed(volume), said=Record(volume, "Normal", "VolumeRecycled", "Volume recycled")),)
    if phase == "Failed":
        message = f"Recycle failed: recycler pod {name_of(pod)} failed"
        return (*_fail(volume, "VolumeFailedRecycle", message), *_remove_recycler(name_of(volume), snapshot))
    return ()


def _recycler_of(volume_name: str, snapshot: Snapshot) -> Object | None:
    """The pod that empties the volume; another one that happens to have its name is none."""
    pod = snapshot.get("Pod", RECYCLER_NAMESPACE, RECYCLER_PREFIX + volume_name)
    return pod if pod is not None and RECYCLED_CLAIM in annotations_of(pod) else None


def _remove_recycler(volume_name: str, snapshot: Snapshot) -> tuple[Write, ...]:
    pod = _recycler_of(volume_name, snapshot)
    if pod is None or is_terminating(pod):
        return ()
    return (Delete("Pod", RECYCLER_NAMESPACE, name_of(pod), uid=uid_of(pod)),)


def _recycler(volume: Object, image: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": RECYCLER_PREFIX + name_of(volume),
            "namespace": RECYCLER_NAMESPACE,
            "annotations": {RECYCLED_CLAIM: volume["spec"]["claimRef"]["uid"]},
        },
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "pv-recycler",
                    "image": image,
                    "command": ["/bin/sh"],
                    "args": ["-c", _SCRUB],
                    "volumeMounts": [{"name": "vol", "mountPath": "/scrub"}],
                }
            ],
            "volumes": [{"name": "vol", "hostPath": {"path": volume["spec"]["hostPath"]["path"]}}],
        },
    }


def _itself(volume: Object, snapshot: Snapshot) -> Iterable[Key]:
    yield key_of(volume)


def _volumes_of_claim(claim: Object, snapshot: Snapshot) -> Iterable[Key]:
    """The volume it names, and volumes that name it."""
    for volume in snapshot.objects("PersistentVolume"):
        if name_of(volume) == claim["spec"].get("volumeName") or is_claimed_by(volume, claim):
            yield key_of(volume)


def _volume_of_recycler(pod: Object, snapshot: Snapshot) -> Iterable[Key]:
    if RECYCLED_CLAIM in annotations_of(pod):
        yield "", name_of(pod).removeprefix(RECYCLER_PREFIX)


def volume_controller(recycler_image: str) -> Controller:
    return Controller(
        component="persistentvolume-controller",
        triggers={
            "PersistentVolume": _itself,
            "PersistentVolumeClaim": _volumes_of_claim,
            "Pod": _volume_of_recycler,
        },
        plan=partial(plan_volume, recycler_image=recycler_image),
    )

"""A bound claim that asks for more: its volume grows, then its file system, then what the claim shows.

    request > capacity ─▶ condition Resizing ─▶ PV.spec.capacity ─▶ condition FileSystemResizePending ─▶ a pod with it
                          (external-resizer)                        (stays while no pod uses the claim)   runs
                                                                                                               │
                                        conditions gone, status.capacity grown ◀───────────────────────────────┘

Only where the class says `allowVolumeExpansion`; the API server has refused everything else. Each step follows from
what is written, so a crash between any two goes on with the next. A folder has no file system to grow: the node's step
is taken here, with the node's event, as soon as a pod with the claim runs. Texts: expand_controller.go, the external
resizer, and operation_generator.go (NodeExpandVolume).
"""

from __future__ import annotations

from petset.cluster.api.attachments import uses_claim
from petset.cluster.api.objects import Object, condition, name_of, namespace_of
from petset.cluster.api.quantities import parse_quantity
from petset.cluster.api.times import format_time
from petset.cluster.api.volumes import PROVISIONED_BY, capacity, class_of, requested
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import Patch, Record, Write
from petset.cluster.controllers.edits import patch_spec, patch_status

RESIZING, FILE_SYSTEM_PENDING = "Resizing", "FileSystemResizePending"

_NO_PLUGIN = (
    "Ignoring the PVC: didn't find a plugin capable of expanding the volume; waiting for an external controller to "
    "process this PVC."
)
_WAITING_FOR_POD = "Waiting for user to (re-)start a pod to finish file system resize of volume on node."


def grow(volume: Object, claim: Object, snapshot: Snapshot, now: float) -> tuple[Write, ...]:
    """The next step of a bound claim whose request is larger than what it has."""
    shown = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    if shown is None or requested(claim) <= parse_quantity(shown) or not _may_grow(volume, claim, snapshot):
        return ()
    if condition(claim, FILE_SYSTEM_PENDING) and requested(claim) <= capacity(volume):
        return _finish(volume, claim, snapshot)
    if not condition(claim, RESIZING):
        return (
            Record(claim, "Normal", "ExternalExpanding", _NO_PLUGIN),
            Record(claim, "Normal", "Resizing", f"External resizer is resizing volume {name_of(volume)}"),
            _set_condition(claim, RESIZING, "", now),
        )
    if requested(claim) > capacity(volume):
        asked = claim["spec"]["resources"]["requests"]["storage"]
        return (patch_spec(volume, {"capacity": {"storage": asked}}),)
    required = "Require file system resize of volume on node"
    said = Record(claim, "Normal", "FileSystemResizeRequired", required)
    return (said, _set_condition(claim, FILE_SYSTEM_PENDING, _WAITING_FOR_POD, now))


def is_growing(claim: Object) -> bool:
    """A running pod could finish the claim's expansion."""
    return condition(claim, FILE_SYSTEM_PENDING) is not None


def _may_grow(volume: Object, claim: Object, snapshot: Snapshot) -> bool:
    storage_class = snapshot.get("StorageClass", "", class_of(claim) or "")
    allowed = storage_class is not None and storage_class.get("allowVolumeExpansion") is True
    return allowed and ("csi" in volume["spec"] or PROVISIONED_BY in (volume["metadata"].get("annotations") or {}))


def _finish(volume: Object, claim: Object, snapshot: Snapshot) -> tuple[Write, ...]:
    """The node's part, once a pod has the volume mounted and runs."""
    for pod in snapshot.objects("Pod", namespace_of(claim)):
        if (pod.get("status") or {}).get("phase") == "Running" and uses_claim(pod, claim):
            node = pod["spec"].get("nodeName", "")
            text = f'MountVolume.NodeExpandVolume succeeded for volume "{name_of(volume)}" {node}'
            size = volume["spec"]["capacity"]["storage"]
            done = patch_status(claim, {"capacity": {"storage": size}, "conditions": None})
            reason = "FileSystemResizeSuccessful"
            return (done, Record(pod, "Normal", reason, text), Record(claim, "Normal", reason, text))
    return ()


def _set_condition(claim: Object, type_: str, message: str, now: float) -> Patch:
    """The one condition of an expansion under way; it replaces the one before."""
    at = format_time(now)
    made = {"type": type_, "status": "True", "lastProbeTime": None, "lastTransitionTime": at}
    return patch_status(claim, {"conditions": [made | ({"message": message} if message else {})]})

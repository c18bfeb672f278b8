"""Attachments as values: which volumes must be attached to a node before they can be mounted, and what they are called.

A *network disk* (`spec.csi`) is attached to a node by the attach/detach controller before a kubelet may mount it; a
hostPath or local volume is where it is. The kubelet and the controller meet in the Node object, under the volume's
unique name:

    status.volumesInUse      the kubelet's: mounted here, or about to be      (it writes this first, then looks below)
    status.volumesAttached   the controller's: attached here                  (it takes this away first, then detaches)

Since both are written to one object, one of two that race sees the other. Names: component-helpers and
pkg/volume/util (GetUniqueVolumeNameFromSpec), csi_attacher.go (getAttachmentName).
"""

from __future__ import annotations

import hashlib

from petset.cluster.api.objects import Object, annotations_of, name_of, namespace_of
from petset.cluster.api.volumes import claim_names

CSI_PREFIX = "kubernetes.io/csi/"
DISK_HANDLE = "petset.dev/disk-handle"
"""On a VolumeAttachment: its disk's handle, by which it is taken away even when the PersistentVolume is gone."""
_SHARED_MODES = frozenset({"ReadWriteMany", "ReadOnlyMany"})
_ENDED = ("Succeeded", "Failed")


def needs_attachment(volume: Object) -> bool:
    """Whether a PersistentVolume is a network disk."""
    return "csi" in volume["spec"]


def unique_name(volume: Object) -> str:
    """What a PersistentVolume is called in a Node's status, e.g. `kubernetes.io/csi/pd.csi.storage.gke.io^pvc-1`."""
    spec = volume["spec"]
    if "csi" in spec:
        return f"{CSI_PREFIX}{spec['csi']['driver']}^{spec['csi']['volumeHandle']}"
    plugin = "local-volume" if "local" in spec else "host-path"
    return f"kubernetes.io/{plugin}/{name_of(volume)}"


def is_attachable(unique: str) -> bool:
    """The same question as `needs_attachment`, of a unique name."""
    return unique.startswith(CSI_PREFIX)


def is_exclusive(volume: Object) -> bool:
    """May be attached to one node at a time (isMultiAttachForbidden); a volume that names no mode may be shared."""
    modes = set(volume["spec"].get("accessModes") or ())
    return bool(modes) and not modes & _SHARED_MODES


def attachment_name(volume: Object, node: str) -> str:
    """The VolumeAttachment of a network disk on a node: one name, however often it is created."""
    csi = volume["spec"]["csi"]
    return "csi-" + hashlib.sha256(f"{csi['volumeHandle']}{csi['driver']}{node}".encode()).hexdigest()


def attached_volume(attachment: Object) -> str:
    """The name of the PersistentVolume that a VolumeAttachment is about."""
    return str(attachment["spec"]["source"].get("persistentVolumeName", ""))


def attached_disk(attachment: Object) -> str:
    """The handle of the disk that a VolumeAttachment is about; provisioned volumes are called like their disks."""
    return annotations_of(attachment).get(DISK_HANDLE) or attached_volume(attachment)


def attacher_finalizer(driver: str) -> str:
    """Keeps a VolumeAttachment until the disk is really taken away from its node (external-attacher)."""
    return f"external-attacher/{driver.replace('.', '-').replace('/', '-')}"


def volumes_in_use(node: Object) -> list[str]:
    """Unique names of the volumes that the node's kubelet has mounted, or is about to."""
    return (node.get("status") or {}).get("volumesInUse") or []


def volumes_attached(node: Object) -> list[str]:
    """Unique names of the volumes that are attached to the node."""
    return [each["name"] for each in (node.get("status") or {}).get("volumesAttached") or ()]


def expected_node(pod: Object) -> str:
    """The pod's node, or the one that it is promised while its claims are being bound; "" for neither."""
    return str(pod["spec"].get("nodeName") or (pod.get("status") or {}).get("nominatedNodeName") or "")


def keeps_volumes(pod: Object) -> bool:
    """The pod has a node, if only a promised one, and may still use its volumes there (IsPodTerminated, negated)."""
    status = pod.get("status") or {}
    if not expected_node(pod) or status.get("phase") in _ENDED:
        return False
    running = [each for each in status.get("containerStatuses") or () if "terminated" not in (each.get("state") or {})]
    return not pod["metadata"].get("deletionTimestamp") or bool(running) or not status.get("containerStatuses")


def uses_claim(pod: Object, claim: Object) -> bool:
    """One of the pod's volumes is the claim."""
    return namespace_of(pod) == namespace_of(claim) and name_of(claim) in claim_names(pod)

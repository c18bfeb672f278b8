"""Dynamic provisioning: which kind of disk a class gives, and the PersistentVolume that comes of it.

    provisioner                             kind           volume
    kubernetes.io/no-provisioner            none           static volumes only
    one of the patterns of `local_disks`    local disk     spec.local and node affinity: it stays on the node that its
                                                           first pod was given, as local-path provisioners do it
    any other                               network disk   spec.csi: follows its pod to any node, attached to one at a
                                                           time (attach_detach.py)

`local_disks` are shell patterns of provisioners' names, separated by commas (`petset up --local-disks`); the default is
LOCAL_DISKS. A volume's name is made of its claim's uid, so that provisioning twice is creating the same object twice;
both kinds of disk are folders below the cluster's folder of volumes. Requests below SMALLEST_DISK are rounded up, never
refused. Raw block volumes are refused: a folder is no block device.

Texts: pv_controller.go and sig-storage-lib-external-provisioner (provisionClaimOperation).
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from petset.cluster.api.objects import Object, annotations_of, name_of, namespace_of, uid_of
from petset.cluster.api.quantities import parse_quantity
from petset.cluster.api.volumes import (
    BETA_STORAGE_PROVISIONER,
    DISK_FINALIZER,
    NO_PROVISIONER,
    PROVISIONED_BY,
    SELECTED_NODE,
    STORAGE_PROVISIONER,
    claim_reference,
    local_disk_path,
    requested,
)
from petset.cluster.control.writes import Create, Record, Write
from petset.cluster.controllers.edits import patch_spec

LOCAL_DISKS = "rancher.io/local-path,*hostpath*,*local-path*,*localdisk*,*local-disk*,*topolvm*"
"""Provisioners whose volumes stay on one node, where nothing else is said."""

SMALLEST_DISK = "1Mi"

WAIT_FOR_PROVISIONER = (
    "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system "
    "administrator. If volume creation is delayed, please verify that the provisioner is running and correctly "
    "registered."
)


def gives_local_disks(provisioner: str, local_disks: str) -> bool:
    """Whether the volumes of a provisioner stay on one node; `local_disks` "" stands for LOCAL_DISKS."""
    patterns = (each.strip() for each in (local_disks or LOCAL_DISKS).split(","))
    return any(fnmatchcase(provisioner, pattern) for pattern in patterns)


def provision(claim: Object, named: str, storage_class: Object | None, *, local_disks: str) -> tuple[Write, ...]:
    """Both sides of dynamic provisioning: the controller's announcement and the external provisioner's volume."""
    if storage_class is None:
        return (_failed(claim, f'storageclass.storage.k8s.io "{named}" not found'),)
    if problem := _problem(claim, storage_class, local_disks):
        return (_failed(claim, problem),)
    provisioner = storage_class["provisioner"]
    announced = {STORAGE_PROVISIONER: provisioner, BETA_STORAGE_PROVISIONER: provisioner}
    where = f'External provisioner is provisioning volume for claim "{namespace_of(claim)}/{name_of(claim)}"'
    volume = _new_volume(claim, storage_class, local_disks)
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


def _failed(claim: Object, why: str) -> Record:
    return Record(claim, "Warning", "ProvisioningFailed", why)


def _problem(claim: Object, storage_class: Object, local_disks: str) -> str:
    """Why there can be no volume; "" when there can."""
    provisioner = storage_class["provisioner"]
    if provisioner == NO_PROVISIONER:
        return f"no volume plugin matched name: {provisioner}"
    failed = f'failed to provision volume with StorageClass "{name_of(storage_class)}": '
    if claim["spec"].get("volumeMode") == "Block":
        return f"{failed}{provisioner} does not support block volume provisioning"
    if claim["spec"].get("selector"):
        return f"{failed}claim Selector is not supported"
    if gives_local_disks(provisioner, local_disks) and SELECTED_NODE not in annotations_of(claim):
        return f"{failed}configuration error, no node was specified"
    return ""


def _new_volume(claim: Object, storage_class: Object, local_disks: str) -> Object:
    """A disk for exactly this claim."""
    name, provisioner = f"pvc-{uid_of(claim)}", storage_class["provisioner"]
    asked = (claim["spec"].get("resources") or {}).get("requests", {}).get("storage", "0")
    spec: Object = {
        "capacity": {"storage": asked if requested(claim) >= parse_quantity(SMALLEST_DISK) else SMALLEST_DISK},
        "accessModes": claim["spec"].get("accessModes") or ["ReadWriteOnce"],
        "volumeMode": claim["spec"].get("volumeMode") or "Filesystem",
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
        "storageClassName": name_of(storage_class),
        "claimRef": claim_reference(claim),
    }
    if gives_local_disks(provisioner, local_disks):
        spec |= _on_node(name, annotations_of(claim)[SELECTED_NODE])
    else:
        spec["csi"] = {"driver": provisioner, "volumeHandle": name, "fsType": "ext4"}
    if storage_class.get("mountOptions"):
        spec["mountOptions"] = storage_class["mountOptions"]
    annotations = {PROVISIONED_BY: provisioner}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": annotations, "finalizers": [DISK_FINALIZER]},
        "spec": spec,
    }


def _on_node(name: str, node: str) -> Object:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "local": {"path": local_disk_path(node, name)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
    }

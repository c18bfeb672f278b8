"""Which types of volumes there are, and that each volume has exactly one (core validation.go: validateVolumeSource,
ValidatePersistentVolumeSpec)."""

from __future__ import annotations

from collections.abc import Iterable

from petset.cluster.api.fields import FieldError, forbidden, required
from petset.cluster.api.objects import Object

# fmt: off
POD_VOLUME_TYPES = (
    "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi",
    "glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc",
    "flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk",
    "storageos", "projected", "scaleIO", "csi", "ephemeral", "image",
)
PERSISTENT_VOLUME_TYPES = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "flocker", "nfs", "rbd", "quobyte", "cephfs",
    "iscsi", "cinder", "fc", "flexVolume", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume",
    "azureDisk", "scaleIO", "local", "storageos", "csi",
)
# fmt: on
"""In the order that they are looked for: the second one that is found is one too many."""


def volume_type_errors(volume: Object, path: str, types: Iterable[str]) -> list[FieldError]:
    """Of a volume whose type is a field of `volume`. (A pod's volume without any has been made an emptyDir before.)"""
    found = [each for each in types if volume.get(each) is not None]
    if not found:
        return [required(path, "must specify a volume type")]
    return [forbidden(f"{path}.{each}", "may not specify more than 1 volume type") for each in found[1:]]

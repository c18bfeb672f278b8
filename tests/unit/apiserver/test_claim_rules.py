"""What claims, volumes and pods' own claims may say, and what may be changed about them, through the API."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.errors import Forbidden, Invalid
from tests.apis import causes, new_api

FIXED = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
NOT_RESIZABLE = (
    'persistentvolumeclaims "data" is forbidden: only dynamically provisioned pvc can be resized and the storageclass '
    "that provisions the pvc must support resize"
)


def claim(**spec: Any) -> Object:
    whole = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}} | spec
    metadata = {"name": "data", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": whole}


async def changed(before: Object, patch: Object, *, bound: bool, capacity: str = "1Gi") -> Object:
    """The claim after a merge patch of its spec; `standard` is the default class, and may grow."""
    client = LoopbackClient(await new_api())
    fixed = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fixed"}}
    await client.create(fixed | {"provisioner": "example.com/disk"})
    await client.create(before)
    if bound:
        status = {"phase": "Bound", "capacity": {"storage": capacity}}
        await client.patch("PersistentVolumeClaim", "data", "default", body={"status": status}, subresource="status")
    return await client.patch("PersistentVolumeClaim", "data", "default", body={"spec": patch})


def sized(storage: str) -> Object:
    return {"resources": {"requests": {"storage": storage}}}


@pytest.mark.parametrize(
    ("before", "patch"),
    [
        pytest.param(claim(), sized("3Gi"), id="may-grow"),
        pytest.param(claim(), sized("1536Mi"), id="may-shrink-to-what-is-above-its-capacity"),
        pytest.param(claim(), {"volumeName": "pv-a"}, id="volume-once"),
        pytest.param(claim(volumeName=""), {"volumeName": "pv-a"}, id="an-empty-volume-is-none"),
    ],
)
async def test_what_may_change(before: Object, patch: Object) -> None:
    after = await changed(before, patch, bound=True)
    assert after["spec"] == before["spec"] | {"storageClassName": "standard", "volumeMode": "Filesystem"} | patch


@pytest.mark.parametrize(
    ("before", "patch", "bound", "field", "text"),
    [
        pytest.param(claim(), sized("1Gi"), True, "spec.resources.requests.storage",
                     "Forbidden: field can not be less than status.capacity", id="no-shrinking"),
        pytest.param(claim(), sized("3Gi"), False, "spec", f"Forbidden: {FIXED}", id="unbound-claims-do-not-grow"),
        pytest.param(claim(), {"accessModes": ["ReadWriteMany"]}, True, "spec", f"Forbidden: {FIXED}", id="modes"),
        pytest.param(claim(volumeName="pv-a"), {"volumeName": "pv-b"}, False, "spec", f"Forbidden: {FIXED}",
                     id="volume-is-fixed"),
    ],
)  # fmt: skip
async def test_what_is_refused(before: Object, patch: Object, bound: bool, field: str, text: str) -> None:
    with pytest.raises(Invalid) as refused:
        await changed(before, patch, bound=bound)
    assert [*causes(refused.value.details)] == [(field, text)]


@pytest.mark.parametrize("class_name", ["fixed", "", "absent"])
async def test_a_class_that_does_not_allow_it(class_name: str) -> None:
    with pytest.raises(Forbidden) as refused:
        await changed(claim(storageClassName=class_name), sized("3Gi"), bound=True)
    assert refused.value.message == NOT_RESIZABLE


async def test_read_write_once_pod_stands_alone() -> None:
    with pytest.raises(Invalid) as refused:
        await LoopbackClient(await new_api()).create(claim(accessModes=["ReadWriteOncePod", "ReadWriteOnce"]))
    text = "Forbidden: may not use ReadWriteOncePod with other access modes"
    assert [*causes(refused.value.details)] == [("spec.accessModes", text)]


async def test_a_size_that_is_none() -> None:
    with pytest.raises(Invalid):
        await changed(claim(), sized("much"), bound=True)


def volume(**spec: Any) -> Object:
    whole = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}} | spec
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-a"}, "spec": whole}


def pod(**volume: Any) -> Object:
    spec = {"containers": [{"name": "main", "image": "pet"}], "volumes": [volume]}
    meta = {"name": "web-0", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


HOST = {"hostPath": {"path": "/tmp/x"}}
NO_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


@pytest.mark.parametrize(
    ("refused", "field", "text"),
    [
        pytest.param(volume(**HOST, capacity={"storage": "much"}), "spec.capacity[storage]",
                     f'Invalid value: "much": {NO_QUANTITY}', id="capacity-that-is-no-quantity"),
        pytest.param(volume(**HOST, capacity={"storage": "-1"}), "spec.capacity[storage]",
                     'Invalid value: "-1": must be greater than zero', id="negative-capacity"),
        pytest.param(claim(resources={"requests": {"storage": "0"}}), "spec.resources[storage]",
                     'Invalid value: "0": must be greater than zero', id="request-of-nothing"),
        pytest.param(volume(hostPath={"path": "/a/../b"}), "spec.hostPath.path",
                     'Invalid value: "/a/../b": must not contain \'..\'', id="hostPath-that-leads-out"),
        pytest.param(volume(local={"path": "/../b"}, nodeAffinity={"required": {"nodeSelectorTerms": []}}),
                     "spec.local.path", 'Invalid value: "/../b": must not contain \'..\'', id="local-that-leads-out"),
        pytest.param(volume(local={"path": "/mnt/ssd"}), "spec.nodeAffinity",
                     "Required value: Local volume requires node affinity", id="local-disk-of-no-node"),
        pytest.param(pod(name="v", ephemeral={}), "spec.volumes[0].ephemeral.volumeClaimTemplate", "Required value",
                     id="ephemeral-volume-without-a-template"),
        pytest.param(pod(name="v", emptyDir={}, configMap={"name": "c"}), "spec.volumes[0].configMap",
                     "Forbidden: may not specify more than 1 volume type", id="pod-volume-of-two-types"),
        pytest.param(volume(nfs={"server": "s", "path": "/"}, **HOST), "spec.nfs",
                     "Forbidden: may not specify more than 1 volume type", id="volume-of-two-types"),
        pytest.param(volume(), "spec", "Required value: must specify a volume type", id="volume-of-no-type"),
        pytest.param(volume(csi={"driver": "d", "volumeHandle": ""}), "spec.csi.volumeHandle", "Required value",
                     id="network-disk-without-a-handle"),
    ],
)  # fmt: skip
async def test_what_is_never_stored(refused: Object, field: str, text: str) -> None:
    with pytest.raises(Invalid) as raised:
        await LoopbackClient(await new_api()).create(refused)
    assert [*causes(raised.value.details)] == [(field, text)]


async def test_a_pod_volume_of_no_type_is_an_empty_directory() -> None:
    stored = await LoopbackClient(await new_api()).create(pod(name="v"))
    assert stored["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]

from __future__ import annotations

import base64

import pytest

from petset.cluster.api.cri import Volume
from petset.cluster.api.objects import Object
from petset.cluster.kubelet.downward import PodFacts
from petset.cluster.kubelet.volumes import (
    Needed,
    VolumeNotReady,
    bound_volumes,
    check_reachable,
    needed_objects,
    pod_volumes,
)
from tests.unit.kubelet.builders import container, pod

FACTS = PodFacts("web-0", "", "10.0.0.1", "node-1")
CLAIM = {"persistentVolumeClaim": {"claimName": "data-web-0"}}


BOUND_TO = {"namespace": "default", "name": "data-web-0", "uid": "uid-claim"}


def claim(phase: str = "Bound", volume: str = "pv-1", **meta: object) -> Object:
    metadata = {"name": "data-web-0", "namespace": "default", "uid": "uid-claim"} | meta
    return {"metadata": metadata, "spec": {"volumeName": volume}, "status": {"phase": phase}}


def sources(**volume_spec: object) -> dict[tuple[str, str], Object]:
    settings = {"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1", "b": "2"}}
    login = {
        "kind": "Secret",
        "metadata": {"name": "login"},
        "data": {"password": base64.b64encode(b"sesame").decode()},
    }
    return {
        ("PersistentVolumeClaim", "data-web-0"): claim(),
        ("PersistentVolume", "pv-1"): {"metadata": {"name": "pv-1"}, "spec": {"claimRef": BOUND_TO, **volume_spec}},
        ("ConfigMap", "settings"): settings,
        ("Secret", "login"): login,
    }


@pytest.mark.parametrize(
    ("volume", "persistent", "expected"),
    [
        pytest.param({"emptyDir": {}}, {}, Volume("v", "empty"), id="emptyDir"),
        pytest.param(
            {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}, {},
            Volume("v", "empty", in_memory=True, size_bytes=1 << 20), id="emptyDir in memory",
        ),
        pytest.param({"hostPath": {"path": "/srv"}}, {}, Volume("v", "hostPath", "/srv"), id="hostPath"),
        pytest.param(
            {"hostPath": {"path": "/srv", "type": "File"}}, {},
            Volume("v", "hostPath", "/srv", path_type="File"), id="hostPath type",
        ),
        pytest.param(
            {"persistentVolumeClaim": {"claimName": "data-web-0", "readOnly": True}}, {"hostPath": {"path": "/tmp/x"}},
            Volume("v", "hostPath", "/tmp/x", read_only=True, persistent="kubernetes.io/host-path/pv-1"),
            id="claim that is mounted read-only",
        ),
        pytest.param(
            CLAIM, {"csi": {"driver": "d", "volumeHandle": "disk-7"}},
            Volume("v", "disk", "disk-7", persistent="kubernetes.io/csi/d^disk-7"), id="provisioned PV",
        ),
        pytest.param(
            CLAIM, {"hostPath": {"path": "/tmp/x"}, "accessModes": ["ReadWriteOncePod"]},
            Volume("v", "hostPath", "/tmp/x", persistent="kubernetes.io/host-path/pv-1", one_pod=True),
            id="hostPath PV",
        ),
        pytest.param(
            CLAIM, {"local": {"path": "/mnt/ssd"}},
            Volume("v", "hostPath", "/mnt/ssd", persistent="kubernetes.io/local-volume/pv-1"), id="local PV",
        ),
        pytest.param(
            {"configMap": {"name": "settings", "defaultMode": 0o400}}, {},
            Volume("v", "files", files={"a": b"1", "b": b"2"}, mode=0o400, read_only=True), id="configMap",
        ),
        pytest.param(
            {"configMap": {"name": "settings", "items": [{"key": "b", "path": "deep/b"}]}}, {},
            Volume("v", "files", files={"deep/b": b"2"}, read_only=True), id="configMap items",
        ),
        pytest.param(
            {"secret": {"secretName": "login"}}, {},
            Volume("v", "files", files={"password": b"sesame"}, read_only=True), id="secret",
        ),
        pytest.param(
            {"configMap": {"name": "absent", "optional": True}}, {},
            Volume("v", "files", read_only=True), id="optional and absent",
        ),
        pytest.param(
            {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}, {},
            Volume("v", "files", files={"name": b"web-0"}, read_only=True), id="downwardAPI",
        ),
        pytest.param(
            {"projected": {"sources": [{"configMap": {"name": "settings"}}, {"secret": {"name": "login"}}]}}, {},
            Volume("v", "files", files={"a": b"1", "b": b"2", "password": b"sesame"}, read_only=True),
            id="projected",
        ),
    ],
)  # fmt: skip
def test_what_the_machine_must_prepare(volume: Object, persistent: Object, expected: Volume) -> None:
    obj = pod(volumes=[{"name": "v", **volume}])
    assert pod_volumes(obj, sources(**persistent), FACTS) == (expected,)


@pytest.mark.parametrize(
    ("volume", "known", "message"),
    [
        pytest.param(CLAIM, {}, 'persistentvolumeclaim "data-web-0" not found', id="claim missing"),
        pytest.param(
            CLAIM, {("PersistentVolumeClaim", "data-web-0"): claim("Pending", "")},
            "error processing PVC default/data-web-0: PVC is not bound", id="claim not bound",
        ),
        pytest.param(
            CLAIM, {("PersistentVolumeClaim", "data-web-0"): claim(deletionTimestamp="2026-01-01T00:00:00Z")},
            "error processing PVC default/data-web-0: PVC is being deleted", id="claim going",
        ),
        pytest.param(
            CLAIM, sources(hostPath={"path": "/x"}, claimRef=None),
            "error processing PVC default/data-web-0: found PV object pv-1 but it has a nil pv.Spec.ClaimRef "
            "indicating it is not yet bound to the claim", id="volume not bound",
        ),
        pytest.param(
            CLAIM, sources(hostPath={"path": "/x"}, claimRef=BOUND_TO | {"uid": "old"}),
            "found PV object pv-1 but its pv.Spec.ClaimRef.UID old does not point to claim.UID uid-claim",
            id="volume of another claim",
        ),
        pytest.param(
            {"ephemeral": {"volumeClaimTemplate": {}}},
            sources(hostPath={"path": "/x"}) | {("PersistentVolumeClaim", "web-0-v"): claim(name="web-0-v")},
            "PVC default/web-0-v was not created for pod default/web-0 (pod is not owner)",
            id="ephemeral volume's claim is somebody else's",
        ),
        pytest.param(
            {"configMap": {"name": "settings"}}, {},
            'MountVolume.SetUp failed for volume "v" : configmap "settings" not found', id="configMap missing",
        ),
        pytest.param(
            {"configMap": {"name": "settings", "items": [{"key": "z", "path": "z"}]}}, sources(),
            "references non-existent configmap key: z", id="key missing",
        ),
        pytest.param({"nfs": {"server": "x"}}, {}, "no volume plugin matched (nfs)", id="unknown kind"),
        pytest.param(
            CLAIM, sources(csi={"driver": "d", "volumeHandle": "h"}, volumeMode="Block"),
            "raw block volumes are not supported: this cluster's volumes are folders", id="Block",
        ),
    ],
)  # fmt: skip
def test_a_volume_that_is_not_ready_is_explained(
    volume: Object, known: dict[tuple[str, str], Object], message: str
) -> None:
    with pytest.raises(VolumeNotReady) as caught:
        pod_volumes(pod(volumes=[{"name": "v", **volume}]), known, FACTS)
    assert message in str(caught.value)


def test_a_volume_of_another_node_is_not_mounted() -> None:
    here = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    known = sources(local={"path": "/mnt/ssd"}, nodeAffinity={"required": {"nodeSelectorTerms": [here]}})
    check_reachable(known, {"metadata": {"name": "node-1", "labels": {"zone": "a"}}})
    check_reachable(known, None)
    with pytest.raises(VolumeNotReady) as caught:
        check_reachable(known, {"metadata": {"name": "node-2", "labels": {"zone": "b"}}})
    wanted = 'MountVolume.NodeAffinity check failed for volume "pv-1" : no matching NodeSelectorTerms'
    assert str(caught.value) == wanted


def test_what_a_pod_refers_to_is_found_once() -> None:
    environment = container(
        envFrom=[{"secretRef": {"name": "login"}}],
        env=[{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}}],
    )
    volumes = [
        {"name": "v", **CLAIM},
        {"name": "w", "configMap": {"name": "settings"}},
        {"name": "s", "ephemeral": {"volumeClaimTemplate": {}}},
        {"name": "p", "projected": {"sources": [{"secret": {"name": "login"}}, {"configMap": {"name": "more"}}]}},
    ]
    assert needed_objects(pod(environment, volumes=volumes)) == [
        Needed("PersistentVolumeClaim", "data-web-0"),
        Needed("ConfigMap", "settings"),
        Needed("PersistentVolumeClaim", "web-0-s"),
        Needed("Secret", "login"),
        Needed("ConfigMap", "more"),
    ]
    assert bound_volumes(pod(volumes=volumes[:1]), sources()) == ["pv-1"]

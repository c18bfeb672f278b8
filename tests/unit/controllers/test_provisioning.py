"""Which disk a class gives, and which claims get none."""

from __future__ import annotations

from functools import partial

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.api.volumes import SELECTED_NODE, is_reachable
from petset.cluster.controllers.volume_provisioning import gives_local_disks
from petset.cluster.controllers.volumes import plan_claim
from tests.unit.controllers.volume_kit import KEY, PLANS, claim, node_of, settled, storage_class
from tests.unit.controllers.world import World

NAME = "pvc-uid-persistentvolumeclaim-data"
SELECTED = {SELECTED_NODE: "node-2"}


@pytest.mark.parametrize(
    ("provisioner", "local_disks", "is_local"),
    [
        pytest.param("pd.csi.storage.gke.io", "", False, id="cloud-disk"),
        pytest.param("petset.dev/disk", "", False, id="default-class"),
        pytest.param("kubernetes.io/gce-pd", "", False, id="in-tree-name"),
        pytest.param("rancher.io/local-path", "", True, id="local-path"),
        pytest.param("k8s.io/minikube-hostpath", "", True, id="minikube"),
        pytest.param("docker.io/hostpath", "", True, id="docker-desktop"),
        pytest.param("rancher.io/local-path", "pd.*", False, id="own-patterns-replace-the-default"),
        pytest.param("pd.csi.storage.gke.io", "ebs.*, pd.*", True, id="own-pattern"),
    ],
)
def test_the_mapping(provisioner: str, local_disks: str, is_local: bool) -> None:
    assert gives_local_disks(provisioner, local_disks) is is_local


def test_a_local_disk_stays_on_its_node() -> None:
    local = storage_class(wait=True, provisioner="rancher.io/local-path")
    world = settled(claim(storageClassName="fast", annotations=SELECTED), local, node_of("node-2"))
    made = world.get("PersistentVolume", NAME, "")
    assert "csi" not in made["spec"]
    assert made["spec"]["local"]["path"].endswith(f"/node-2/{NAME}")
    assert [is_reachable(made, node_of(name)) for name in ("node-1", "node-2")] == [False, True]
    assert world.get("PersistentVolumeClaim", "data")["status"]["phase"] == "Bound"


def test_a_network_disk_goes_anywhere() -> None:
    flash = storage_class(wait=True, provisioner="pd.csi.storage.gke.io")
    world = settled(claim(storageClassName="fast", annotations=SELECTED), flash, node_of("node-2"))
    made = world.get("PersistentVolume", NAME, "")
    assert made["spec"]["csi"]["driver"] == "pd.csi.storage.gke.io"
    assert is_reachable(made, node_of("node-1"))


@pytest.mark.parametrize(
    ("wanted", "provisioner", "message"),
    [
        pytest.param(claim(storageClassName="fast", volumeMode="Block"), "pd.csi.storage.gke.io",
                     "pd.csi.storage.gke.io does not support block volume provisioning", id="Block"),
        pytest.param(claim(storageClassName="fast"), "rancher.io/local-path",
                     "configuration error, no node was specified", id="local-disk-without-a-node"),
    ],
)  # fmt: skip
def test_refusals(wanted: Object, provisioner: str, message: str) -> None:
    world = World(wanted, storage_class(provisioner=provisioner))
    world.settle(PLANS)
    assert not world.has("PersistentVolume", NAME, "")
    assert world.said[0].message == f'failed to provision volume with StorageClass "fast": {message}'
    assert world.said[0].type == "Warning"


@pytest.mark.parametrize("provisioner", ["rancher.io/local-path", "pd.csi.storage.gke.io"])
def test_a_selected_node_that_is_gone_is_given_up(provisioner: str) -> None:
    waiting = claim(storageClassName="fast", annotations=SELECTED)
    world = World(waiting, storage_class(wait=True, provisioner=provisioner), node_of("node-1"))
    world.apply(plan_claim(KEY, world.snapshot, 0.0))
    assert SELECTED_NODE not in world.get("PersistentVolumeClaim", "data")["metadata"]["annotations"]
    assert not world.has("PersistentVolume", NAME, "")
    assert [(each.reason, each.message) for each in world.said] == [("ProvisioningFailed", 'node "node-2" not found')]


def test_the_mapping_is_configurable() -> None:
    world = World(claim(storageClassName="fast", annotations=SELECTED), storage_class(wait=True), node_of("node-2"))
    world.apply(partial(plan_claim, local_disks="petset.dev/*")(KEY, world.snapshot, 0.0))
    assert "local" in world.get("PersistentVolume", NAME, "")["spec"]

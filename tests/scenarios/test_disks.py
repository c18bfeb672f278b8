"""Network disks between the pods of two nodes, in a whole cluster."""

from __future__ import annotations

import pytest

from petset.cluster.api.objects import Object
from tests.fakes.runtime import Program
from tests.local import Local, local_cluster

pytestmark = pytest.mark.looptime


def claim() -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}


def pod(name: str, node: str, image: str) -> Object:
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": node},
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": image}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


async def until_phase(local: Local, name: str, phase: str) -> None:
    async def holds() -> bool:
        return (await local.pods())[name]["status"].get("phase") == phase

    await local.until(f"{name} {phase}", holds)


async def test_the_disk_of_a_pod_that_has_finished_goes_to_the_next() -> None:
    """The pod is kept for its logs; its node says no longer that it uses the disk."""
    async with local_cluster(2) as local:
        local.machines["node-1"].programs["job"] = Program(exits_after_seconds=1)
        await local.apply(claim(), pod("first", "node-1", "job"))
        await until_phase(local, "first", "Succeeded")
        await local.apply(pod("second", "node-2", "pet"))
        await until_phase(local, "second", "Running")
        assert await local.attachments() == ["data: node-2"]
        assert (await local.pods())["first"]["status"]["phase"] == "Succeeded"


async def test_the_disk_of_a_volume_that_users_tore_down_is_let_go() -> None:
    """They removed the claim's and the volume's finalizers under a pod that runs."""
    async with local_cluster(1) as local:
        await local.apply(claim(), pod("first", "node-1", "pet"))
        await until_phase(local, "first", "Running")
        (volume,) = (await local.client.list("PersistentVolume")).items
        for kind, name, namespace in (
            ("PersistentVolumeClaim", "data", "default"), ("PersistentVolume", volume["metadata"]["name"], ""),
        ):  # fmt: skip
            await local.client.delete(kind, name, namespace)
            await local.client.patch(kind, name, namespace, body={"metadata": {"finalizers": None}})
        await local.client.delete("Pod", "first", "default")

        async def is_let_go() -> bool:
            status = (await local.client.get("Node", "node-1"))["status"]
            return not (status.get("volumesAttached") or (await local.client.list("VolumeAttachment")).items)

        await local.until("the disk is let go", is_let_go)


async def test_an_ephemeral_volume_lives_and_dies_with_its_pod() -> None:
    async with local_cluster(1) as local:
        owner = pod("first", "node-1", "pet")
        owner["spec"]["volumes"] = [{"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": claim()["spec"]}}}]
        await local.apply(owner)
        await until_phase(local, "first", "Running")
        assert await local.attachments() == ["first-data: node-1"]
        await local.client.delete("Pod", "first", "default")

        async def is_gone() -> bool:
            return not (await local.client.list("PersistentVolumeClaim", "default")).items

        await local.until("the claim is gone", is_gone)


async def test_a_pod_that_was_put_on_the_wrong_node_does_not_get_its_local_disk() -> None:
    """`spec.nodeName` goes past the scheduler, but not past the kubelet."""
    local_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "local"},
        "provisioner": "rancher.io/local-path",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    async with local_cluster(2) as local:
        data = claim()
        data["spec"]["storageClassName"] = "local"
        stray = pod("stray", "node-2", "pet")
        stray["spec"]["nodeName"] = "node-2"
        await local.apply(local_class, data, pod("first", "node-1", "pet"))
        await until_phase(local, "first", "Running")
        await local.apply(stray)

        async def is_said() -> bool:
            texts = [text for _, text in await local.events("stray")]
            return any(text.endswith(" : no matching NodeSelectorTerms") for text in texts)

        await local.until("the event", is_said)
        assert (await local.pods())["stray"]["status"]["phase"] == "Pending"

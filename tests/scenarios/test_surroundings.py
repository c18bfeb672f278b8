"""What stands around workloads: the scheduler's reasons, the garbage collector's chains, what every namespace has."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from petset.cluster.api.objects import Object, name_of, owner_references, uid_of
from petset.cluster.errors import NotFound
from tests.apis import manifest_pod
from tests.local import Local, local_cluster
from tests.scenarios.workloads import manifest_deployment, replica_sets, rolled_out

pytestmark = pytest.mark.looptime

HOSTNAME = "kubernetes.io/hostname"
NOBODY = [{"labelSelector": {"matchLabels": {"app": "nobody"}}, "topologyKey": HOSTNAME}]
ANYBODY = [{"labelSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}, "topologyKey": HOSTNAME}]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def container(**settings: Any) -> list[Object]:
    return [{"name": "main", "image": "nginx:1", **settings}]


REASONS: list[tuple[str, dict[str, Any], str]] = [
    ("resources", {"containers": container(resources={"requests": {"cpu": "10k"}})}, "3 Insufficient cpu"),
    ("host-port", {"containers": container(ports=[{"containerPort": 80, "hostPort": 80}])},
     "3 node(s) didn't have free ports for the requested pod ports"),
    ("node-selector", {"nodeSelector": {"disk": "ssd"}}, "3 node(s) didn't match Pod's node affinity/selector"),
    ("pod-affinity", {"affinity": {"podAffinity": {REQUIRED: NOBODY}}},
     "3 node(s) didn't match pod affinity rules"),
    ("pod-anti-affinity", {"affinity": {"podAntiAffinity": {REQUIRED: ANYBODY}}},
     "3 node(s) didn't match pod anti-affinity rules"),
    ("topology-spread", {"topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule",
         "labelSelector": {"matchLabels": {"app": "late"}}}]},
     "3 node(s) didn't match pod topology spread constraints (missing required label)"),
    ("missing-claim", {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]},
     'persistentvolumeclaim "data" not found'),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "reason"), [pytest.param(*row[1:], id=row[0]) for row in REASONS])
async def test_a_pod_that_fits_nowhere_says_why(spec: dict[str, Any], reason: str) -> None:
    async with local_cluster() as local:
        busy = container(ports=[{"containerPort": 80, "hostPort": 80}])
        for number in range(3):
            await local.apply(manifest_pod(f"busy-{number}", containers=busy))
        await local.ready("busy-0", "busy-1", "busy-2")
        await local.apply(manifest_pod("late", **spec))
        assert (await _refusal(local, "late")).startswith(f"0/3 nodes are available: {reason}. ")


async def test_taints_and_cordons_are_counted_apart() -> None:
    async with local_cluster() as local:
        taint = {"spec": {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}}
        await local.client.patch("Node", "node-1", body=taint)
        for node in ("node-2", "node-3"):
            await local.client.patch("Node", node, body={"spec": {"unschedulable": True}})
        await asyncio.sleep(1)
        await local.apply(manifest_pod("late"))
        expected = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) were unschedulable. "
        assert (await _refusal(local, "late")).startswith(expected)
        await local.client.patch("Node", "node-2", body={"spec": {"unschedulable": None}})
        assert (await local.ready("late"))["late"]["spec"]["nodeName"] == "node-2"


async def _refusal(local: Local, pod: str) -> str:
    async def said() -> list[str]:
        return [message for reason, message in await local.events(pod) if reason == "FailedScheduling"]

    found = await local.until(f"{pod} cannot be scheduled", said)
    return str(found[-1])


async def test_replicas_are_spread_over_the_nodes() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment(replicas=6))
        await rolled_out(local)
        nodes = [pod["spec"]["nodeName"] for pod in (await local.pods()).values()]
        assert sorted(nodes) == sorted(["node-1", "node-2", "node-3"] * 2)


def config_map(name: str, *owners: Object, uid: str = "") -> Object:
    """A ConfigMap owned by others; with a uid, by a ConfigMap of that uid that does not exist."""
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": name_of(each), "uid": uid_of(each)} for each in owners
    ]
    if uid:
        references.append({"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": uid})
    meta = {"name": name, "namespace": "default", "ownerReferences": references}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


async def test_an_object_with_several_owners_stays_for_the_last() -> None:
    async with local_cluster() as local:
        first, second = [await local.client.create(config_map(name)) for name in ("first", "second")]
        await local.client.create(config_map("shared", first, second))
        await local.client.delete("ConfigMap", "first", "default")
        await asyncio.sleep(10)
        shared = await local.client.get("ConfigMap", "shared", "default")
        assert [each["name"] for each in owner_references(shared)] == ["second"]
        await local.client.delete("ConfigMap", "second", "default")
        await asyncio.sleep(10)
        with pytest.raises(NotFound):
            await local.client.get("ConfigMap", "shared", "default")


async def test_an_object_whose_owner_never_was_is_collected() -> None:
    async with local_cluster() as local:
        await local.client.create(config_map("lost", uid="11111111-1111-4111-8111-111111111111"))
        await asyncio.sleep(10)
        with pytest.raises(NotFound):
            await local.client.get("ConfigMap", "lost", "default")


async def test_a_foreground_deletion_goes_from_the_leaves_to_the_root() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment())
        await rolled_out(local)
        order: list[str] = []

        async def follow(kind: str, revision: str) -> None:
            async with local.client.watch(kind, "default", revision=revision) as events:
                async for event in events:
                    if event.type == "DELETED":
                        order.append(kind)

        revision = (await local.client.list("Pod", "default")).revision
        watches = [asyncio.create_task(follow(kind, revision)) for kind in ("Deployment", "ReplicaSet", "Pod")]
        await local.client.delete("Deployment", "web", "default", options={"propagationPolicy": "Foreground"})
        terminating = (await local.client.get("Deployment", "web", "default"))["metadata"]
        assert "foregroundDeletion" in terminating["finalizers"]
        await asyncio.sleep(60)
        for watch in watches:
            watch.cancel()
        assert order == ["Pod", "Pod", "Pod", "ReplicaSet", "Deployment"]
        assert await replica_sets(local) == {}


async def test_every_namespace_has_its_account_and_its_certificate() -> None:
    async with local_cluster() as local:
        await local.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
        await asyncio.sleep(1)
        for kind, name in (("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")):
            first = await local.client.get(kind, name, "team")
            await local.client.delete(kind, name, "team")
            await asyncio.sleep(1)
            assert uid_of(await local.client.get(kind, name, "team")) != uid_of(first)

"""The Python clients of Kubernetes, unmodified: the official one, its dynamic form, kr8s and lightkube."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import kr8s.asyncio
import pytest
from kr8s.asyncio.objects import ConfigMap as Kr8sConfigMap
from kr8s.asyncio.objects import StatefulSet as Kr8sStatefulSet
from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException
from lightkube import Client as LightkubeClient
from lightkube import KubeConfig
from lightkube.core.exceptions import ApiError as LightkubeError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import StatefulSet
from lightkube.resources.core_v1 import ConfigMap
from lightkube.types import PatchType

from petset.cluster.clock import SystemClock
from tests.apis import manifest_stateful_set, new_api
from tests.wire.serving import Served, serving


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(await new_api(SystemClock()), tmp_path) as it:
        yield it


def kubeconfig(served: Served) -> str:
    return str(served.settings.folder.kubeconfig)


def official(path: str) -> client.ApiClient:
    configuration = client.Configuration()
    config.load_kube_config(path, client_configuration=configuration)
    return client.ApiClient(configuration)


def use_official(path: str) -> None:
    with official(path) as api_client:
        core, apps = client.CoreV1Api(api_client), client.AppsV1Api(api_client)
        apps.create_namespaced_stateful_set("default", manifest_stateful_set())
        patched = apps.patch_namespaced_stateful_set("kubia", "default", {"spec": {"replicas": 5}})
        assert patched.spec.replicas == 5
        scale = apps.patch_namespaced_stateful_set_scale("kubia", "default", {"spec": {"replicas": 1}})
        assert scale.spec.replicas == 1
        operation = [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]
        apps.patch_namespaced_stateful_set("kubia", "default", operation)
        found = apps.list_namespaced_stateful_set("default", label_selector="a=b").items
        assert [each.metadata.name for each in found] == ["kubia"]
        stale = apps.read_namespaced_stateful_set("kubia", "default")
        stale.metadata.resource_version = "1"
        with pytest.raises(ApiException) as caught:
            apps.replace_namespaced_stateful_set("kubia", "default", stale)
        assert (caught.value.status, caught.value.reason) == (409, "Conflict")
        core.create_namespaced_config_map("default", {"metadata": {"name": "a"}, "data": {"x": "1"}})
        revision = core.list_namespaced_config_map("default").metadata.resource_version
        core.patch_namespaced_config_map("a", "default", {"data": {"x": "2"}})
        core.delete_namespaced_config_map("a", "default")
        stream = watch.Watch()
        events = []
        for event in stream.stream(
            core.list_namespaced_config_map, "default", resource_version=revision, timeout_seconds=10
        ):
            events.append((event["type"], event["object"].data))
            if event["type"] == "DELETED":
                stream.stop()
        assert events == [("MODIFIED", {"x": "2"}), ("DELETED", {"x": "2"})]
        stream = watch.Watch()
        with pytest.raises(ApiException, match="Expired"):
            list(
                stream.stream(core.list_namespaced_config_map, "default", resource_version="999999", timeout_seconds=5)
            )


def use_dynamic(path: str) -> None:
    with official(path) as api_client:
        cluster = dynamic.DynamicClient(api_client)
        jobs = cluster.resources.get(api_version="batch/v1", kind="Job")
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}
        jobs.create(namespace="default", body={"metadata": {"name": "j"}, "spec": {"template": template}})
        body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "labels": {"a": "b"}}}
        applied = jobs.server_side_apply(namespace="default", body=body, field_manager="test")
        assert applied.metadata.labels["a"] == "b"
        assert [each.metadata.name for each in jobs.get(namespace="default").items] == ["j"]


@pytest.mark.parametrize("use", [use_official, use_dynamic], ids=["official", "dynamic"])
async def test_the_official_client(served: Served, use: Any) -> None:
    await asyncio.to_thread(use, kubeconfig(served))


async def use_kr8s(path: str) -> None:
    api = await kr8s.asyncio.api(kubeconfig=path)
    assert (await api.version())["major"] == "1"
    made = await Kr8sStatefulSet(manifest_stateful_set(), api=api)
    await made.create()
    await made.scale(5)
    assert made.replicas == 5
    await made.label(color="blue")
    found = [each async for each in api.get("statefulsets", label_selector={"color": "blue"})]
    assert [each.name for each in found] == ["kubia"]
    small = await Kr8sConfigMap({"metadata": {"name": "a", "namespace": "default"}, "data": {"x": "1"}}, api=api)
    await small.create()
    await small.patch({"data": {"x": "2"}})
    assert small.data.x == "2"
    await small.delete()
    assert not await small.exists()
    with pytest.raises(kr8s.NotFoundError):
        await Kr8sStatefulSet.get("none", namespace="default", api=api)


def use_lightkube(path: str) -> None:
    cluster = LightkubeClient(config=KubeConfig.from_file(path), field_manager="lightkube")
    cluster.create(StatefulSet.from_dict(manifest_stateful_set()), namespace="default")
    cluster.patch(StatefulSet.Scale, "kubia", {"spec": {"replicas": 4}}, namespace="default")
    assert cluster.get(StatefulSet, "kubia", namespace="default").spec.replicas == 4
    patched = cluster.patch(
        StatefulSet, "kubia", {"spec": {"replicas": 2}}, namespace="default", patch_type=PatchType.MERGE
    )
    assert patched.spec.replicas == 2
    small = ConfigMap(metadata=ObjectMeta(name="a", namespace="default"), data={"x": "1"})
    assert cluster.apply(small).data == {"x": "1"}
    with pytest.raises(LightkubeError, match='conflict with "lightkube"'):
        cluster.apply(
            ConfigMap(metadata=ObjectMeta(name="a", namespace="default"), data={"x": "2"}), field_manager="other"
        )
    events = cluster.watch(ConfigMap, namespace="default", fields={"metadata.name": "a"})
    assert next(iter(events))[0] == "ADDED"
    cluster.delete(ConfigMap, "a", namespace="default")
    assert [each.metadata.name for each in cluster.list(StatefulSet, namespace="default")] == ["kubia"]


# The clients of kr8s and lightkube cannot be closed: their sockets end with the garbage collector, which therefore runs
# here, where that is expected, and not in the middle of some other test.
leaves_sockets = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@leaves_sockets
async def test_kr8s(served: Served) -> None:
    await use_kr8s(kubeconfig(served))
    gc.collect()


@leaves_sockets
async def test_lightkube(served: Served) -> None:
    await asyncio.to_thread(use_lightkube, kubeconfig(served))
    gc.collect()

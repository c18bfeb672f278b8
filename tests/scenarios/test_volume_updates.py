"""Volumes while a pod runs: ConfigMaps and Secrets follow their objects, limits hold; hostPorts reach the machine."""

from __future__ import annotations

import asyncio

import pytest

from petset.cluster.api.cri import PortMapping, SandboxSpec
from petset.cluster.api.objects import Object, uid_of
from petset.cluster.errors import ApiError, Unavailable
from tests.local import Local, local_cluster

pytestmark = pytest.mark.looptime


def config(**data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}


def pod(*volumes: Object, ports: tuple[Object, ...] = ()) -> Object:
    spec = {"nodeName": "node-1", "containers": [{"name": "main", "image": "pet", "ports": list(ports)}]}
    metadata = {"name": "pet", "labels": {"mood": "calm"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, "volumes": list(volumes)}}


async def sandbox_of(local: Local) -> SandboxSpec:
    owner = (await local.pods())["pet"]
    return local.machines["node-1"].sandbox_specs[uid_of(owner)]


async def files(local: Local, volume: int = 0) -> dict[str, bytes]:
    return dict((await sandbox_of(local)).volumes[volume].files)


async def test_a_changed_config_map_reaches_the_running_pod() -> None:
    async with local_cluster(1) as local:
        labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
        await local.apply(config(a="1"))
        await local.apply(
            pod(
                {"name": "settings", "configMap": {"name": "settings"}},
                {"name": "about", "downwardAPI": {"items": [labels]}},
            )
        )
        await local.ready("pet")
        assert await files(local) == {"a": b"1"}
        await local.client.patch("ConfigMap", "settings", "default", body={"data": {"a": "2", "b": "3"}})
        await local.client.patch("Pod", "pet", "default", body={"metadata": {"labels": {"mood": "wild"}}})

        async def is_new() -> bool:
            return await files(local) == {"a": b"2", "b": b"3"}

        await local.until("the new files", is_new)
        assert await files(local, 1) == {"labels": b'mood="wild"'}
        assert (await local.pods())["pet"]["status"]["containerStatuses"][0]["restartCount"] == 0


@pytest.mark.parametrize(
    ("failures", "updates"),
    [
        pytest.param([], 0, id="not shown twice"),
        pytest.param([Unavailable("cut off")], 1, id="asked twice, nobody knows which files the machine took"),
    ],
)
async def test_files_that_came_with_the_sandbox_are_shown(failures: list[ApiError], updates: int) -> None:
    async with local_cluster(1) as local:
        machine = local.machines["node-1"]
        machine.failures["run_sandbox"] += failures
        await local.apply(config(a="1"), pod({"name": "v", "configMap": {"name": "settings"}}))
        await local.ready("pet")
        await asyncio.sleep(60)
        assert (machine.calls["update_volumes"], await files(local)) == (updates, {"a": b"1"})


async def test_an_optional_object_that_appears_later_is_shown() -> None:
    async with local_cluster(1) as local:
        await local.apply(pod({"name": "v", "configMap": {"name": "settings", "optional": True}}))
        await local.ready("pet")
        assert await files(local) == {}
        await local.apply(config(a="1"))

        async def is_there() -> bool:
            return await files(local) == {"a": b"1"}

        await local.until("the files", is_there)


async def test_a_removed_object_leaves_its_files_and_is_said_once() -> None:
    async with local_cluster(1) as local:
        await local.apply(config(a="1"), pod({"name": "v", "configMap": {"name": "settings"}}))
        await local.ready("pet")
        await local.client.delete("ConfigMap", "settings", "default")
        message = 'MountVolume.SetUp failed for volume "v" : configmap "settings" not found'

        async def is_said() -> bool:
            return ("FailedMount", message) in await local.events("pet")

        await local.until("the event", is_said)
        assert await files(local) == {"a": b"1"}


async def test_a_token_that_nobody_makes_is_waited_for() -> None:
    token = {"serviceAccountToken": {"path": "token"}}
    async with local_cluster(1) as local:
        await local.apply(pod({"name": "v", "projected": {"sources": [token]}}))

        async def is_said() -> bool:
            return any("failed to fetch token" in text for _, text in await local.events("pet"))

        await local.until("the event", is_said)


async def test_a_pod_whose_empty_dir_outgrows_its_limit_is_evicted() -> None:
    async with local_cluster(1) as local:
        await local.apply(pod({"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}))
        await local.ready("pet")
        local.machines["node-1"].stored["scratch"] = 1 << 20
        await asyncio.sleep(60)
        assert (await local.pods())["pet"]["status"]["phase"] == "Running"
        local.machines["node-1"].stored["scratch"] += 4096

        async def has_failed() -> Object | None:
            status = (await local.pods())["pet"]["status"]
            return status if status["phase"] == "Failed" else None

        status = await local.until("the pod's end", has_failed)
        message = 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". '
        assert (status["reason"], status["message"]) == ("Evicted", message)
        assert ("Evicted", message) in await local.events("pet")


async def test_host_ports_are_the_sandboxes() -> None:
    ports = ({"containerPort": 80, "hostPort": 8080}, {"containerPort": 53, "hostPort": 53, "protocol": "UDP"})
    async with local_cluster(1) as local:
        await local.apply(pod(ports=(*ports, {"containerPort": 9090})))
        await local.ready("pet")
        assert (await sandbox_of(local)).ports == (PortMapping("TCP", 8080, 80), PortMapping("UDP", 53, 53))

from __future__ import annotations

import asyncio

import pytest

from petset.cluster.api.objects import Object, uid_of
from petset.cluster.api.schema import load_schemas
from petset.cluster.apiserver.api import make_api
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.apiserver.service_account_tokens import TokenIssuer
from petset.cluster.clock import LoopClock
from petset.cluster.errors import Unavailable
from petset.cluster.kubelet.sources import SourceCache
from petset.cluster.kubelet.volumes import VolumeNotReady
from petset.cluster.names import seeded_names
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.store.memory import MemoryBackend
from tests.fakes.client import CuttableClient
from tests.unit.kubelet.builders import container, pod

pytestmark = pytest.mark.looptime

POD = pod(container(envFrom=[{"configMapRef": {"name": "settings"}}]))
SETTINGS: Object = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings", "namespace": "default"},
    "data": {"a": "1"},
}


@pytest.fixture
async def client() -> CuttableClient:
    clock = LoopClock()
    api = await make_api(
        MemoryBackend(), schemas=load_schemas(), clock=clock, names=seeded_names(1), addresses=loopback_plan(0),
        issuer=TokenIssuer(b"key", clock),
    )  # fmt: skip
    return CuttableClient(LoopbackClient(api))


async def test_an_answer_serves_for_a_second_and_absence_not_at_all(client: CuttableClient) -> None:
    cache = SourceCache(client, LoopClock())
    assert await cache.for_containers(POD) == {}
    await client.create(SETTINGS)
    assert ("ConfigMap", "settings") in await cache.for_containers(POD)
    await cache.for_containers(POD)
    assert len(client.reads) == 2
    await asyncio.sleep(1)
    await cache.for_containers(POD)
    assert len(client.reads) == 3


async def test_a_claim_that_took_the_place_of_another_is_seen_at_once(client: CuttableClient) -> None:
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, "volumeName": "pv-a"},
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    cache, wants = SourceCache(client, LoopClock()), pod(container(), volumes=volumes)
    bound = {"status": {"phase": "Bound"}}
    first = await client.create(claim)
    await client.patch("PersistentVolumeClaim", "data", "default", body=bound, subresource="status")
    assert (await cache.for_volumes(wants))["PersistentVolumeClaim", "data"]["metadata"]["uid"] == uid_of(first)
    await client.patch("PersistentVolumeClaim", "data", "default", body={"metadata": {"finalizers": None}})
    await client.delete("PersistentVolumeClaim", "data", "default")
    second = await client.create(claim)
    await client.patch("PersistentVolumeClaim", "data", "default", body=bound, subresource="status")
    assert (await cache.for_volumes(wants))["PersistentVolumeClaim", "data"]["metadata"]["uid"] == uid_of(second)


async def test_the_last_known_answer_serves_while_nobody_answers(client: CuttableClient) -> None:
    await client.create(SETTINGS)
    cache = SourceCache(client, LoopClock())
    known = await cache.for_containers(POD)
    client.cut()
    await asyncio.sleep(3600)
    assert await cache.for_containers(POD) == known
    with pytest.raises(Unavailable):
        await SourceCache(client, LoopClock()).for_containers(POD)


async def test_unknown_services_are_none(client: CuttableClient) -> None:
    assert [each["metadata"]["name"] for each in await SourceCache(client, LoopClock()).services("default")] == [
        "kubernetes"
    ]
    client.cut()
    assert await SourceCache(client, LoopClock()).services("default") == []


async def test_a_token_that_is_refused_is_said_of_the_volume(client: CuttableClient) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    await client.create(account)
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 5}}
    hasty = pod(container(), volumes=[{"name": "hasty", "projected": {"sources": [token]}}])
    with pytest.raises(VolumeNotReady, match="failed to fetch token: .*less than 10 minutes"):
        await SourceCache(client, LoopClock()).for_volumes(hasty)

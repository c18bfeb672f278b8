"""What every cluster has from the start, and what a restart does to it."""

from __future__ import annotations

from petset.cluster.api.schema import load_schemas
from petset.cluster.apiserver.api import Api, make_api
from petset.cluster.apiserver.options import WriteOptions
from petset.cluster.names import seeded_names
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.store.backend import Backend
from petset.cluster.store.memory import MemoryBackend
from tests.apis import SetClock, manifest_service


async def start(backend: Backend, slot: int = 0) -> Api:
    return await make_api(
        backend, schemas=load_schemas(), clock=SetClock(), names=seeded_names(1), addresses=loopback_plan(slot)
    )


def cluster_ips(backend: Backend) -> dict[str, str]:
    return {each["metadata"]["name"]: each["spec"]["clusterIP"] for each in backend.objects("services")}


async def test_a_new_cluster() -> None:
    backend = MemoryBackend()
    await start(backend)
    namespaces = [each["metadata"]["name"] for each in backend.objects("namespaces")]
    assert namespaces == ["default", "kube-node-lease", "kube-public", "kube-system"]
    assert cluster_ips(backend) == {"kubernetes": "127.128.0.1", "kube-dns": "127.128.0.10"}
    assert [each["metadata"]["name"] for each in backend.objects("storageclasses.storage.k8s.io")] == ["standard"]


async def test_a_restart_changes_nothing() -> None:
    backend = MemoryBackend()
    await start(backend)
    revision = backend.revision
    await start(backend)
    assert backend.revision == revision


async def test_another_slot_gives_new_addresses() -> None:
    backend = MemoryBackend()
    api = await start(backend)
    for name, spec in (("kubia", {"clusterIP": "None"}), ("web", {})):
        kind = api.registry.of_kind("Service")
        await api.verbs.create(kind, "default", manifest_service(name, **spec), WriteOptions())
    await start(backend, slot=7)
    assert cluster_ips(backend) == {
        "kubernetes": "127.135.0.1",
        "kube-dns": "127.135.0.10",
        "kubia": "None",
        "web": "127.135.0.16",
    }

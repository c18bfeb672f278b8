"""An API over a memory backend, and manifests to feed it: the fixture behind tests of what the API promises."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from petset.cluster.api.kinds import Kind
from petset.cluster.api.schema import load_schemas
from petset.cluster.apiserver.api import Api, make_api
from petset.cluster.apiserver.options import WriteOptions
from petset.cluster.clock import Clock
from petset.cluster.names import seeded_names
from petset.cluster.network.addresses import AddressPlan, loopback_plan
from petset.cluster.store.backend import Backend
from petset.cluster.store.memory import MemoryBackend

WRITE = WriteOptions()


class SetClock:
    """A clock that stands still until it is set."""

    def __init__(self, seconds: float = 1_767_225_600.0) -> None:  # 2026-01-01T00:00:00Z
        self.seconds = seconds

    def now(self) -> float:
        return self.seconds


async def new_api(
    clock: Clock | None = None, *, slot: int = 0, addresses: AddressPlan | None = None, backend: Backend | None = None
) -> Api:
    """A fresh API with the objects that every cluster has, its addresses those of a loopback slot or as given."""
    return await make_api(
        backend or MemoryBackend(),
        schemas=load_schemas(),
        clock=clock or SetClock(),
        names=seeded_names(1),
        addresses=addresses or loopback_plan(slot),
    )


def kind(api: Api, name: str) -> Kind:
    """A kind by its name, such as `Pod`."""
    return api.registry.of_kind(name)


async def create(api: Api, manifest: dict[str, Any], namespace: str = "default", options: WriteOptions = WRITE) -> Any:
    """The object as it was stored."""
    return (await api.verbs.create(kind(api, manifest["kind"]), namespace, manifest, options)).object


async def patch(api: Api, kind_name: str, name: str, body: Any, patch_type: str = "merge", **options: Any) -> Any:
    """The object of the default namespace, patched."""
    answer = await api.verbs.patch(
        kind(api, kind_name), "default", name, body=body, patch_type=patch_type, options=WRITE, **options
    )
    return answer.object


def manifest_pod(name: str = "a", **spec: Any) -> dict[str, Any]:
    """A pod as a user would write it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "luksa/kubia"}], **spec},
    }


def manifest_stateful_set(name: str = "kubia", **spec: Any) -> dict[str, Any]:
    """The seeds' StatefulSet, with changes to its spec."""
    template = {
        "metadata": {"labels": {"app": "kubia"}},
        "spec": {
            "containers": [
                {
                    "name": "kubia",
                    "image": "luksa/kubia-pet",
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "volumeMounts": [{"name": "data", "mountPath": "/var/data"}],
                }
            ]
        },
    }
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "resources": {"requests": {"storage": "1Mi"}},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "serviceName": "kubia",
            "replicas": 2,
            "selector": {"matchLabels": {"app": "kubia"}},
            "template": template,
            "volumeClaimTemplates": [claim],
            **spec,
        },
    }


def manifest_service(name: str = "kubia", **spec: Any) -> dict[str, Any]:
    """A Service that selects the seeds' pods."""
    ports = [{"name": "http", "port": 80}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": "kubia"}, "ports": ports, **spec},
    }


def causes(details: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """(field, message) of each cause of an Invalid."""
    return [(cause["field"], cause["message"]) for cause in details["causes"]]

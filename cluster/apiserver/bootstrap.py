"""What every cluster has from its first moment: system namespaces, the two system services, a default class."""

from __future__ import annotations

from petset.cluster.api.kinds import Registry
from petset.cluster.api.objects import Object
from petset.cluster.apiserver.options import WriteOptions
from petset.cluster.apiserver.verbs import Verbs
from petset.cluster.errors import AlreadyExists
from petset.cluster.network.addresses import AddressPlan

DEFAULT_CLASS = "standard"
DISK_PROVISIONER = "petset.dev/disk"

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


async def bootstrap(verbs: Verbs, addresses: AddressPlan) -> None:
    """Create what is missing; what is there (after a restart) stays as users left it."""
    registry = Registry()
    for obj in [*_namespaces(), *_services(addresses), _storage_class()]:
        kind = registry.of_kind(obj["kind"])
        try:
            await verbs.create(kind, obj["metadata"].get("namespace", ""), obj, WriteOptions())
        except AlreadyExists:
            continue


def _namespaces() -> list[Object]:
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in _NAMESPACES]


def _services(addresses: AddressPlan) -> list[Object]:
    """`kubernetes` has no selector: it stands for the API server itself, whatever process that is."""
    dns_ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
    ]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "kubernetes",
                "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "clusterIP": addresses.api_address,
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "kube-dns",
                "namespace": "kube-system",
                "labels": {
                    "k8s-app": "kube-dns",
                    "kubernetes.io/cluster-service": "true",
                    "kubernetes.io/name": "CoreDNS",
                },
            },
            "spec": {"clusterIP": addresses.dns_address, "ports": dns_ports},
        },
    ]


def _storage_class() -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": DEFAULT_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": DISK_PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }

"""What every cluster has from its first moment: system namespaces, the two system services, a default class."""

from __future__ import annotations

from petset.cluster.api.objects import Object, fresh_copy
from petset.cluster.apiserver.options import WriteOptions
from petset.cluster.apiserver.service_addresses import ServiceAddresses
from petset.cluster.apiserver.verbs import Verbs
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.store.backend import StoreKey

DEFAULT_CLASS = "standard"
DISK_PROVISIONER = "petset.dev/disk"

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


async def bootstrap(verbs: Verbs, addresses: AddressPlan, service_addresses: ServiceAddresses) -> None:
    """Create what is missing; after a restart users find everything as they left it, but for addresses out of range."""
    for obj in [*_namespaces(), kubernetes_service(addresses), _dns_service(addresses), _storage_class()]:
        kind = verbs.registry.of_kind(obj["kind"])
        namespace = obj["metadata"].get("namespace", "")
        if verbs.backend.get(StoreKey(kind.resource, namespace, obj["metadata"]["name"])) is None:
            await verbs.create(kind, namespace, obj, WriteOptions())
    await _move_services(verbs, addresses, service_addresses)


async def _move_services(verbs: Verbs, addresses: AddressPlan, service_addresses: ServiceAddresses) -> None:
    """A cluster that comes up again in another slot has another service range: give addresses outside it anew."""
    fixed = {("default", "kubernetes"): addresses.api_address, ("kube-system", "kube-dns"): addresses.dns_address}
    kind = verbs.registry.of_kind("Service")
    for service in service_addresses.out_of_range():
        moved = fresh_copy(service)
        key = (service["metadata"]["namespace"], service["metadata"]["name"])
        moved["spec"]["clusterIP"] = fixed.get(key) or service_addresses.next_free()
        moved["spec"]["clusterIPs"] = [moved["spec"]["clusterIP"]]
        await verbs.replace(kind, service, moved)


def _namespaces() -> list[Object]:
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in _NAMESPACES]


def kubernetes_service(addresses: AddressPlan) -> Object:
    """Without a selector: it stands for the API server itself, whatever process that is."""
    return {
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
    }


def _dns_service(addresses: AddressPlan) -> Object:
    dns_ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
    ]
    return {
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
    }


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

"""The endpoints of the cluster's own services, which the API server writes at its start: itself and cluster DNS.

    kubernetes   default       where this API server listens
    kube-dns     kube-system   where the DNS server listens: the cluster IP itself, so no proxy stands in between

Both forms, as kube-apiserver's endpoint reconciler writes them (pkg/controlplane/reconcilers): an EndpointSlice that
no controller manages, and Endpoints that ask not to be mirrored. A restart on another port replaces both.

What a user deletes of `kubernetes` (`kubectl delete svc --all` takes it along), the service itself included, is there
again within ten seconds, as in Kubernetes (pkg/controlplane/controller/kubernetesservice). `kube-dns` is nobody's but
the administrator's there, and comes back with the next start here.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NoReturn

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.bootstrap import kubernetes_service
from petset.cluster.control.client import Client
from petset.cluster.errors import ApiError, NotFound
from petset.cluster.network.addresses import AddressPlan

KEEP_SECONDS = 10.0
"""kube-apiserver's --endpoint-reconcile interval (DefaultEndpointReconcilerInterval)."""

_log = logging.getLogger(__name__)


async def keep_own_service(client: Client, addresses: AddressPlan, endpoint: tuple[str, int]) -> NoReturn:
    """Have the `kubernetes` service and its endpoints whole again every `KEEP_SECONDS`, until cancelled."""
    wanted = kubernetes_service(addresses)
    while True:
        await asyncio.sleep(KEEP_SECONDS)
        try:
            await _put_if_missing(client, wanted)
            await publish_own_endpoints(client, *endpoint)
        except ApiError as error:  # a user writes at the same moment, or holds the address: the next round tries again
            _log.warning("the kubernetes service is not as it should be: %s", error)


async def _put_if_missing(client: Client, wanted: Object) -> None:
    try:
        await client.get(wanted["kind"], wanted["metadata"]["name"], wanted["metadata"]["namespace"])
    except NotFound:
        await client.create(wanted)


async def publish_own_endpoints(client: Client, address: str, port: int) -> None:
    """Make the `kubernetes` service lead to `address`:`port`."""
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    await _publish(client, namespace="default", name="kubernetes", address=address, ports=ports)


async def publish_dns_endpoints(client: Client, address: str, port: int) -> None:
    """Make the `kube-dns` service lead to `address`:`port`."""
    ports = [
        {"name": "dns", "port": port, "protocol": "UDP"},
        {"name": "dns-tcp", "port": port, "protocol": "TCP"},
    ]
    await _publish(client, namespace="kube-system", name="kube-dns", address=address, ports=ports)


async def _publish(client: Client, *, namespace: str, name: str, address: str, ports: list[Object]) -> None:
    await _put(
        client,
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": ports,
        },
    )
    skips_mirror = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    await _put(
        client,
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": name, "namespace": namespace, "labels": skips_mirror},
            "subsets": [{"addresses": [{"ip": address}], "ports": ports}],
        },
    )


async def _put(client: Client, wanted: Object) -> None:
    try:
        present = await client.get(wanted["kind"], wanted["metadata"]["name"], wanted["metadata"]["namespace"])
    except NotFound:
        await client.create(wanted)
        return
    if any(present.get(field) != value for field, value in wanted.items() if field not in ("metadata", "kind")):
        await client.update({**present, **wanted, "metadata": {**present["metadata"], **wanted["metadata"]}})

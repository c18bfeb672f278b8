"""The endpoints of the cluster's own services, which the API server writes at its start: itself and cluster DNS.

    kubernetes   default       where this API server listens
    kube-dns     kube-system   where the DNS server listens: the cluster IP itself, so no proxy stands in between

Both forms, as kube-apiserver's endpoint reconciler writes them (pkg/controlplane/reconcilers): an EndpointSlice that
no controller manages, and Endpoints that ask not to be mirrored. A restart on another port replaces both.
"""

from __future__ import annotations

from petset.cluster.api.objects import Object
from petset.cluster.control.client import Client
from petset.cluster.errors import NotFound


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

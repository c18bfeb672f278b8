"""The endpoints of the `kubernetes` service: where this API server listens, written by itself at its start.

Both forms, as kube-apiserver's endpoint reconciler writes them (pkg/controlplane/reconcilers): an EndpointSlice that
no controller manages, and Endpoints that ask not to be mirrored. A restart on another port replaces both.
"""

from __future__ import annotations

from petset.cluster.api.objects import Object
from petset.cluster.control.client import Client
from petset.cluster.errors import NotFound

_NAME = "kubernetes"
_NAMESPACE = "default"


async def publish_own_endpoints(client: Client, address: str, port: int) -> None:
    """Make the `kubernetes` service lead to `address`:`port`."""
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    await _put(
        client,
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": _metadata({"kubernetes.io/service-name": _NAME}),
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": ports,
        },
    )
    await _put(
        client,
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": _metadata({"endpointslice.kubernetes.io/skip-mirror": "true"}),
            "subsets": [{"addresses": [{"ip": address}], "ports": ports}],
        },
    )


def _metadata(labels: dict[str, str]) -> Object:
    return {"name": _NAME, "namespace": _NAMESPACE, "labels": labels}


async def _put(client: Client, wanted: Object) -> None:
    try:
        present = await client.get(wanted["kind"], _NAME, _NAMESPACE)
    except NotFound:
        await client.create(wanted)
        return
    if any(present.get(field) != value for field, value in wanted.items() if field not in ("metadata", "kind")):
        await client.update({**present, **wanted, "metadata": {**present["metadata"], **wanted["metadata"]}})

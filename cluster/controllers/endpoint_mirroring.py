"""Mirroring: hand-made Endpoints of a Service without a selector, as EndpointSlices that DNS and proxies read.

    Endpoints db (v1, legacy)  addresses, notReadyAddresses, ports  ──▶  EndpointSlice db-x7k2p (discovery.k8s.io/v1)

One slice per subset with different ports; it belongs to the Endpoints object and goes with it. Not mirrored: Endpoints
of a Service with a selector (the endpoints controllers' own), with the label `endpointslice.kubernetes.io/skip-mirror:
"true"`, or with a leader election's annotation. Rules: kube-controller-manager's endpointslicemirroring.

Left out: IPv6, and slices of more than MAX_MIRRORED addresses (the rest of a subset is not mirrored).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from petset.cluster.api.objects import (
    Object,
    annotations_of,
    controller_reference,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, Create, Delete, Outcome, Update, Write
from petset.cluster.controllers.endpoints import MANAGED_BY, SERVICE_NAME

MIRROR_MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
MAX_MIRRORED = 1000
"""Addresses of one subset (the controller's `--mirroring-max-endpoints-per-subset`)."""


def plan_mirrored_slices(key: Key, snapshot: Snapshot, now: float) -> Outcome:
    """Bring the mirrored slices of an Endpoints object in line with it."""
    existing = [each for each in snapshot.objects("EndpointSlice", key[0]) if _is_mirror_of(each, key[1])]
    endpoints = snapshot.get("Endpoints", *key)
    if endpoints is None or not _is_mirrored(endpoints, snapshot.get("Service", *key)):
        return Outcome(tuple(_delete(each) for each in existing)) if existing else NOTHING
    return Outcome(tuple(_writes(endpoints, existing)))


def _is_mirrored(endpoints: Object, service: Object | None) -> bool:
    if service is None or service["spec"].get("selector") or is_terminating(endpoints):
        return False
    return labels_of(endpoints).get(SKIP_MIRROR) != "true" and LEADER not in annotations_of(endpoints)


def _is_mirror_of(candidate: Object, name: str) -> bool:
    labels = labels_of(candidate)
    return labels.get(SERVICE_NAME) == name and labels.get(MANAGED_BY) == MIRROR_MANAGER


def _writes(endpoints: Object, existing: list[Object]) -> Iterator[Write]:
    """Creates and updates first, deletions last: no reader sees fewer endpoints than there are."""
    spare = list(existing)
    for subset in endpoints.get("subsets") or ():
        ports, entries = _ports(subset), list(_entries(subset))[:MAX_MIRRORED]
        if not entries:
            continue
        fields = {"addressType": "IPv4", "endpoints": entries, "ports": ports}
        own = next((each for each in spare if each.get("ports") == ports), None)
        if own is None:
            yield Create({**_frame(endpoints), **fields})
            continue
        spare.remove(own)
        wanted = {**own, **fields, "metadata": {**own["metadata"], "labels": _labels(endpoints)}}
        if wanted != own:
            yield Update(wanted)
    yield from (_delete(each) for each in spare)


def _entries(subset: Object) -> Iterator[Object]:
    for field, is_ready in (("addresses", True), ("notReadyAddresses", False)):
        for address in subset.get(field) or ():
            if ":" in address["ip"]:
                continue
            kept = {name: address[name] for name in ("hostname", "nodeName", "targetRef") if address.get(name)}
            yield {"addresses": [address["ip"]], "conditions": {"ready": is_ready}, **kept}


def _ports(subset: Object) -> list[Object]:
    return [
        {"name": port.get("name", ""), "port": port["port"], "protocol": port.get("protocol", "TCP")}
        | ({"appProtocol": port["appProtocol"]} if port.get("appProtocol") else {})
        for port in subset.get("ports") or ()
    ]


def _labels(endpoints: Object) -> dict[str, str]:
    return labels_of(endpoints) | {SERVICE_NAME: name_of(endpoints), MANAGED_BY: MIRROR_MANAGER}


def _frame(endpoints: Object) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{name_of(endpoints)}-",
            "namespace": namespace_of(endpoints),
            "labels": _labels(endpoints),
            "ownerReferences": [controller_reference(endpoints)],
        },
    }


def _delete(each: Object) -> Delete:
    return Delete("EndpointSlice", namespace_of(each), name_of(each), uid=uid_of(each))


def _itself(obj: Object, snapshot: Snapshot) -> Iterable[Key]:
    """A Service and its Endpoints have the same key."""
    yield key_of(obj)


def _endpoints_of_slice(each: Object, snapshot: Snapshot) -> Iterable[Key]:
    labels = labels_of(each)
    if labels.get(MANAGED_BY) == MIRROR_MANAGER and SERVICE_NAME in labels:
        yield namespace_of(each), labels[SERVICE_NAME]


CONTROLLER = Controller(
    component="endpoint-slice-mirroring-controller",
    triggers={"Endpoints": _itself, "Service": _itself, "EndpointSlice": _endpoints_of_slice},
    plan=plan_mirrored_slices,
)

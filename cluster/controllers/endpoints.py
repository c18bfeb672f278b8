"""Endpoints: which addresses stand behind a Service that has a selector.

    Service + selected pods ──▶ EndpointSlices (discovery.k8s.io/v1)   what DNS and proxies read
                            └─▶ Endpoints (v1), the legacy object      what old clients read

Slices are grouped by the ports that the pods resolve to, hold at most MAX_ENDPOINTS each, and are found again by
their labels, never by name. A sync changes as few of them as it can: endpoints stay in the slice that has them, new
ones fill free places, and a slice that lost all of its own is reused before another one is created or it is deleted.
A Service whose selector finds nobody keeps one empty slice as placeholder. Rules: statefulset.md section 5.

A pod is an endpoint from the moment it has an address until it has ended; `ready` is what readers act upon:

    serving = Ready condition      terminating = deletionTimestamp      ready = serving and not terminating
    publishNotReadyAddresses makes every one of them ready

Left out: IPv6, topology hints, the last-change annotation, the 1000-address limit of Endpoints, and the mirroring of
hand-made Endpoints into slices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from petset.cluster.api.objects import (
    Object,
    condition_is_true,
    controller_reference,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from petset.cluster.api.selectors import selector_of_labels
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, Create, Delete, Outcome, Update, Write

MAX_ENDPOINTS = 100
"""Endpoints in one slice (the controller's `--max-endpoints-per-slice`)."""

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
SLICE_MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
ENDPOINTS_MANAGED_BY = "endpoints.kubernetes.io/managed-by"
ENDPOINTS_MANAGER = "endpoint-controller"
ZONE = "topology.kubernetes.io/zone"


class Port(NamedTuple):
    """A port as one pod resolves it; sorts by name."""

    name: str
    protocol: str
    number: int
    app_protocol: str


Ports = tuple[Port, ...]


def plan_slices(key: Key, snapshot: Snapshot, now: float) -> Outcome:
    """Bring a Service's managed slices in line with its pods. A pod on an unknown node is tried again later."""
    service = snapshot.get("Service", *key)
    if service is None or is_terminating(service) or not _is_managed(service):
        return NOTHING
    groups, missing = _wanted_endpoints(service, snapshot)
    existing = [each for each in snapshot.objects("EndpointSlice", key[0]) if _is_slice_of(each, key[1])]
    error = f"skipping pods of {key[0]}/{key[1]}: node {', '.join(missing)} not found" if missing else ""
    return Outcome(tuple(_slice_writes(service, groups, existing)), error=error)


def plan_endpoints(key: Key, snapshot: Snapshot, now: float) -> Outcome:
    """Bring the Endpoints object of a Service in line with its pods; it goes with its Service."""
    service, present = snapshot.get("Service", *key), snapshot.get("Endpoints", *key)
    if service is None:
        return Outcome((Delete("Endpoints", *key, uid=uid_of(present)),)) if present else NOTHING
    if is_terminating(service) or not _is_managed(service):
        return NOTHING
    wanted: Object = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": key[1],
            "namespace": key[0],
            "labels": _labels(service) | {ENDPOINTS_MANAGED_BY: ENDPOINTS_MANAGER},
        },
    }
    if subsets := _subsets(service, snapshot):
        wanted["subsets"] = subsets
    if present is None:
        return Outcome((Create(wanted, exists_ok=True),))
    if labels_of(present) == labels_of(wanted) and (present.get("subsets") or []) == subsets:
        return NOTHING
    return Outcome((Update(wanted | {"metadata": {**present["metadata"], "labels": labels_of(wanted)}}),))


def _is_managed(service: Object) -> bool:
    """Without a selector, or for an external name, endpoints are the user's own."""
    spec = service["spec"]
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def _is_slice_of(candidate: Object, service_name: str) -> bool:
    labels = labels_of(candidate)
    return labels.get(SERVICE_NAME) == service_name and labels.get(MANAGED_BY) == SLICE_MANAGER


def _labels(service: Object) -> dict[str, str]:
    labels = {key: value for key, value in labels_of(service).items() if key not in (SERVICE_NAME, HEADLESS)}
    if service["spec"].get("clusterIP", "") in ("", "None"):
        labels[HEADLESS] = ""
    return labels


def _selected_pods(service: Object, snapshot: Snapshot) -> list[Object]:
    """Pods that are addressable: selected, with an address, and not at their end."""
    selector = selector_of_labels(service["spec"].get("selector"))
    return [
        pod
        for pod in snapshot.objects("Pod", namespace_of(service))
        if selector.selects(pod) and _address(pod) and not _has_ended(pod)
    ]


def _has_ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _address(pod: Object) -> str:
    return str((pod.get("status") or {}).get("podIP") or "")


def _publishes_not_ready(service: Object) -> bool:
    return bool(service["spec"].get("publishNotReadyAddresses"))


def _ports(service: Object, pod: Object) -> Ports:
    """The Service's ports as numbers on this pod; a named port that the pod lacks is left out for it."""
    resolved = []
    for port in service["spec"].get("ports") or ():
        protocol = port.get("protocol", "TCP")
        number = _target_port(port, pod, protocol)
        if number is not None:
            resolved.append(Port(port.get("name", ""), protocol, number, port.get("appProtocol", "")))
    return tuple(sorted(resolved))


def _target_port(port: Object, pod: Object, protocol: str) -> int | None:
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    sidecars = [each for each in pod["spec"].get("initContainers") or () if each.get("restartPolicy") == "Always"]
    for container in [*pod["spec"]["containers"], *sidecars]:
        for offered in container.get("ports") or ():
            if offered.get("name") == target and offered.get("protocol", "TCP") == protocol:
                return int(offered["containerPort"])
    return None


def _wanted_endpoints(service: Object, snapshot: Snapshot) -> tuple[dict[Ports, list[Object]], list[str]]:
    """Endpoints by their ports, and the names of nodes that are not there (their pods are left out)."""
    groups: dict[Ports, list[Object]] = defaultdict(list)
    missing = set()
    for pod in _selected_pods(service, snapshot):
        node_name = pod["spec"].get("nodeName", "")
        node = snapshot.get("Node", "", node_name)
        if node is None and not _publishes_not_ready(service):
            missing.add(node_name)
            continue
        groups[_ports(service, pod)].append(_endpoint(service, pod, node))
    return dict(sorted(groups.items())), sorted(missing)


def _endpoint(service: Object, pod: Object, node: Object | None) -> Object:
    serving, terminating = condition_is_true(pod, "Ready"), is_terminating(pod)
    endpoint: Object = {
        "addresses": [_address(pod)],
        "conditions": {
            "ready": _publishes_not_ready(service) or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": _reference(pod),
    }
    if pod["spec"].get("nodeName"):
        endpoint["nodeName"] = pod["spec"]["nodeName"]
    if hostname := _hostname(service, pod):
        endpoint["hostname"] = hostname
    if zone := labels_of(node).get(ZONE) if node else None:
        endpoint["zone"] = zone
    return endpoint


def _reference(pod: Object) -> Object:
    return {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod)}


def _hostname(service: Object, pod: Object) -> str:
    """Only the Service that the pod calls its subdomain gives it a name."""
    spec = pod["spec"]
    return str(spec.get("hostname") or "") if spec.get("subdomain") == name_of(service) else ""


def _slice_writes(service: Object, groups: dict[Ports, list[Object]], existing: list[Object]) -> list[Write]:
    """Creates and updates first, deletions last, so that no reader sees fewer endpoints than there are."""
    filled: list[tuple[Object, Ports, list[Object]]] = []
    unplaced: list[tuple[Ports, list[Object]]] = []
    for ports, wanted in groups.items():
        own = [each for each in existing if _ports_of_slice(each) == ports]
        kept, rest = _fill(own, wanted)
        filled += [(each, ports, endpoints) for each, endpoints in kept if endpoints]
        unplaced += [(ports, rest[start : start + MAX_ENDPOINTS]) for start in range(0, len(rest), MAX_ENDPOINTS)]
    spare = [each for each in existing if not any(each is used for used, _, _ in filled)]
    if not filled and not unplaced:
        unplaced.append(((), []))
    writes: list[Write] = []
    for ports, endpoints in unplaced:
        if spare:
            filled.append((spare.pop(0), ports, endpoints))
        else:
            writes.append(Create(_new_slice(service, ports, endpoints)))
    for used, ports, endpoints in filled:
        wanted_slice = _rewritten(service, used, ports, endpoints)
        if wanted_slice != _comparable(used):
            writes.append(Update(wanted_slice))
    gone = [Delete("EndpointSlice", namespace_of(each), name_of(each), uid=uid_of(each)) for each in spare]
    return [*writes, *gone]


def _fill(slices: list[Object], wanted: list[Object]) -> tuple[list[tuple[Object, list[Object]]], list[Object]]:
    """Each slice with the endpoints it keeps and those that fill it up; and the endpoints that found no place."""
    by_pod = {each["targetRef"]["uid"]: each for each in wanted}
    kept: list[tuple[Object, list[Object]]] = []
    for each in slices:
        uids = [(endpoint.get("targetRef") or {}).get("uid") for endpoint in each.get("endpoints") or ()]
        kept.append((each, [by_pod.pop(uid) for uid in uids if uid in by_pod]))
    rest = list(by_pod.values())
    # The fullest slices are filled first: those that end up empty can go.
    for _, endpoints in sorted(kept, key=lambda pair: -len(pair[1])):
        if endpoints:
            room = MAX_ENDPOINTS - len(endpoints)
            endpoints += rest[:room]
            rest = rest[room:]
    return kept, rest


def _ports_of_slice(each: Object) -> Ports:
    return tuple(
        sorted(
            Port(port.get("name", ""), port.get("protocol", "TCP"), port.get("port", 0), port.get("appProtocol", ""))
            for port in each.get("ports") or ()
        )
    )


def _slice_ports(ports: Ports) -> list[Object]:
    return [
        {"name": port.name, "port": port.number, "protocol": port.protocol}
        | ({"appProtocol": port.app_protocol} if port.app_protocol else {})
        for port in ports
    ]


def _slice_labels(service: Object) -> dict[str, str]:
    return _labels(service) | {SERVICE_NAME: name_of(service), MANAGED_BY: SLICE_MANAGER}


def _new_slice(service: Object, ports: Ports, endpoints: list[Object]) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{name_of(service)}-",
            "namespace": namespace_of(service),
            "labels": _slice_labels(service),
            "ownerReferences": [controller_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": _slice_ports(ports),
    }


def _rewritten(service: Object, old: Object, ports: Ports, endpoints: list[Object]) -> Object:
    owned = {"labels": _slice_labels(service), "ownerReferences": [controller_reference(service)]}
    content = {"endpoints": endpoints, "ports": _slice_ports(ports)}
    return {**old, "metadata": {**old["metadata"], **owned}, **content}


def _comparable(old: Object) -> Object:
    """A slice with its ports and lists in the order and shape that this controller writes."""
    return {**old, "endpoints": old.get("endpoints") or [], "ports": _slice_ports(_ports_of_slice(old))}


def _subsets(service: Object, snapshot: Snapshot) -> list[Object]:
    """One subset per distinct port list; terminating pods are left out unless unready ones are published."""
    publishes = _publishes_not_ready(service)
    groups: dict[Ports, tuple[list[Object], list[Object]]] = defaultdict(lambda: ([], []))
    for pod in _selected_pods(service, snapshot):
        if is_terminating(pod) and not publishes:
            continue
        ports = _ports(service, pod)
        if not ports and service["spec"].get("ports"):
            continue
        ready = publishes or condition_is_true(pod, "Ready")
        groups[ports][0 if ready else 1].append(_legacy_address(service, pod))
    return [_subset(ports, *groups[ports]) for ports in sorted(groups)]


def _subset(ports: Ports, ready: list[Object], not_ready: list[Object]) -> Object:
    subset: Object = {}
    if ready:
        subset["addresses"] = sorted(ready, key=lambda each: str(each["ip"]))
    if not_ready:
        subset["notReadyAddresses"] = sorted(not_ready, key=lambda each: str(each["ip"]))
    if ports:
        subset["ports"] = [
            {key: value for key, value in port.items() if key != "name" or value} for port in _slice_ports(ports)
        ]
    return subset


def _legacy_address(service: Object, pod: Object) -> Object:
    address = {"ip": _address(pod), "targetRef": _reference(pod)}
    if hostname := _hostname(service, pod):
        address["hostname"] = hostname
    if pod["spec"].get("nodeName"):
        address["nodeName"] = pod["spec"]["nodeName"]
    return address


def _itself(service: Object, snapshot: Snapshot) -> Iterable[Key]:
    yield key_of(service)


def _services_of_pod(pod: Object, snapshot: Snapshot) -> Iterable[Key]:
    labels = labels_of(pod)
    for service in snapshot.objects("Service", namespace_of(pod)):
        if selector_of_labels(service["spec"].get("selector")).matches(labels):
            yield key_of(service)


def _service_of_slice(each: Object, snapshot: Snapshot) -> Iterable[Key]:
    labels = labels_of(each)
    if labels.get(MANAGED_BY) == SLICE_MANAGER and SERVICE_NAME in labels:
        yield namespace_of(each), labels[SERVICE_NAME]


def _service_of_endpoints(endpoints: Object, snapshot: Snapshot) -> Iterable[Key]:
    """A hand-made object wakes nobody: it may be older than the Service it is meant for."""
    if labels_of(endpoints).get(ENDPOINTS_MANAGED_BY) == ENDPOINTS_MANAGER:
        yield key_of(endpoints)


SLICES = Controller(
    component="endpoint-slice-controller",
    triggers={"Service": _itself, "Pod": _services_of_pod, "EndpointSlice": _service_of_slice},
    plan=plan_slices,
    reads=("Node",),
)

ENDPOINTS = Controller(
    component="endpoint-controller",
    triggers={"Service": _itself, "Pod": _services_of_pod, "Endpoints": _service_of_endpoints},
    plan=plan_endpoints,
)

CONTROLLERS = (SLICES, ENDPOINTS)

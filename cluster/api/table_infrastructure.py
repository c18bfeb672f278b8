"""The tables of what pods stand on: nodes, services and their endpoints, volumes, claims and classes.

Rules of pkg/printers/internalversion/printers.go (1.34), as the API server applies them: always in wide form.
"""

from __future__ import annotations

from typing import Any

from petset.cluster.api.objects import Object, annotations_of, condition, is_terminating, labels_of, name_of
from petset.cluster.api.table_cells import (
    NONE,
    UNKNOWN,
    UNSET,
    access_modes_text,
    age,
    endpoints_text,
    field,
    first_text,
    labels_text,
    quantity_text,
    service_ports_text,
)
from petset.cluster.api.table_columns import AGE, NAME, SELECTOR, Table, column, wide
from petset.cluster.api.volumes import IS_DEFAULT_CLASS, class_of

_ROLE_PREFIX = "node-role.kubernetes.io/"


def _node(obj: Object, now: float) -> list[Any]:
    ready = condition(obj, "Ready")
    status = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    addresses = {each.get("type"): each.get("address") for each in reversed(field(obj, "status.addresses", ()))}
    return [
        name_of(obj),
        status + (",SchedulingDisabled" if field(obj, "spec.unschedulable") else ""),
        _roles(obj),
        age(obj, now),
        field(obj, "status.nodeInfo.kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        field(obj, "status.nodeInfo.osImage") or UNKNOWN,
        field(obj, "status.nodeInfo.kernelVersion") or UNKNOWN,
        field(obj, "status.nodeInfo.containerRuntimeVersion") or UNKNOWN,
    ]


def _roles(node: Object) -> str:
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels_of(node) if key.startswith(_ROLE_PREFIX)}
    roles.add(labels_of(node).get("kubernetes.io/role", ""))
    return ",".join(sorted(roles - {""})) or NONE


def _service(obj: Object, now: float) -> list[Any]:
    cluster_ips = field(obj, "spec.clusterIPs") or [field(obj, "spec.clusterIP")]
    return [
        name_of(obj),
        field(obj, "spec.type", ""),
        cluster_ips[0] or NONE,
        _external_address(obj),
        service_ports_text(field(obj, "spec.ports", ())),
        age(obj, now),
        labels_text(field(obj, "spec.selector")),
    ]


def _external_address(service: Object) -> str:
    external = [str(each) for each in field(service, "spec.externalIPs", ())]
    match field(service, "spec.type"):
        case "ClusterIP" | "NodePort":
            return ",".join(external) or NONE
        case "LoadBalancer":
            ingress = field(service, "status.loadBalancer.ingress", ())
            addresses = sorted({str(each.get("ip") or each.get("hostname") or "") for each in ingress} - {""})
            return ",".join([*addresses, *external]) or "<pending>"
        case "ExternalName":
            return str(field(service, "spec.externalName", ""))
    return UNKNOWN


def _endpoints(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), endpoints_text(obj.get("subsets") or ()), age(obj, now)]


def _endpoint_slice(obj: Object, now: float) -> list[Any]:
    ports = [str(port.get("port") or port.get("name") or "*") for port in obj.get("ports") or ()]
    addresses = [str(address) for each in obj.get("endpoints") or () for address in each.get("addresses") or ()]
    return [name_of(obj), obj.get("addressType", ""), first_text(ports), first_text(addresses), age(obj, now)]


def _volume(obj: Object, now: float) -> list[Any]:
    claim = field(obj, "spec.claimRef")
    return [
        name_of(obj),
        quantity_text(field(obj, "spec.capacity", {}), "storage"),
        access_modes_text(field(obj, "spec.accessModes", ())),
        field(obj, "spec.persistentVolumeReclaimPolicy", ""),
        "Terminating" if is_terminating(obj) else field(obj, "status.phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class_text(obj),
        field(obj, "spec.volumeAttributesClassName", UNSET),
        field(obj, "status.reason", ""),
        age(obj, now),
        field(obj, "spec.volumeMode", UNSET),
    ]


def _claim(obj: Object, now: float) -> list[Any]:
    volume = field(obj, "spec.volumeName", "")
    return [
        name_of(obj),
        "Terminating" if is_terminating(obj) else field(obj, "status.phase", ""),
        volume,
        quantity_text(field(obj, "status.capacity", {}), "storage") if volume else "",
        access_modes_text(field(obj, "status.accessModes", ())) if volume else "",
        _class_text(obj),
        field(obj, "spec.volumeAttributesClassName", UNSET),
        age(obj, now),
        field(obj, "spec.volumeMode", UNSET),
    ]


def _class_text(obj: Object) -> str:
    return class_of({**obj, "spec": obj.get("spec") or {}}) or ""


def _component_status(obj: Object, now: float) -> list[Any]:
    healthy = condition({"status": obj}, "Healthy") or {}  # it has no status: it is one
    status = {"True": "Healthy", "False": "Unhealthy"}.get(healthy.get("status", ""), "Unknown")
    return [name_of(obj), status, healthy.get("message", ""), healthy.get("error", "")]


def _storage_class(obj: Object, now: float) -> list[Any]:
    default = annotations_of(obj).get(IS_DEFAULT_CLASS) == "true"
    return [
        name_of(obj) + (" (default)" if default else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or "Immediate",
        bool(obj.get("allowVolumeExpansion")),
        age(obj, now),
    ]


_ATTRIBUTES_CLASS = column("VolumeAttributesClass", "The class of the volume's changeable attributes.")
_VOLUME_MODE = wide("VolumeMode", "Whether the volume has a file system.")
_ACCESS_MODES = column("Access Modes", "How the volume can be mounted.")

INFRASTRUCTURE: dict[str, Table] = {
    "Node": Table(
        (
            NAME,
            column("Status", "The status of the node."),
            column("Roles", "The roles of the node."),
            AGE,
            column("Version", "The kubelet's version."),
            wide("Internal-IP", "The node's address in the cluster."),
            wide("External-IP", "The node's address outside of the cluster."),
            wide("OS-Image", "The node's operating system."),
            wide("Kernel-Version", "The node's kernel."),
            wide("Container-Runtime", "The node's container runtime."),
        ),
        _node,
    ),
    "Service": Table(
        (
            NAME,
            column("Type", "How the service is exposed."),
            column("Cluster-IP", "The service's virtual address."),
            column("External-IP", "Addresses outside of the cluster."),
            column("Port(s)", "Port, node port and protocol of each port."),
            AGE,
            SELECTOR,
        ),
        _service,
    ),
    "Endpoints": Table((NAME, column("Endpoints", "Addresses and ports of ready pods."), AGE), _endpoints),
    "EndpointSlice": Table(
        (
            NAME,
            column("AddressType", "IPv4, IPv6 or FQDN."),
            column("Ports", "The ports of each endpoint."),
            column("Endpoints", "The addresses."),
            AGE,
        ),
        _endpoint_slice,
    ),
    "PersistentVolume": Table(
        (
            NAME,
            column("Capacity", "The volume's size."),
            _ACCESS_MODES,
            column("Reclaim Policy", "What happens to the volume when its claim is gone."),
            column("Status", "The volume's phase."),
            column("Claim", "The claim that the volume is bound to."),
            column("StorageClass", "The volume's storage class."),
            _ATTRIBUTES_CLASS,
            column("Reason", "Why the volume is in a failed phase."),
            AGE,
            _VOLUME_MODE,
        ),
        _volume,
    ),
    "PersistentVolumeClaim": Table(
        (
            NAME,
            column("Status", "The claim's phase."),
            column("Volume", "The volume that the claim is bound to."),
            column("Capacity", "The bound volume's size."),
            _ACCESS_MODES,
            column("StorageClass", "The claim's storage class."),
            _ATTRIBUTES_CLASS,
            AGE,
            _VOLUME_MODE,
        ),
        _claim,
    ),
    "StorageClass": Table(
        (
            NAME,
            column("Provisioner", "Who makes volumes of this class."),
            column("ReclaimPolicy", "What happens to such a volume when its claim is gone."),
            column("VolumeBindingMode", "When claims are bound."),
            column("AllowVolumeExpansion", "Whether claims may grow."),
            AGE,
        ),
        _storage_class,
    ),
    "ComponentStatus": Table(
        (
            NAME,
            column("Status", "Whether the component is healthy."),
            column("Message", "What it says of itself."),
            column("Error", "What is wrong with it."),
        ),
        _component_status,
    ),
}

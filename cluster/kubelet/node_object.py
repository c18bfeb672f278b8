"""The Node and Lease objects by which a kubelet shows itself (pure; kubelet_node_status.go, nodestatus/setters.go)."""

from __future__ import annotations

from petset.cluster.api.objects import Object, condition, uid_of
from petset.cluster.api.times import format_micro_time, format_time, parse_time
from petset.cluster.kubelet.config import KubeletConfig, NodeIdentity

LEASE_NAMESPACE = "kube-node-lease"
RAY_NODE_LABEL = "petset.dev/ray-node"
"""Where the machine is, in a cluster of several Ray nodes."""
_HEALTHY = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}


def new_node(node: NodeIdentity, config: KubeletConfig, *, trouble: str, now: float) -> Object:
    """The Node with which a kubelet registers; `trouble` says why it is not Ready, "" that it is."""
    metadata: Object = {"name": node.name, "labels": node_labels(node)}
    spec: Object = {"providerID": node.provider_id}
    if node.pod_cidr:
        spec |= {"podCIDR": node.pod_cidr, "podCIDRs": [node.pod_cidr]}
    obj: Object = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}
    return obj | {"status": node_status(obj, node, config, trouble=trouble, now=now)}


def node_labels(node: NodeIdentity) -> dict[str, str]:
    return {
        "beta.kubernetes.io/arch": node.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": node.architecture,
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        **node.labels,
    }


def label_changes(node: NodeIdentity) -> dict[str, str | None]:
    """What a Node of an earlier kubelet needs; None takes away what this one does not say (updateDefaultLabels)."""
    return {RAY_NODE_LABEL: None, **node_labels(node)}


def node_status(present: Object, node: NodeIdentity, config: KubeletConfig, *, trouble: str, now: float) -> Object:
    """The status of a Node; what others wrote into the present one (further conditions, attached volumes) stays."""
    old = present.get("status") or {}
    ready = _condition(
        present, "Ready",
        true=not trouble,
        reason="KubeletNotReady" if trouble else "KubeletReady",
        message=trouble or "kubelet is posting ready status",
        now=now,
    )  # fmt: skip
    own = [
        *(
            _condition(present, type_, true=False, reason=reason, message=message, now=now)
            for type_, (reason, message) in _HEALTHY.items()
        ),
        ready,
    ]
    names = {each["type"] for each in own}
    return {
        **old,
        "addresses": [
            {"type": "InternalIP", "address": node.address},
            {"type": "Hostname", "address": node.name},
        ],
        "capacity": node.capacity,
        "allocatable": node.capacity,
        "conditions": [each for each in old.get("conditions") or () if each["type"] not in names] + own,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.kubelet_port}},
        "nodeInfo": _node_info(node, config),
    }


def must_report(present: Object, wanted: Object, config: KubeletConfig, now: float) -> bool:
    """Whether a status must be written: something but the heartbeats changed, or the last report is old.

    Others may have written the conditions: nothing but their types is sure to be there.
    """
    old = present.get("status") or {}
    if _without_heartbeats(old) != _without_heartbeats(wanted):
        return True
    reported_at = (condition(present, "Ready") or {}).get("lastHeartbeatTime")
    return reported_at is None or now >= parse_time(reported_at) + config.status_report_seconds


def new_lease(node: NodeIdentity, config: KubeletConfig, *, owner: Object | None, now: float) -> Object:
    """The node's Lease; it goes with its Node when that is known."""
    metadata: Object = {"name": node.name, "namespace": LEASE_NAMESPACE}
    if owner is not None:
        reference = {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": uid_of(owner)}
        metadata["ownerReferences"] = [reference]
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {
            "holderIdentity": node.name,
            "leaseDurationSeconds": config.lease_seconds,
            "renewTime": format_micro_time(now),
        },
    }


def _condition(present: Object, type_: str, *, true: bool, reason: str, message: str, now: float) -> Object:
    status, old = "True" if true else "False", condition(present, type_) or {}
    moved_at = old.get("lastTransitionTime") if old.get("status") == status else None
    return {
        "type": type_,
        "status": status,
        "lastHeartbeatTime": format_time(now),
        "lastTransitionTime": moved_at or format_time(now),
        "reason": reason,
        "message": message,
    }


def _without_heartbeats(status: Object) -> Object:
    conditions = [
        {key: value for key, value in each.items() if key != "lastHeartbeatTime"}
        for each in status.get("conditions") or ()
    ]
    return status | {"conditions": sorted(conditions, key=lambda each: str(each["type"]))}


def _node_info(node: NodeIdentity, config: KubeletConfig) -> Object:
    return {
        "architecture": node.architecture,
        "bootID": node.boot_id,
        "containerRuntimeVersion": "petset://1",
        "kernelVersion": node.kernel_version,
        "kubeProxyVersion": "",
        "kubeletVersion": config.kubelet_version,
        "machineID": node.machine_id,
        "operatingSystem": "linux",
        "osImage": "petset",
        "systemUUID": node.machine_id,
    }

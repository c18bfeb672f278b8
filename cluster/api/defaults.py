"""What Kubernetes fills in when a user leaves it out (the `SetDefaults_…` functions of each API group).

`fill_defaults(kind, obj)` completes an object in place: the caller hands in a copy of its own. Go clients send empty
structs for "unset" (`"strategy": {}`), so empty and absent count the same wherever a default exists. Defaults that
need to know other objects (cluster IPs, the default StorageClass) belong to admission (apiserver/admission.py). Pods'
defaults are in defaults_pods.py, those of kinds that are only kept in defaults_kept.py.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from petset.cluster.api.defaults_kept import KEPT
from petset.cluster.api.defaults_pods import fill_pod_spec, fill_template, set_default, struct_in
from petset.cluster.api.objects import Object


def fill_defaults(kind: str, obj: Object) -> None:
    """Complete an object of this kind; kinds without defaults stay as they are."""
    if fill := _FILLERS.get(kind):
        fill(obj)


def _fill_pod(pod: Object) -> None:
    spec = struct_in(pod, "spec")
    fill_pod_spec(spec)
    set_default(spec, "enableServiceLinks", True)


def _fill_service(service: Object) -> None:
    spec = service.setdefault("spec", {})
    set_default(spec, "type", "ClusterIP")
    set_default(spec, "sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 10800}})
    if spec["type"] != "ExternalName":
        set_default(spec, "internalTrafficPolicy", "Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        set_default(spec, "externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    for port in spec.get("ports") or ():
        set_default(port, "protocol", "TCP")
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port")


def _fill_stateful_set(stateful_set: Object) -> None:
    """Upstream fills `rollingUpdate` only when the strategy's type was left out (apps/v1 defaults.go)."""
    spec = stateful_set.setdefault("spec", {})
    set_default(spec, "podManagementPolicy", "OrderedReady")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = struct_in(spec, "updateStrategy")
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy["rollingUpdate"] = strategy.get("rollingUpdate") or {}
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        strategy["rollingUpdate"].setdefault("partition", 0)
    retention = struct_in(spec, "persistentVolumeClaimRetentionPolicy")
    set_default(retention, "whenDeleted", "Retain")
    set_default(retention, "whenScaled", "Retain")
    fill_template(spec)
    for claim in spec.get("volumeClaimTemplates") or ():
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
        _fill_claim(claim)


def _fill_replica_set(replica_set: Object) -> None:
    spec = replica_set.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    fill_template(spec)


def _fill_replication_controller(controller: Object) -> None:
    """The only kind whose selector and labels may be left out: the template's labels stand in for both."""
    spec = controller.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    if labels := ((spec.get("template") or {}).get("metadata") or {}).get("labels"):
        spec["selector"] = spec.get("selector") or dict(labels)
        controller["metadata"]["labels"] = controller["metadata"].get("labels") or dict(labels)
    fill_template(spec)


def _fill_deployment(deployment: Object) -> None:
    """A quarter of the pods may be missing and a quarter too many while a Deployment rolls."""
    spec = deployment.setdefault("spec", {})
    for name, value in (("replicas", 1), ("revisionHistoryLimit", 10), ("progressDeadlineSeconds", 600)):
        spec.setdefault(name, value)
    strategy = struct_in(spec, "strategy")
    set_default(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = struct_in(strategy, "rollingUpdate")
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    fill_template(spec)


def _fill_claim(claim: Object) -> None:
    set_default(claim.setdefault("spec", {}), "volumeMode", "Filesystem")
    claim["status"] = claim.get("status") or {"phase": "Pending"}


def _fill_volume_object(volume: Object) -> None:
    spec = volume.setdefault("spec", {})
    set_default(spec, "persistentVolumeReclaimPolicy", "Retain")
    set_default(spec, "volumeMode", "Filesystem")
    if "hostPath" in spec:
        spec["hostPath"].setdefault("type", "")
    volume["status"] = volume.get("status") or {"phase": "Pending"}


def _fill_storage_class(storage_class: Object) -> None:
    set_default(storage_class, "reclaimPolicy", "Delete")
    set_default(storage_class, "volumeBindingMode", "Immediate")


def _fill_namespace(namespace: Object) -> None:
    """The label is kept true to the name, as the API server does (NamespaceDefaultLabelName)."""
    meta = namespace["metadata"]
    if name := meta.get("name"):
        meta["labels"] = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": name}
    namespace["status"] = namespace.get("status") or {"phase": "Active"}


def _fill_secret(secret: Object) -> None:
    """`stringData` is write-only: it is merged into `data` and dropped."""
    set_default(secret, "type", "Opaque")
    if plain := secret.pop("stringData", None):
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
        secret["data"] = {**(secret.get("data") or {}), **encoded}


def _fill_endpoint_slice(endpoint_slice: Object) -> None:
    endpoint_slice.setdefault("endpoints", [])
    for port in endpoint_slice.get("ports") or ():
        port.setdefault("name", "")
        set_default(port, "protocol", "TCP")


def _fill_endpoints(endpoints: Object) -> None:
    for subset in endpoints.get("subsets") or ():
        for port in subset.get("ports") or ():
            set_default(port, "protocol", "TCP")


_FILLERS: dict[str, Callable[[Object], None]] = {
    "Pod": _fill_pod,
    "Service": _fill_service,
    "StatefulSet": _fill_stateful_set,
    "Deployment": _fill_deployment,
    "ReplicaSet": _fill_replica_set,
    "ReplicationController": _fill_replication_controller,
    "PersistentVolumeClaim": _fill_claim,
    "PersistentVolume": _fill_volume_object,
    "StorageClass": _fill_storage_class,
    "Namespace": _fill_namespace,
    "Secret": _fill_secret,
    "EndpointSlice": _fill_endpoint_slice,
    "Endpoints": _fill_endpoints,
    **KEPT,
}

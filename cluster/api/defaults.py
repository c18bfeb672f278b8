"""What Kubernetes fills in when a user leaves it out (the `SetDefaults_…` functions of each API group).

`fill_defaults(kind, obj)` completes an object in place: the caller hands in a copy of its own. Go clients send empty
structs for "unset" (`"strategy": {}`), so empty and absent count the same wherever a default exists. Defaults that
need to know other objects (cluster IPs, the default StorageClass) belong to admission (apiserver/admission.py).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from petset.cluster.api.objects import Object

DEFAULT_GRACE_SECONDS = 30


def fill_defaults(kind: str, obj: Object) -> None:
    """Complete an object of this kind; kinds without defaults stay as they are."""
    if fill := _FILLERS.get(kind):
        fill(obj)


def fill_pod_spec(spec: Object) -> None:
    """`SetDefaults_PodSpec` and the defaults of everything in it."""
    _default(spec, "restartPolicy", "Always")
    _default(spec, "dnsPolicy", "ClusterFirst")
    _default(spec, "terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    _default(spec, "schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        _fill_container(container, host_network=bool(spec.get("hostNetwork")))
    for volume in spec.get("volumes") or ():
        _fill_volume(volume)


def _fill_container(container: Object, *, host_network: bool) -> None:
    _default(container, "imagePullPolicy", _pull_policy(container.get("image", "")))
    _default(container, "terminationMessagePath", "/dev/termination-log")
    _default(container, "terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    requests, limits = (container["resources"].get(each) for each in ("requests", "limits"))
    if limits:
        container["resources"]["requests"] = {**limits, **(requests or {})}
    for port in container.get("ports") or ():
        _default(port, "protocol", "TCP")
        if host_network and port.get("containerPort"):
            _default(port, "hostPort", port["containerPort"])
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe := container.get(name):
            _fill_probe(probe)
    for hook in (container.get("lifecycle") or {}).values():
        _fill_http_get(hook or {})
    for variable in container.get("env") or ():
        if field := (variable.get("valueFrom") or {}).get("fieldRef"):
            _default(field, "apiVersion", "v1")


def _pull_policy(image: str) -> str:
    """`Always` for the tag `latest`, given or meant; `IfNotPresent` for any other tag or a digest."""
    name = image.rpartition("/")[2]
    if "@" in name:
        return "IfNotPresent"
    return "Always" if name.partition(":")[2] in ("", "latest") else "IfNotPresent"


def _fill_probe(probe: Object) -> None:
    for name, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        _default(probe, name, value)
    _fill_http_get(probe)
    if grpc := probe.get("grpc"):
        grpc.setdefault("service", "")


def _fill_http_get(handler: Object) -> None:
    if http := handler.get("httpGet"):
        _default(http, "path", "/")
        _default(http, "scheme", "HTTP")


def _fill_volume(volume: Object) -> None:
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}
    for source, mode_of in (("configMap", "defaultMode"), ("secret", "defaultMode"), ("projected", "defaultMode"),
                            ("downwardAPI", "defaultMode")):  # fmt: skip
        if volume.get(source) is not None:
            volume[source].setdefault(mode_of, 0o644)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")


def _fill_pod(pod: Object) -> None:
    spec = pod["spec"]
    fill_pod_spec(spec)
    _default(spec, "enableServiceLinks", True)


def _fill_service(service: Object) -> None:
    spec = service.setdefault("spec", {})
    _default(spec, "type", "ClusterIP")
    _default(spec, "sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 10800}})
    if spec["type"] != "ExternalName":
        _default(spec, "internalTrafficPolicy", "Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _default(spec, "externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    for port in spec.get("ports") or ():
        _default(port, "protocol", "TCP")
        _default(port, "targetPort", port.get("port"))


def _fill_stateful_set(stateful_set: Object) -> None:
    """Upstream fills `rollingUpdate` only when the strategy's type was left out (apps/v1 defaults.go)."""
    spec = stateful_set.setdefault("spec", {})
    _default(spec, "podManagementPolicy", "OrderedReady")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = _struct(spec, "updateStrategy")
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy["rollingUpdate"] = strategy.get("rollingUpdate") or {}
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        strategy["rollingUpdate"].setdefault("partition", 0)
    retention = _struct(spec, "persistentVolumeClaimRetentionPolicy")
    _default(retention, "whenDeleted", "Retain")
    _default(retention, "whenScaled", "Retain")
    _fill_template(spec)
    for claim in spec.get("volumeClaimTemplates") or ():
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
        _fill_claim(claim)


def _fill_replica_set(replica_set: Object) -> None:
    spec = replica_set.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _fill_template(spec)


def _fill_replication_controller(controller: Object) -> None:
    """The only kind whose selector and labels may be left out: the template's labels stand in for both."""
    spec = controller.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    if labels := ((spec.get("template") or {}).get("metadata") or {}).get("labels"):
        spec["selector"] = spec.get("selector") or dict(labels)
        controller["metadata"]["labels"] = controller["metadata"].get("labels") or dict(labels)
    _fill_template(spec)


def _fill_deployment(deployment: Object) -> None:
    """A quarter of the pods may be missing and a quarter too many while a Deployment rolls."""
    spec = deployment.setdefault("spec", {})
    for name, value in (("replicas", 1), ("revisionHistoryLimit", 10), ("progressDeadlineSeconds", 600)):
        spec.setdefault(name, value)
    strategy = _struct(spec, "strategy")
    _default(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = _struct(strategy, "rollingUpdate")
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    _fill_template(spec)


def _fill_template(spec: Object) -> None:
    if isinstance((spec.get("template") or {}).get("spec"), dict):
        fill_pod_spec(spec["template"]["spec"])


def _fill_claim(claim: Object) -> None:
    _default(claim.setdefault("spec", {}), "volumeMode", "Filesystem")
    claim["status"] = claim.get("status") or {"phase": "Pending"}


def _fill_volume_object(volume: Object) -> None:
    spec = volume.setdefault("spec", {})
    _default(spec, "persistentVolumeReclaimPolicy", "Retain")
    _default(spec, "volumeMode", "Filesystem")
    if "hostPath" in spec:
        spec["hostPath"].setdefault("type", "")
    volume["status"] = volume.get("status") or {"phase": "Pending"}


def _fill_storage_class(storage_class: Object) -> None:
    _default(storage_class, "reclaimPolicy", "Delete")
    _default(storage_class, "volumeBindingMode", "Immediate")


def _fill_namespace(namespace: Object) -> None:
    """The label is kept true to the name, as the API server does (NamespaceDefaultLabelName)."""
    meta = namespace["metadata"]
    if name := meta.get("name"):
        meta["labels"] = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": name}
    namespace["status"] = namespace.get("status") or {"phase": "Active"}


def _fill_secret(secret: Object) -> None:
    """`stringData` is write-only: it is merged into `data` and dropped."""
    _default(secret, "type", "Opaque")
    if plain := secret.pop("stringData", None):
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
        secret["data"] = {**(secret.get("data") or {}), **encoded}


def _fill_endpoint_slice(endpoint_slice: Object) -> None:
    endpoint_slice.setdefault("endpoints", [])
    for port in endpoint_slice.get("ports") or ():
        port.setdefault("name", "")
        _default(port, "protocol", "TCP")


def _fill_endpoints(endpoints: Object) -> None:
    for subset in endpoints.get("subsets") or ():
        for port in subset.get("ports") or ():
            _default(port, "protocol", "TCP")


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
}


def _default(obj: Object, name: str, value: Any) -> None:
    """Set a field that is absent or has Go's zero value for text (`""`)."""
    if obj.get(name) in (None, ""):
        obj[name] = value


def _struct(obj: Object, name: str) -> Object:
    """The struct in a field; a new one when it is absent."""
    found = obj.get(name)
    if not isinstance(found, dict):
        found = obj[name] = {}
    return found

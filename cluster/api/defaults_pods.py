"""The defaults of pods and pod templates, and of everything in them (core/v1 defaults.go). Pure; see defaults.py."""

from __future__ import annotations

from typing import Any

from petset.cluster.api.objects import Object

DEFAULT_GRACE_SECONDS = 30


def fill_pod_spec(spec: Object) -> None:
    """`SetDefaults_PodSpec` and the defaults of everything in it."""
    set_default(spec, "restartPolicy", "Always")
    set_default(spec, "dnsPolicy", "ClusterFirst")
    set_default(spec, "terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    set_default(spec, "schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            _fill_container(container, host_network=bool(spec.get("hostNetwork")))
    for volume in spec.get("volumes") or ():
        _fill_volume(volume)


def _fill_container(container: Object, *, host_network: bool) -> None:
    set_default(container, "imagePullPolicy", _pull_policy(container.get("image", "")))
    set_default(container, "terminationMessagePath", "/dev/termination-log")
    set_default(container, "terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    requests, limits = (container["resources"].get(each) for each in ("requests", "limits"))
    if limits:
        container["resources"]["requests"] = {**limits, **(requests or {})}
    for port in container.get("ports") or ():
        set_default(port, "protocol", "TCP")
        if host_network and port.get("containerPort"):
            set_default(port, "hostPort", port["containerPort"])
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe := container.get(name):
            _fill_probe(probe)
    for hook in (container.get("lifecycle") or {}).values():
        _fill_http_get(hook or {})
    for variable in container.get("env") or ():
        if field := (variable.get("valueFrom") or {}).get("fieldRef"):
            set_default(field, "apiVersion", "v1")


def _pull_policy(image: str) -> str:
    """`Always` for the tag `latest`, given or meant; `IfNotPresent` for any other tag or a digest."""
    name = image.rpartition("/")[2]
    if "@" in name:
        return "IfNotPresent"
    return "Always" if name.partition(":")[2] in ("", "latest") else "IfNotPresent"


def _fill_probe(probe: Object) -> None:
    for name, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        set_default(probe, name, value)
    _fill_http_get(probe)
    if grpc := probe.get("grpc"):
        grpc.setdefault("service", "")


def _fill_http_get(handler: Object) -> None:
    if http := handler.get("httpGet"):
        set_default(http, "path", "/")
        set_default(http, "scheme", "HTTP")


def _fill_volume(volume: Object) -> None:
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}
    for source, mode_of in (("configMap", "defaultMode"), ("secret", "defaultMode"), ("projected", "defaultMode"),
                            ("downwardAPI", "defaultMode")):  # fmt: skip
        if volume.get(source) is not None:
            volume[source].setdefault(mode_of, 0o644)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")


def fill_template(spec: Object) -> None:
    """The pod template in the spec of a set of pods, if there is one."""
    if isinstance((spec.get("template") or {}).get("spec"), dict):
        fill_pod_spec(spec["template"]["spec"])


def set_default(obj: Object, name: str, value: Any) -> None:
    """Set a field that is absent or has Go's zero value for text (`""`)."""
    if obj.get(name) in (None, ""):
        obj[name] = value


def struct_in(obj: Object, name: str) -> Object:
    """The struct in a field; a new one when it is absent."""
    found = obj.get(name)
    if not isinstance(found, dict):
        found = obj[name] = {}
    return found

"""Nodes and pods as the scheduler's tests need them."""

from __future__ import annotations

from typing import Any

from petset.cluster.api.objects import Object
from tests import builders

HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


def node(name: str = "node-1", *, cpu: str = "4", memory: str = "8Gi", pods: str = "110", zone: str = "",
         labels: dict[str, str] | None = None, **spec: Any) -> Object:  # fmt: skip
    found = {HOSTNAME: name} | ({ZONE: zone} if zone else {}) | (labels or {})
    made = builders.node(name, labels=found, spec=spec)
    made["status"]["allocatable"] = {"cpu": cpu, "memory": memory, "pods": pods}
    return made


def pod(name: str = "web-0", *, cpu: str = "", memory: str = "", port: int = 0, on: str = "", **spec: Any) -> Object:
    options = {key: spec.pop(key) for key in ("labels", "phase", "owner", "terminating", "namespace") if key in spec}
    requests = {resource: text for resource, text in (("cpu", cpu), ("memory", memory)) if text}
    container: Object = {"name": "main", "image": "web:1", "resources": {"requests": requests}}
    if port:
        container["ports"] = [{"containerPort": 80, "hostPort": port}]
    return builders.pod(name, node=on, spec={"containers": [container]} | spec, **options)


def taint(key: str = "dedicated", effect: str = "NoSchedule", value: str = "") -> Object:
    return {"key": key, "effect": effect} | ({"value": value} if value else {})


def pod_rule(which: str, key: str = HOSTNAME, app: str = "web", **term: Any) -> Object:
    """`affinity` with one required pod (anti-)affinity term."""
    rule = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}} | term
    return {which: {"requiredDuringSchedulingIgnoredDuringExecution": [rule]}}


def node_rule(key: str, operator: str, *values: str) -> Object:
    """`affinity` with one required node affinity term."""
    terms = [{"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def claim(name: str = "data", *, volume: str = "", phase: str = "Pending", class_name: str = "fast",
          storage: str = "1Gi", modes: tuple[str, ...] = ("ReadWriteOnce",), **meta: Any) -> Object:  # fmt: skip
    made = builders.claim(name, volume=volume, phase=phase, storage=storage, **meta)
    made["spec"] |= {"storageClassName": class_name, "accessModes": list(modes)}
    return made


def bound_claim(name: str = "data", volume: str = "pv-a", **options: Any) -> Object:
    done = {"pv.kubernetes.io/bind-completed": "yes"}
    return claim(name, volume=volume, phase="Bound", annotations=done, **options)


def volume(name: str = "pv-a", *, on: str = "", storage: str = "1Gi", phase: str = "Available", **spec: Any) -> Object:
    body = {"storageClassName": "fast", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": storage}} | spec
    if on:
        terms = [{"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [on]}]}]
        body["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    made = builders.metadata("PersistentVolume", name, namespace="")
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": made, "spec": body, "status": {"phase": phase}}


def storage_class(*, wait: bool = True, provisioner: str = "petset.dev/disk", **fields: Any) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": builders.metadata("StorageClass", "fast", namespace=""),
        "provisioner": provisioner,
        "volumeBindingMode": "WaitForFirstConsumer" if wait else "Immediate",
    } | fields


def uses(*claims: str) -> list[Object]:
    """A pod's `volumes`."""
    return [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]

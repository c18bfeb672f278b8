"""Builders of Kubernetes objects for tests: whole, valid and small; a test names only what it is about.

Every object is in namespace `default`, was created at EPOCH, and has the uid `uid-KIND-NAME` (kind in lower case)
unless told otherwise. Nothing is shared between two calls.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from petset.cluster.api.objects import Object, controller_reference
from petset.cluster.api.times import format_time

EPOCH = 1_767_225_600.0
"""2026-01-01T00:00:00Z in seconds: the time of everything that does not say otherwise."""

LABELS = {"app": "web"}


def metadata(
    kind: str, name: str, *, namespace: str = "default", uid: str | None = None,
    labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None,
    owner: Object | None = None, owners: Sequence[Object] = (), terminating: bool = False, created: float = EPOCH,
    finalizers: Sequence[str] = (),
) -> Object:  # fmt: skip
    """Metadata; `owner` is the controlling object, `owners` are further ownerReferences as they stand."""
    meta: Object = {
        "name": name,
        "uid": f"uid-{kind.lower()}-{name}" if uid is None else uid,
        "resourceVersion": "1",
        "creationTimestamp": format_time(created),
    }
    if namespace:
        meta["namespace"] = namespace
    references = ([controller_reference(owner)] if owner else []) + [dict(each) for each in owners]
    optional = {
        "labels": dict(labels or {}),
        "annotations": dict(annotations or {}),
        "ownerReferences": references,
        "finalizers": list(finalizers),
        "deletionTimestamp": format_time(created + 30) if terminating else "",
    }
    return meta | {key: value for key, value in optional.items() if value}


def pod(
    name: str = "web-0", *, phase: str = "", ready: bool = False, ready_since: float = EPOCH, node: str = "",
    labels: Mapping[str, str] | None = None, spec: Mapping[str, Any] | None = None, ip: str = "", **meta: Any,
) -> Object:  # fmt: skip
    """A pod with one container; `ready` implies phase Running and adds the Ready condition."""
    status: Object = {}
    if phase or ready:
        status["phase"] = phase or "Running"
        status["conditions"] = [
            {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": format_time(ready_since)}
        ]
    if ip:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    body: Object = {"containers": [{"name": "main", "image": "web:1"}]}
    if node:
        body["nodeName"] = node
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata("Pod", name, labels=LABELS if labels is None else labels, **meta),
        "spec": body | copy.deepcopy(dict(spec or {})),
        "status": status,
    }


def pod_template(image: str = "web:1", **spec: Any) -> Object:
    """A pod template with LABELS and one container."""
    return {
        "metadata": {"labels": dict(LABELS)},
        "spec": {"containers": [{"name": "main", "image": image}]} | copy.deepcopy(spec),
    }


def stateful_set(
    name: str = "web", *, replicas: int = 3, template: Object | None = None, claims: Sequence[str] = (),
    generation: int = 1, status: Mapping[str, Any] | None = None, spec: Mapping[str, Any] | None = None, **meta: Any,
) -> Object:  # fmt: skip
    """A StatefulSet as the API server stores it, defaults filled; `claims` names its volumeClaimTemplates."""
    body: Object = {
        "replicas": replicas,
        "serviceName": name,
        "selector": {"matchLabels": dict(LABELS)},
        "template": copy.deepcopy(template) if template else pod_template(),
        "podManagementPolicy": "OrderedReady",
        "revisionHistoryLimit": 10,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    }
    if claims:
        body["volumeClaimTemplates"] = [claim_template(each) for each in claims]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata("StatefulSet", name, labels=LABELS, **meta) | {"generation": generation},
        "spec": body | copy.deepcopy(dict(spec or {})),
        "status": copy.deepcopy(dict(status or {})),
    }


def claim_template(name: str = "data", storage: str = "1Gi") -> Object:
    """One entry of a StatefulSet's volumeClaimTemplates."""
    return {
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}},
    }


def claim(
    name: str = "data-web-0", *, phase: str = "Bound", storage: str = "1Gi", volume: str = "", **meta: Any
) -> Object:
    """A PersistentVolumeClaim of one access mode."""
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}
    if volume:
        spec["volumeName"] = volume
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata("PersistentVolumeClaim", name, **({"labels": LABELS} | meta)),
        "spec": spec,
        "status": {"phase": phase},
    }


def node(name: str = "node-1", *, ready: bool = True, spec: Mapping[str, Any] | None = None, **meta: Any) -> Object:
    """A node with its Ready condition."""
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": format_time(EPOCH)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata("Node", name, **({"namespace": ""} | meta)),
        "spec": copy.deepcopy(dict(spec or {})),
        "status": {"conditions": [condition]},
    }

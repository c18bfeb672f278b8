"""Builders of ReplicaSets and Deployments for the tables, in the manner of tests/builders.py."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from petset.cluster.api.objects import Object
from petset.cluster.controllers.deployment.sets import HASH_LABEL
from petset.cluster.controllers.deployment.view import DESIRED_REPLICAS, MAX_REPLICAS, REVISION
from tests.builders import LABELS, metadata, pod_template


def replica_set(
    name: str = "web", *, kind: str = "ReplicaSet", replicas: int = 3, spec: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None, generation: int = 1, **meta: Any,
) -> Object:  # fmt: skip
    """A ReplicaSet, or another selecting kind, as the API server stores it."""
    selector: Any = dict(LABELS) if kind == "ReplicationController" else {"matchLabels": dict(LABELS)}
    body: Object = {"replicas": replicas, "selector": selector, "template": pod_template()}
    return {
        "apiVersion": "v1" if kind == "ReplicationController" else "apps/v1",
        "kind": kind,
        "metadata": metadata(kind, name, **({"labels": LABELS} | meta)) | {"generation": generation},
        "spec": body | copy.deepcopy(dict(spec or {})),
        "status": copy.deepcopy(dict(status or {})),
    }


def deployment(
    *, replicas: int = 3, surge: int | str = "25%", unavailable: int | str = "25%", image: str = "web:1",
    spec: Mapping[str, Any] | None = None, status: Mapping[str, Any] | None = None, **meta: Any,
) -> Object:  # fmt: skip
    """The Deployment `web`, defaults filled."""
    body = {
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
        "template": pod_template(image),
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        **(spec or {}),
    }
    return replica_set("web", kind="Deployment", replicas=replicas, spec=body, status=status, **meta)


def set_of(
    owner: Object, image: str, replicas: int, *, revision: int = 1, actual: int | None = None,
    available: int | None = None, sized: tuple[int, int] | None = (3, 4), annotations: Mapping[str, str] | None = None,
    **meta: Any,
) -> Object:  # fmt: skip
    """The ReplicaSet `web-IMAGE` of a Deployment; `actual` and `available` are its status (all of them by default),
    `sized` what its annotations remember of the Deployment (desired, maximum)."""
    name = f"web-{image.replace(':', '-')}"
    labels = LABELS | {HASH_LABEL: image.replace(":", "-")}
    notes = {REVISION: str(revision), **(annotations or {})}
    if sized is not None:
        notes |= {DESIRED_REPLICAS: str(sized[0]), MAX_REPLICAS: str(sized[1])}
    there = replicas if actual is None else actual
    ready = there if available is None else available
    template = pod_template(image)
    template["metadata"]["labels"] = dict(labels)
    return replica_set(
        name,
        replicas=replicas,
        spec={"selector": {"matchLabels": dict(labels)}, "template": template},
        status={"replicas": there, "readyReplicas": ready, "availableReplicas": ready, "observedGeneration": 1},
        **({"labels": labels, "annotations": notes, "owner": owner} | meta),
    )

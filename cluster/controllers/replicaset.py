"""ReplicaSets and ReplicationControllers: so many pods of one template, whichever they are.

    pods of the namespace ─active─▶ claim ─▶ too few:  create, with a generated name
                                          └▶ too many: delete, the one that costs least first (pod_ranks.py)
                                    status: counts of the pods as the cache shows them

Pods have no identity here: a pod that terminates or has failed no longer counts, and another one takes its place at
once under another name. That is what a StatefulSet does differently. Both kinds follow one plan; a
ReplicationController has a plain map as its selector and events of another component.

Left out: the condition ReplicaFailure (a plan does not see what the server refused; the FailedCreate event says it)
and slow-start batches, which are left to whoever sends the writes. Rules: replica_set.go, replica_set_utils.go.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from functools import partial

from petset.cluster.api.objects import (
    Object,
    condition,
    controller_of,
    controller_reference,
    is_terminating,
    name_of,
    namespace_of,
    uid_of,
)
from petset.cluster.api.selectors import selector_of_labels, workload_selector
from petset.cluster.api.times import parse_time
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot
from petset.cluster.control.writes import NOTHING, Create, Delete, Outcome, Record, Update, Write
from petset.cluster.controllers.adoption import claim, itself, owners_of_kind
from petset.cluster.controllers.pod_ranks import is_active, pods_to_delete

BURST_REPLICAS = 500
"""At most so many pods are created or deleted in one sync."""

AVAILABLE_MARGIN_SECONDS = 0.001
"""A pod is available strictly after minReadySeconds: looking exactly then would be too early."""

ALWAYS_SHOWN = ("replicas",)
"""The status field that is present even when zero; the others are omitted then, as Go's omitempty does."""


def plan(key: Key, snapshot: Snapshot, now: float, *, kind: str) -> Outcome:
    """The writes that bring the ReplicaSet (or ReplicationController) of this key to its number of pods."""
    owner = snapshot.get(kind, *key)
    if owner is None:
        return NOTHING
    active = [pod for pod in snapshot.objects("Pod", namespace_of(owner)) if is_active(pod)]
    claimed = claim(owner, active, workload_selector(owner).selects)
    writes = list(claimed.writes)
    if not is_terminating(owner):
        writes += _manage(owner, claimed.members, snapshot, now)
    writes += _status_writes(owner, _new_status(owner, claimed.members, now))
    return Outcome(tuple(writes), _next_availability(owner, claimed.members, now))


def _manage(owner: Object, pods: Sequence[Object], snapshot: Snapshot, now: float) -> list[Write]:
    excess = len(pods) - int(owner["spec"].get("replicas", 1))
    if excess <= 0:
        return [_creation(owner) for _ in range(min(-excess, BURST_REPLICAS))]
    related = _related_pods(owner, snapshot)
    going = pods_to_delete(pods, min(excess, BURST_REPLICAS), related=related, now=now)
    return [_deletion(owner, pod) for pod in going]


def _creation(owner: Object) -> Create:
    return Create(
        _new_pod(owner),
        said=Record(owner, "Normal", "SuccessfulCreate", "Created pod: {name}"),
        failed=Record(owner, "Warning", "FailedCreate", "Error creating: {error}"),
    )


def _deletion(owner: Object, pod: Object) -> Delete:
    """With the pod's own grace period, and only if it is still this pod."""
    return Delete(
        "Pod", namespace_of(pod), name_of(pod), uid=uid_of(pod),
        said=Record(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}"),
        failed=Record(owner, "Warning", "FailedDelete", "Error deleting: {error}"),
    )  # fmt: skip


def _new_pod(owner: Object) -> Object:
    """A pod of the template whose name the server completes (GetPodFromTemplate)."""
    template = owner["spec"]["template"]
    given = template.get("metadata") or {}
    meta = {name: copy.deepcopy(given[name]) for name in ("labels", "annotations", "finalizers") if given.get(name)}
    meta |= {"generateName": f"{name_of(owner)}-", "namespace": namespace_of(owner)}
    meta["ownerReferences"] = [controller_reference(owner)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": copy.deepcopy(template["spec"])}


def _related_pods(owner: Object, snapshot: Snapshot) -> list[Object]:
    """The pods of all ReplicaSets under the same Deployment; none for an owner that nobody controls."""
    controller = controller_of(owner)
    if controller is None:
        return []
    pods = snapshot.objects("Pod", namespace_of(owner))
    selectors = [
        workload_selector(each)
        for each in snapshot.owned_by(owner["kind"], controller["uid"])
        if (controller_of(each) or {}).get("uid") == controller["uid"]
    ]
    return [pod for pod in pods if any(selector.selects(pod) for selector in selectors)]


def _new_status(owner: Object, pods: Iterable[Object], now: float) -> Object:
    """Counts of active pods; a pod that this sync creates is not counted yet. Conditions are carried over."""
    pods = list(pods)
    labels = ((owner["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    template = selector_of_labels(labels)
    ready_at = [_available_at(owner, pod) for pod in pods]
    wait = bool(owner["spec"].get("minReadySeconds"))
    status = {
        "observedGeneration": int(owner["metadata"].get("generation") or 0),
        "replicas": len(pods),
        "fullyLabeledReplicas": sum(not labels or template.selects(pod) for pod in pods),
        "readyReplicas": sum(time is not None for time in ready_at),
        "availableReplicas": sum(time is not None and (not wait or time < now) for time in ready_at),
        "conditions": (owner.get("status") or {}).get("conditions"),
    }
    return {name: value for name, value in status.items() if value or name in ALWAYS_SHOWN}


def _available_at(owner: Object, pod: Object) -> float | None:
    """When a ready pod has been ready for minReadySeconds (epoch seconds); None while it is not ready."""
    ready = condition(pod, "Ready")
    if ready is None or ready.get("status") != "True":
        return None
    wait = int(owner["spec"].get("minReadySeconds") or 0)
    since = ready.get("lastTransitionTime")
    if not since:
        return float("inf") if wait else 0.0
    return parse_time(since) + wait


def _next_availability(owner: Object, pods: Iterable[Object], now: float) -> float | None:
    """When the next ready pod will have been ready for minReadySeconds."""
    times = [_available_at(owner, pod) for pod in pods] if owner["spec"].get("minReadySeconds") else []
    coming = [time for time in times if time is not None and now <= time < float("inf")]
    return min(coming) + AVAILABLE_MARGIN_SECONDS if coming else None


def _status_writes(owner: Object, status: Object) -> list[Write]:
    """Nothing where the stored status says the same; also written after a failed sync."""
    if status == (owner.get("status") or {}):
        return []
    return [Update(owner | {"status": status}, subresource="status", always=True)]


def _controller(kind: str, component: str) -> Controller:
    return Controller(
        component=component,
        triggers={kind: itself, "Pod": owners_of_kind(kind)},
        plan=partial(plan, kind=kind),
        workers=5,
    )


CONTROLLERS = (
    _controller("ReplicaSet", "replicaset-controller"),
    _controller("ReplicationController", "replication-controller"),
)

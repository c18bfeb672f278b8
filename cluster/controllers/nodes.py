"""Nodes: who has fallen silent, what follows for its pods, and when they are given up.

    lease and heartbeats ──silence > grace──▶ conditions Unknown ──▶ taints ──▶ evictions after tolerationSeconds
                                          └─▶ its pods Ready=False (endpoints drop them)

Three controllers share the work and meet only through the API:

    node-controller             one key per node: conditions, pods' readiness, taints
    taint-eviction-controller   one key per pod: deletes it when a NoExecute taint outlasts its tolerations
    pod-garbage-collector       one key per pod: ends pods that no kubelet will ever end (pod_garbage.py)

Nobody kills a silent node's processes, so nobody may declare its pods dead: an evicted pod stays Terminating until
its kubelet returns, the Node object is deleted, or a user forces it. That is what keeps a StatefulSet's identity
unique (statefulset.md section 3, rules 1 to 8).

NoExecute taints are placed slowly, per zone: a controller that cannot see the nodes must not empty the cluster. The
rate follows from the newest `timeAdded` of the zone's own taints, so that a restart does not forget it. When not one
node of the whole cluster is ready, taints are removed and nobody is evicted: a single-node cluster never evicts.

Differences from Kubernetes: silence is measured from the lease's own time (one clock rules the cluster) and at the
earliest from `started_at`; the time of an eviction counts from the taint's `timeAdded`, which is carried over when
not-ready and unreachable change places and filled in where a user left it out; a cancelled eviction leaves no event.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

from petset.cluster.api.objects import Object, condition, labels_of, name_of, namespace_of, uid_of
from petset.cluster.api.taints import (
    DISK_PRESSURE,
    MEMORY_PRESSURE,
    NETWORK_UNAVAILABLE,
    NO_EXECUTE,
    NO_SCHEDULE,
    NOT_READY,
    PID_PRESSURE,
    UNREACHABLE,
    UNSCHEDULABLE,
    taints_of,
)
from petset.cluster.api.times import format_time, parse_time
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, Outcome, Patch, Record, Write
from petset.cluster.controllers.edits import patch_conditions
from petset.cluster.controllers.pod_garbage import pod_garbage_controller
from petset.cluster.controllers.taint_eviction import taint_eviction_controller

LEASE_NAMESPACE = "kube-node-lease"
ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"

STATUS_UNKNOWN = ("NodeStatusUnknown", "Kubelet stopped posting node status.")
NEVER_UPDATED = ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
WATCHED_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")

FEWEST_GRACE_SECONDS = 4.0
FEWEST_PERIOD_SECONDS = 0.5

_CONDITION_TAINTS = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): MEMORY_PRESSURE,
    ("DiskPressure", "True"): DISK_PRESSURE,
    ("PIDPressure", "True"): PID_PRESSURE,
    ("NetworkUnavailable", "True"): NETWORK_UNAVAILABLE,
}
_MANAGED_TAINTS = frozenset(
    {
        *((key, NO_SCHEDULE) for key in (*_CONDITION_TAINTS.values(), UNSCHEDULABLE)),
        (NOT_READY, NO_EXECUTE),
        (UNREACHABLE, NO_EXECUTE),
    }
)


@dataclass(frozen=True)
class NodeTimes:
    """The durations of kube-controller-manager's node options, with its defaults."""

    monitor_period_seconds: float = 5.0
    grace_seconds: float = 50.0
    startup_grace_seconds: float = 60.0
    taint_interval_seconds: float = 10.0
    """Between two NoExecute taints in one zone (`--node-eviction-rate` 0.1)."""
    disrupted_taint_interval_seconds: float = 100.0
    """The same in a zone that is partially disrupted and large (`--secondary-node-eviction-rate` 0.01)."""
    large_zone_nodes: int = 50
    """In a partially disrupted zone of at most this many nodes nothing is evicted."""
    disrupted_share: float = 0.55
    pod_garbage_period_seconds: float = 20.0
    orphan_quarantine_seconds: float = 40.0
    started_at: float = 0.0
    """Nobody is called silent for what happened before this time (epoch seconds): the cluster may have been down."""
    time_scale: float = 1.0
    """How much shorter all of these, and tolerationSeconds, are than Kubernetes'."""

    def at_scale(self, ratio: float) -> NodeTimes:
        """All durations divided by `ratio`. Silence is not judged sooner than a busy machine may cause it: the grace
        stays FEWEST_GRACE_SECONDS at least, and nothing is looked at more often than every FEWEST_PERIOD_SECONDS."""
        return replace(
            self,
            monitor_period_seconds=max(self.monitor_period_seconds / ratio, FEWEST_PERIOD_SECONDS),
            grace_seconds=max(self.grace_seconds / ratio, FEWEST_GRACE_SECONDS),
            startup_grace_seconds=max(self.startup_grace_seconds / ratio, FEWEST_GRACE_SECONDS),
            taint_interval_seconds=self.taint_interval_seconds / ratio,
            disrupted_taint_interval_seconds=self.disrupted_taint_interval_seconds / ratio,
            pod_garbage_period_seconds=max(self.pod_garbage_period_seconds / ratio, FEWEST_PERIOD_SECONDS),
            orphan_quarantine_seconds=self.orphan_quarantine_seconds / ratio,
            time_scale=self.time_scale * ratio,
        )


def plan_node(key: Key, snapshot: Snapshot, now: float, *, times: NodeTimes) -> Outcome:
    """Conditions of a silent node, readiness of its pods, its taints."""
    node = snapshot.get("Node", *key)
    if node is None:
        return NOTHING
    writes: list[Write] = []
    if now > _silent_from(node, snapshot, times):
        writes += _declare_unknown(node, now)
    if writes:
        writes += _unready_pods(node, snapshot, now, fell_at=now)
    elif _ready(node) in ("False", "Unknown"):
        writes += _unready_pods(node, snapshot, now, fell_at=_fell_at(node))
    if writes:
        return Outcome(tuple(writes))  # Taints follow from the conditions as soon as those are seen.
    wanted, again_at = _wanted_taints(node, snapshot, now, times)
    if wanted == taints_of(node):
        return Outcome(again_at=again_at)
    body = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": {"taints": wanted}}
    return Outcome((Patch("Node", "", name_of(node), body, uid=uid_of(node)),), again_at=again_at)


def _silent_from(node: Object, snapshot: Snapshot, times: NodeTimes) -> float:
    """When the node counts as silent unless it is heard again."""
    ready = condition(node, "Ready")
    lease = snapshot.get("Lease", LEASE_NAMESPACE, name_of(node))
    renewed = ((lease or {}).get("spec") or {}).get("renewTime")
    heartbeat = (ready or {}).get("lastHeartbeatTime")
    heard = [parse_time(each) for each in (renewed, heartbeat) if each]
    if not heard:
        created = parse_time(node["metadata"]["creationTimestamp"])
        return max(created, times.started_at) + times.startup_grace_seconds
    return max(*heard, times.started_at) + times.grace_seconds


def _ready(node: Object) -> str:
    """True, False, Unknown, or "" when no kubelet has said anything yet."""
    return str((condition(node, "Ready") or {}).get("status", ""))


def _declare_unknown(node: Object, now: float) -> list[Write]:
    """Every condition the kubelet keeps becomes Unknown; said once, when a ready node falls silent."""
    changed = []
    for type_ in WATCHED_CONDITIONS:
        present = condition(node, type_)
        if present is not None and present.get("status") == "Unknown":
            continue
        reason, message = STATUS_UNKNOWN if present is not None else NEVER_UPDATED
        moved = {"status": "Unknown", "lastTransitionTime": format_time(now)}
        changed.append({"type": type_, **moved, "reason": reason, "message": message})
    if not changed:
        return []
    writes: list[Write] = [patch_conditions(node, *changed)]
    if _ready(node) == "True":
        text = f"Node {name_of(node)} status is now: NodeNotReady"
        writes.append(Record(node, "Normal", "NodeNotReady", text))
    return writes


def _fell_at(node: Object) -> float:
    """Since when the node is not ready."""
    since = (condition(node, "Ready") or {}).get("lastTransitionTime")
    return parse_time(since) if since else float("inf")


def _unready_pods(node: Object, snapshot: Snapshot, now: float, *, fell_at: float) -> list[Write]:
    """Mark the pods that were ready when the node ceased to be. Only the Ready condition's status moves; phase and
    containers stay as the kubelet last saw them.

    A pod that turned ready since then has a kubelet that speaks again, before its node is ready: marking it once more
    would begin a quarrel that each side wins at once (upstream, too, marks pods when the node's condition changes).
    """
    writes: list[Write] = []
    for pod in snapshot.objects("Pod"):
        ready = condition(pod, "Ready")
        if pod["spec"].get("nodeName") != name_of(node) or ready is None or ready.get("status") != "True":
            continue
        if ready.get("lastTransitionTime") and parse_time(ready["lastTransitionTime"]) >= fell_at:
            continue
        moved = {"type": "Ready", "status": "False", "lastTransitionTime": format_time(now)}
        writes += [patch_conditions(pod, moved), Record(pod, "Warning", "NodeNotReady", "Node is not ready")]
    return writes


def _wanted_taints(node: Object, snapshot: Snapshot, now: float, times: NodeTimes) -> tuple[list[Object], float | None]:
    """All taints the node should have, ours and others', and when to look again for a rate-limited one."""
    present = taints_of(node)
    kept = [_dated(each, now) for each in present if not _is_managed(each)]
    for cause in _no_schedule_keys(node):
        kept.append(_find(present, cause, NO_SCHEDULE) or _taint(cause, NO_SCHEDULE, now))
    key = {"False": NOT_READY, "Unknown": UNREACHABLE}.get(_ready(node))
    if key is None or _nobody_is_ready(snapshot):
        return kept, None
    placed = _find(present, NOT_READY, NO_EXECUTE) or _find(present, UNREACHABLE, NO_EXECUTE)
    if placed:
        since = placed.get("timeAdded") or format_time(now)
        return [*kept, {"key": key, "effect": NO_EXECUTE, "timeAdded": since}], None
    due = _next_eviction(node, snapshot, times)
    if due is None or due > now:
        return kept, due
    return [*kept, _taint(key, NO_EXECUTE, now)], None


def _is_managed(taint: Object) -> bool:
    return (taint.get("key"), taint.get("effect")) in _MANAGED_TAINTS


def _dated(taint: Object, now: float) -> Object:
    """Evictions count from `timeAdded`; users rarely write it."""
    if taint.get("effect") != NO_EXECUTE or taint.get("timeAdded"):
        return taint
    return {**taint, "timeAdded": format_time(now)}


def _find(taints: list[Object], key: str, effect: str) -> Object | None:
    return next((each for each in taints if (each.get("key"), each.get("effect")) == (key, effect)), None)


def _taint(key: str, effect: str, now: float) -> Object:
    return {"key": key, "effect": effect, "timeAdded": format_time(now)}


def _no_schedule_keys(node: Object) -> list[str]:
    keys = [UNSCHEDULABLE] if (node.get("spec") or {}).get("unschedulable") else []
    for (type_, status), key in _CONDITION_TAINTS.items():
        found = condition(node, type_)
        if found is not None and found.get("status") == status:
            keys.append(key)
    return keys


def _nobody_is_ready(snapshot: Snapshot) -> bool:
    """Full disruption: more likely the control plane is cut off than that every node died."""
    return all(_ready(each) != "True" for each in snapshot.objects("Node"))


def _next_eviction(node: Object, snapshot: Snapshot, times: NodeTimes) -> float | None:
    """When the node's zone allows its next NoExecute taint; None while the zone allows none at all."""
    zone = [each for each in snapshot.objects("Node") if _zone(each) == _zone(node)]
    unready = sum(_ready(each) != "True" for each in zone)
    interval = times.taint_interval_seconds
    if unready > 2 and unready < len(zone) and unready / len(zone) >= times.disrupted_share:
        if len(zone) <= times.large_zone_nodes:
            return None
        interval = times.disrupted_taint_interval_seconds
    placed = [
        parse_time(taint["timeAdded"])
        for each in zone
        for taint in taints_of(each, NO_EXECUTE)
        if taint.get("key") in (NOT_READY, UNREACHABLE) and taint.get("timeAdded")
    ]
    return max(placed) + interval if placed else 0.0


def _zone(node: Object) -> tuple[str, str]:
    labels = labels_of(node)
    return labels.get(REGION, ""), labels.get(ZONE, "")


def _itself(node: Object, snapshot: Snapshot) -> Iterable[Key]:
    yield key_of(node)


def _node_of_lease(lease: Object, snapshot: Snapshot) -> Iterable[Key]:
    """A renewal matters only to a node that is not ready: the others are looked at by the clock."""
    if namespace_of(lease) == LEASE_NAMESPACE:
        node = snapshot.get("Node", "", name_of(lease))
        if node is not None and _ready(node) != "True":
            yield key_of(node)


def _node_of_pod(pod: Object, snapshot: Snapshot) -> Iterable[Key]:
    """A pod that is bound to a node which is not ready is marked as soon as it is seen."""
    node = snapshot.get("Node", "", pod["spec"].get("nodeName", ""))
    if node is not None and _ready(node) != "True":
        yield key_of(node)


def node_controllers(times: NodeTimes) -> tuple[Controller, ...]:
    """The three controllers of nodes and of the pods on them."""
    lifecycle = Controller(
        component="node-controller",
        triggers={"Node": _itself, "Lease": _node_of_lease, "Pod": _node_of_pod},
        plan=partial(plan_node, times=times),
        resync_seconds=times.monitor_period_seconds,
    )
    garbage = pod_garbage_controller(
        period_seconds=times.pod_garbage_period_seconds, quarantine_seconds=times.orphan_quarantine_seconds
    )
    return (lifecycle, taint_eviction_controller(times.time_scale), garbage)

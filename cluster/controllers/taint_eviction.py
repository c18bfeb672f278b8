"""Taint eviction: a NoExecute taint removes the pods that do not tolerate it, at once or after their patience.

    a taint that nothing tolerates ─────────────▶ now
    every taint tolerated, some for n seconds ──▶ the shortest n after the first of these taints was placed
    every taint tolerated without a limit ──────▶ never

The pod is marked (condition DisruptionTarget) and deleted like by a user: gracefully, by its kubelet. On a dead node
it therefore stays Terminating. Rule 5 of statefulset.md section 3 (tainteviction/taint_eviction.go).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from petset.cluster.api.objects import Object, is_terminating, name_of, namespace_of, uid_of
from petset.cluster.api.taints import NO_EXECUTE, first_untolerated, taints_of, tolerates, tolerations_of
from petset.cluster.api.times import format_time, parse_time
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, Delete, Outcome, Record
from petset.cluster.controllers.edits import patch_conditions

REASON = "DeletionByTaintManager"
MESSAGE = "Taint manager: deleting due to NoExecute taint"


def plan_eviction(key: Key, snapshot: Snapshot, now: float, *, time_scale: float = 1.0) -> Outcome:
    """Delete a pod whose time on its tainted node is over; `time_scale`: how much shorter that is than it says."""
    pod = snapshot.get("Pod", *key)
    if pod is None or is_terminating(pod):
        return NOTHING
    node = snapshot.get("Node", "", pod["spec"].get("nodeName", ""))
    taints = taints_of(node, NO_EXECUTE) if node else []
    if not taints:
        return NOTHING
    due = _due(pod, taints, now, time_scale)
    if due is None:
        return NOTHING
    if due > now:
        return Outcome(again_at=due)
    mark = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": REASON,
        "message": MESSAGE,
        "lastTransitionTime": format_time(now),
    }
    return Outcome(
        (
            patch_conditions(pod, mark),
            Record(pod, "Normal", "TaintManagerEviction",
                   f"Marking for deletion Pod {namespace_of(pod)}/{name_of(pod)}"),
            Delete("Pod", namespace_of(pod), name_of(pod), uid=uid_of(pod)),
        )
    )  # fmt: skip


def _due(pod: Object, taints: list[Object], now: float, time_scale: float) -> float | None:
    """When the pod must go; None for never. A taint without a time counts from now until it has one."""
    tolerations = tolerations_of(pod)
    if first_untolerated(taints, tolerations) is not None:
        return now
    used = [next(each for each in tolerations if tolerates(each, taint)) for taint in taints]
    patience = [float(each["tolerationSeconds"]) for each in used if each.get("tolerationSeconds") is not None]
    if not patience:
        return None
    first = min(parse_time(taint["timeAdded"]) if taint.get("timeAdded") else now for taint in taints)
    return max(first, _bound_at(pod)) + max(0.0, min(patience)) / time_scale


def _bound_at(pod: Object) -> float:
    """A pod that came later than the taint has its full time from then on."""
    for each in (pod.get("status") or {}).get("conditions") or ():
        if each.get("type") == "PodScheduled" and each.get("status") == "True" and each.get("lastTransitionTime"):
            return parse_time(each["lastTransitionTime"])
    return parse_time(pod["metadata"]["creationTimestamp"])


def _itself(pod: Object, snapshot: Snapshot) -> Iterable[Key]:
    yield key_of(pod)


def _pods_of_node(node: Object, snapshot: Snapshot) -> Iterable[Key]:
    if taints_of(node, NO_EXECUTE):
        for pod in snapshot.objects("Pod"):
            if pod["spec"].get("nodeName") == name_of(node):
                yield key_of(pod)


def taint_eviction_controller(time_scale: float = 1.0) -> Controller:
    """One key per pod."""
    return Controller(
        component="taint-eviction-controller",
        triggers={"Pod": _itself, "Node": _pods_of_node},
        plan=partial(plan_eviction, time_scale=time_scale),
    )

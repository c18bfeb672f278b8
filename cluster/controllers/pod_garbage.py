"""Pod garbage: pods that no kubelet will ever finish are finished here, without grace.

    its node is gone                     marked DisruptionTarget; asked of the server itself first
    terminating, node is out of service  a user vouches (taint) that the machine is off
    terminating, never had a node        nobody runs it

Each is written Failed first, so that readers see an end, then deleted with grace 0. The period is the runner's
resync. Rule 7 of statefulset.md section 3 (podgc/gc_controller.go). Differences: a missing node is not quarantined
from the moment it was missed (no plan remembers that) but from the pod's creation, so that a node which is only late
is waited for; the threshold of 12500 ended pods is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from petset.cluster.api.objects import Object, condition_is_true, is_terminating, name_of, namespace_of, uid_of
from petset.cluster.api.taints import OUT_OF_SERVICE, taints_of
from petset.cluster.api.times import format_time, parse_time
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, ConfirmNone, Delete, Outcome, Write
from petset.cluster.controllers.edits import patch_conditions, patch_status


def plan_pod(key: Key, snapshot: Snapshot, now: float, *, quarantine_seconds: float) -> Outcome:
    """End one pod if it is garbage."""
    pod = snapshot.get("Pod", *key)
    if pod is None:
        return NOTHING
    node_name = pod["spec"].get("nodeName", "")
    if not node_name:
        return Outcome(_end(pod)) if is_terminating(pod) else NOTHING
    node = snapshot.get("Node", "", node_name)
    if node is None:
        due = parse_time(pod["metadata"]["creationTimestamp"]) + quarantine_seconds
        if due > now:
            return Outcome(again_at=due)
        return Outcome((ConfirmNone("Node", name=node_name), *_end(pod, _orphaned(now))))
    if is_terminating(pod) and _is_out_of_service(node):
        return Outcome(_end(pod))
    return NOTHING


def _is_out_of_service(node: Object) -> bool:
    marked = any(each.get("key") == OUT_OF_SERVICE for each in taints_of(node))
    return marked and not condition_is_true(node, "Ready")


def _orphaned(now: float) -> Object:
    return {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByPodGC",
        "message": "PodGC: node no longer exists",
        "lastTransitionTime": format_time(now),
    }


def _end(pod: Object, mark: Object | None = None) -> tuple[Write, ...]:
    """Failed, unless it has ended already, then gone."""
    writes: list[Write] = []
    if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
        failed = {"phase": "Failed"}
        writes.append(patch_conditions(pod, mark, status=failed) if mark else patch_status(pod, failed))
    return (*writes, Delete("Pod", namespace_of(pod), name_of(pod), uid=uid_of(pod), grace_seconds=0))


def _itself(pod: Object, snapshot: Snapshot) -> Iterable[Key]:
    yield key_of(pod)


def pod_garbage_controller(*, period_seconds: float, quarantine_seconds: float) -> Controller:
    return Controller(
        component="pod-garbage-collector",
        triggers={"Pod": _itself},
        plan=partial(plan_pod, quarantine_seconds=quarantine_seconds),
        reads=("Node",),
        resync_seconds=period_seconds,
    )

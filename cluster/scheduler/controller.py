"""The scheduler as a controller: one key per pod, one decision at a time.

    pod without a node ─decide─▶ Placement, volumes there      Bind, event Scheduled
                              ├▶ Placement, volumes missing    promise the node (nominatedNodeName), reserve volumes
                              │                                (claimRef) and ask for others (selected-node); bound by
                              │                                a later decision, when every claim is Bound
                              └▶ Unschedulable                 condition PodScheduled=False, event FailedScheduling

Only one worker decides, and the runner shows it its own last write first: two pods never get the same room. A pod
that found none is tried again when a node, a claim, a volume or a class changes, when another pod gets its node or
ends, and every RETRY_SECONDS; condition and event are written when the reasons change. Left out: priorities and
preemption, scheduler profiles (pods of another schedulerName are left alone), and the timeout of volume binding.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.cluster.api.objects import Object, annotations_of, condition, is_terminating, name_of, namespace_of, uid_of
from petset.cluster.api.times import format_time
from petset.cluster.api.volumes import SELECTED_NODE, claim_names, claimed, is_claimed_by
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, Bind, Outcome, Patch, Record, Update, Write
from petset.cluster.scheduler.decide import Placement, Unschedulable, decide
from petset.cluster.scheduler.state import has_ended, nominated_node

SCHEDULER_NAME = "default-scheduler"
RETRY_SECONDS = 300.0
"""An unschedulable pod is looked at again after this time although nothing changed (flushUnschedulablePods)."""


def plan_pod(key: Key, snapshot: Snapshot, now: float) -> Outcome:
    """Place one pod, or say why that is impossible for now."""
    pod = snapshot.get("Pod", *key)
    if pod is None or not _is_ours(pod):
        return NOTHING
    decision = decide(pod, snapshot)
    if isinstance(decision, Unschedulable):
        return Outcome(_refuse(pod, decision.message, now), again_at=now + RETRY_SECONDS)
    if decision.waits_for_volumes:
        return Outcome(_reserve(pod, decision))
    place = f"{namespace_of(pod)}/{name_of(pod)} to {decision.node}"
    said = Record(pod, "Normal", "Scheduled", f"Successfully assigned {place}")
    return Outcome((Bind(namespace_of(pod), name_of(pod), uid_of(pod), decision.node, said=said),))


def _is_ours(pod: Object) -> bool:
    """Waits for a node, and for this scheduler; a pod with scheduling gates does not wait yet."""
    spec = pod["spec"]
    if spec.get("nodeName") or spec.get("schedulingGates") or is_terminating(pod) or has_ended(pod):
        return False
    return str(spec.get("schedulerName", SCHEDULER_NAME)) == SCHEDULER_NAME


def _refuse(pod: Object, message: str, now: float) -> tuple[Write, ...]:
    """Say the reasons once: repeated decisions with the same outcome stay silent."""
    present = condition(pod, "PodScheduled") or {}
    said_already = present.get("status") == "False" and present.get("message") == message
    if said_already and not nominated_node(pod):
        return ()
    found = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    if present.get("status") != "False":
        found["lastTransitionTime"] = format_time(now)
    status: Object = {"conditions": [found]}
    if nominated_node(pod):
        status["nominatedNodeName"] = None
    return (_patch_pod(pod, status), Record(pod, "Warning", "FailedScheduling", message))


def _patch_pod(pod: Object, status: Object) -> Patch:
    return Patch(
        "Pod", namespace_of(pod), name_of(pod), {"status": status}, type="strategic", uid=uid_of(pod),
        subresource="status",
    )  # fmt: skip


def _reserve(pod: Object, placement: Placement) -> tuple[Write, ...]:
    """The promise first: from then on every decision keeps to this node, whatever is written or lost after it."""
    writes: list[Write] = []
    if nominated_node(pod) != placement.node:
        writes.append(_patch_pod(pod, {"nominatedNodeName": placement.node}))
    for volume, claim in placement.volumes.matched:
        if not is_claimed_by(volume, claim) or not volume["spec"]["claimRef"].get("uid"):
            writes.append(Update(claimed(volume, claim)))
    for claim in placement.volumes.provisioned:
        if annotations_of(claim).get(SELECTED_NODE) != placement.node:
            body = {"metadata": {"annotations": {SELECTED_NODE: placement.node}}}
            kind, namespace, name = "PersistentVolumeClaim", namespace_of(claim), name_of(claim)
            writes.append(Patch(kind, namespace, name, body, uid=uid_of(claim)))
    return tuple(writes)


def _pods(pod: Object, snapshot: Snapshot) -> Iterable[Key]:
    """A pod without a node wakes itself; one that got its node, ended or vanished wakes those that wait."""
    if _is_ours(pod):
        yield key_of(pod)
    present = snapshot.get("Pod", *key_of(pod))
    was_unbound = not pod["spec"].get("nodeName")
    if present is None or has_ended(present) or (was_unbound and present["spec"].get("nodeName")):
        yield from _refused(pod, snapshot)


def _refused(changed: Object, snapshot: Snapshot) -> Iterable[Key]:
    """The pods that were decided on before without getting a node; new ones are in the queue already."""
    for pod in snapshot.objects("Pod"):
        if _is_ours(pod) and (condition(pod, "PodScheduled") or nominated_node(pod)):
            yield key_of(pod)


def _users_of_claim(claim: Object, snapshot: Snapshot) -> Iterable[Key]:
    for pod in snapshot.objects("Pod", namespace_of(claim)):
        if _is_ours(pod) and name_of(claim) in claim_names(pod):
            yield key_of(pod)


def _users_of_claims(changed: Object, snapshot: Snapshot) -> Iterable[Key]:
    for pod in snapshot.objects("Pod"):
        if _is_ours(pod) and claim_names(pod):
            yield key_of(pod)


CONTROLLER = Controller(
    component=SCHEDULER_NAME,
    triggers={
        "Pod": _pods,
        "Node": _refused,
        "PersistentVolumeClaim": _users_of_claim,
        "PersistentVolume": _users_of_claims,
        "StorageClass": _users_of_claims,
    },
    plan=plan_pod,
    reads=("Namespace",),
)

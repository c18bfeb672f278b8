"""The decision on one pod: a node, a node that must first get volumes, or the reasons why there is none.

    claims that block everywhere ─▶ filters per node ─▶ scores ─▶ Placement(node, volumes to reserve or make)
                  └───────────────────────┴────────────────────▶ Unschedulable(message)

A node that was promised to the pod before (it waits for its volumes) is taken again if it still passes. Preemption
is left out: no pod is removed for another one, and the message says so in kube-scheduler's words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from petset.cluster.api.objects import Object
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.scheduler.claims import Reservation, reserve
from petset.cluster.scheduler.filters import Candidate, Rejection, candidate, first_rejection
from petset.cluster.scheduler.scores import best_node
from petset.cluster.scheduler.state import Cluster, NodeState, cluster_for, nominated_node

NO_NODES = "no nodes available to schedule pods"
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


@dataclass(frozen=True)
class Placement:
    """The pod's node. With anything reserved, the pod is bound only after all of its claims are."""

    node: str
    volumes: Reservation

    @property
    def waits_for_volumes(self) -> bool:
        return bool(self.volumes.matched or self.volumes.provisioned)


@dataclass(frozen=True)
class Unschedulable:
    """No node does; `message` counts the reasons."""

    message: str


def decide(pod: Object, snapshot: Snapshot) -> Placement | Unschedulable:
    """Where the pod goes."""
    cluster = cluster_for(pod, snapshot)
    if not cluster.nodes:
        return Unschedulable(NO_NODES)
    one = candidate(pod, cluster)
    if one.claims.problem:
        refused = [Rejection((one.claims.problem,), final=True)] * len(cluster.nodes)
        return Unschedulable(_message(f" {one.claims.problem}.", refused, pod))
    rejections = [first_rejection(one, state) for state in cluster.nodes]
    passed = [state for state, found in zip(cluster.nodes, rejections, strict=True) if found is None]
    if not passed:
        refused = [each for each in rejections if each is not None]
        counted = _histogram(reason for each in refused for reason in each.reasons)
        return Unschedulable(_message(f" {counted}.", refused, pod))
    return _place(one, [each for each in passed if each.name == nominated_node(pod)] or passed, cluster)


def _place(one: Candidate, passed: Sequence[NodeState], cluster: Cluster) -> Placement:
    best = best_node(one, passed, cluster) if len(passed) > 1 else passed[0]
    return Placement(best.name, reserve(one.claims, best.node, cluster.snapshot))


def _message(reasons: str, refused: Sequence[Rejection], pod: Object) -> str:
    """FitError's text; the part after the reasons is that of the DynamicResources and DefaultPreemption plugins."""
    nothing = f"0/{len(refused)} nodes are available:"
    if pod["spec"].get("preemptionPolicy") == "Never":
        preemption = "not eligible due to preemptionPolicy=Never."
    else:
        preemption = f"{nothing} {_histogram(NOT_HELPFUL if each.final else NO_VICTIMS for each in refused)}."
    return f"{nothing}{reasons} no new claims to deallocate, preemption: {preemption}"


def _histogram(reasons: Iterable[str]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in Counter(reasons).items()))

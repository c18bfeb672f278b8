"""Filters: each says of one node why the pod cannot run there, in kube-scheduler's words, or nothing.

The first filter that objects decides (its reasons are counted over all nodes for the message users see). A rejection
is *final* when removing other pods would not change it; then preemption would not help either. Order and texts are
those of kube-scheduler's default plugins (1.35).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from petset.cluster.api.demands import HostPort, clash, host_ports_of, requests_of
from petset.cluster.api.objects import Object
from petset.cluster.api.taints import (
    NO_EXECUTE,
    NO_SCHEDULE,
    UNSCHEDULABLE,
    first_untolerated,
    taints_of,
    tolerates,
    tolerations_of,
)
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.scheduler.claims import USED_BY_ANOTHER_POD, PodClaims, claims_of, is_used_by_another, reserve
from petset.cluster.scheduler.state import Cluster, NodeState
from petset.cluster.scheduler.topology import (
    Neighbours,
    Spread,
    admits,
    domains_of,
    neighbours_of,
    spreads_of,
)


@dataclass(frozen=True)
class Candidate:
    """The pod to place, with everything about it that is the same for every node."""

    pod: Object
    requests: Mapping[str, Fraction]
    host_ports: tuple[HostPort, ...]
    claims: PodClaims
    claim_in_use: bool
    neighbours: Neighbours
    spreads: tuple[Spread, ...]
    snapshot: Snapshot


def candidate(pod: Object, cluster: Cluster) -> Candidate:
    claims = claims_of(pod, cluster.snapshot)
    return Candidate(
        pod=pod,
        requests=requests_of(pod),
        host_ports=tuple(host_ports_of(pod)),
        claims=claims,
        claim_in_use=is_used_by_another(claims, pod, cluster.snapshot),
        neighbours=neighbours_of(pod, cluster),
        spreads=spreads_of(pod, cluster),
        snapshot=cluster.snapshot,
    )


@dataclass(frozen=True)
class Rejection:
    """Why a node does not do; `final` when no removal of other pods would change that."""

    reasons: tuple[str, ...]
    final: bool


Filter = Callable[[Candidate, NodeState], Rejection | None]


def _final(reason: str) -> Rejection:
    return Rejection((reason,), final=True)


def _for_now(*reasons: str) -> Rejection:
    return Rejection(reasons, final=False)


def unschedulable(one: Candidate, state: NodeState) -> Rejection | None:
    """A cordoned node takes only pods that tolerate exactly that."""
    if not (state.node.get("spec") or {}).get("unschedulable"):
        return None
    cordon = {"key": UNSCHEDULABLE, "effect": NO_SCHEDULE}
    if any(tolerates(each, cordon) for each in tolerations_of(one.pod)):
        return None
    return _final("node(s) were unschedulable")


def untolerated_taint(one: Candidate, state: NodeState) -> Rejection | None:
    """NoSchedule and NoExecute taints; PreferNoSchedule only lowers the score."""
    if first_untolerated(taints_of(state.node, NO_SCHEDULE, NO_EXECUTE), tolerations_of(one.pod)) is None:
        return None
    return _final("node(s) had untolerated taint(s)")


def node_affinity(one: Candidate, state: NodeState) -> Rejection | None:
    """nodeSelector and required node affinity."""
    return None if admits(one.pod, state) else _final("node(s) didn't match Pod's node affinity/selector")


def host_ports(one: Candidate, state: NodeState) -> Rejection | None:
    """One owner per host port."""
    if not clash(one.host_ports, state.host_ports):
        return None
    return _for_now("node(s) didn't have free ports for the requested pod ports")


def resources(one: Candidate, state: NodeState) -> Rejection | None:
    """Requests, not use, must fit into what is left; what is more than the whole node is final."""
    reasons = ["Too many pods"] if len(state.pods) + 1 > state.allocatable("pods") else []
    short = [name for name, wanted in sorted(one.requests.items()) if wanted and wanted > state.free(name)]
    reasons += [f"Insufficient {name}" for name in short]
    if not reasons:
        return None
    hopeless = any(one.requests[name] > state.allocatable(name) for name in short)
    return Rejection(tuple(reasons), final=hopeless)


def exclusive_claims(one: Candidate, state: NodeState) -> Rejection | None:
    """A ReadWriteOncePod claim has one pod at a time in the whole cluster."""
    return _for_now(USED_BY_ANOTHER_POD) if one.claim_in_use else None


def volumes(one: Candidate, state: NodeState) -> Rejection | None:
    """Every claim's volume is reachable from the node, or can be found or made for it."""
    conflict = reserve(one.claims, state.node, one.snapshot).conflict
    return _final(conflict) if conflict else None


def topology_spread(one: Candidate, state: NodeState) -> Rejection | None:
    """The pod may not make a domain fuller than the emptiest by more than maxSkew."""
    reason = "node(s) didn't match pod topology spread constraints"
    for spread in one.spreads:
        if spread.key not in state.labels:
            return _final(f"{reason} (missing required label)")
        if spread.skew(state.labels[spread.key]) > spread.max_skew:
            return _for_now(reason)
    return None


def pod_affinity(one: Candidate, state: NodeState) -> Rejection | None:
    """Required pod affinity and anti-affinity, the pod's own and the others'."""
    here = domains_of(state)
    known = one.neighbours
    for key, domains in known.wanted:
        if key not in state.labels or not (known.first_of_its_kind or here & domains):
            return _final("node(s) didn't match pod affinity rules")
    if here & known.avoided:
        return _for_now("node(s) didn't match pod anti-affinity rules")
    if here & known.guarded:
        return _for_now("node(s) didn't satisfy existing pods anti-affinity rules")
    return None


FILTERS: tuple[Filter, ...] = (
    unschedulable,
    untolerated_taint,
    node_affinity,
    host_ports,
    resources,
    exclusive_claims,
    volumes,
    topology_spread,
    pod_affinity,
)


def first_rejection(one: Candidate, state: NodeState) -> Rejection | None:
    """What the first filter that objects says."""
    for check in FILTERS:
        if found := check(one, state):
            return found
    return None

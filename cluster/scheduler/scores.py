"""Scores: among the nodes that would do, which is best. Each score is 0 to 100, weighted and summed.

    least allocated (1)          leave room everywhere: the share of CPU and memory that stays free
    spread of one owner (2)      replicas of a StatefulSet go to different nodes
    taints (3)                   few PreferNoSchedule taints that the pod does not tolerate
    preferred node affinity (2)  and preferred pod affinity (2): the sum of the weights that match

Weights are kube-scheduler's. Equal scores are decided by the node's name, not by chance. Left out: balanced
allocation, image locality, soft topology spread constraints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from petset.cluster.api.objects import Object, controller_of
from petset.cluster.api.selectors import node_term_matches
from petset.cluster.api.taints import PREFER_NO_SCHEDULE, taints_of, tolerates, tolerations_of
from petset.cluster.scheduler.filters import Candidate
from petset.cluster.scheduler.state import Cluster, NodeState
from petset.cluster.scheduler.topology import AFFINITY, ANTI_AFFINITY, Domain, domains_of, term_matches

MAX_SCORE = 100

DEFAULT_REQUESTS = {"cpu": Fraction(1, 10), "memory": Fraction(200 * 1024 * 1024)}
"""What a pod without requests is taken to need, so that such pods spread too (GetNonzeroRequests)."""

PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"

Score = Callable[[Candidate, Sequence[NodeState], Cluster], list[Fraction]]
"""One value per node."""


def best_node(one: Candidate, nodes: Sequence[NodeState], cluster: Cluster) -> NodeState:
    """The node with the highest sum; the first name among equals. `nodes` is not empty."""
    totals = [Fraction(0)] * len(nodes)
    for score, weight in SCORES:
        for index, value in enumerate(score(one, nodes, cluster)):
            totals[index] += weight * value
    return min(zip(totals, nodes, strict=True), key=lambda pair: (-pair[0], pair[1].name))[1]


def least_allocated(one: Candidate, nodes: Sequence[NodeState], cluster: Cluster) -> list[Fraction]:
    """The mean free share of CPU and memory once the pod is there."""
    return [sum((_free_share(one, state, name) for name in DEFAULT_REQUESTS), Fraction(0)) / 2 for state in nodes]


def _free_share(one: Candidate, state: NodeState, resource: str) -> Fraction:
    offered = state.allocatable(resource)
    if not offered:
        return Fraction(0)
    default = DEFAULT_REQUESTS[resource]
    unstated = sum(not _states(pod, resource) for pod in state.pods)
    used = state.requested.get(resource, Fraction(0)) + unstated * default + one.requests.get(resource, default)
    return max(Fraction(0), (offered - used) * MAX_SCORE / offered)


def _states(pod: Object, resource: str) -> bool:
    return any(resource in ((each.get("resources") or {}).get("requests") or {}) for each in pod["spec"]["containers"])


def owner_spread(one: Candidate, nodes: Sequence[NodeState], cluster: Cluster) -> list[Fraction]:
    """Few pods of the same controller; a pod without one is alike to none."""
    owner = controller_of(one.pod)
    if owner is None:
        return [Fraction(0)] * len(nodes)
    counts = [sum((controller_of(pod) or {}).get("uid") == owner["uid"] for pod in state.pods) for state in nodes]
    return _fewest_best(counts)


def preferred_taints(one: Candidate, nodes: Sequence[NodeState], cluster: Cluster) -> list[Fraction]:
    """Few PreferNoSchedule taints that are not tolerated."""
    tolerations = tolerations_of(one.pod)

    def repels(taint: Object) -> bool:
        return not any(tolerates(each, taint) for each in tolerations)

    return _fewest_best([sum(map(repels, taints_of(state.node, PREFER_NO_SCHEDULE))) for state in nodes])


def preferred_nodes(one: Candidate, nodes: Sequence[NodeState], cluster: Cluster) -> list[Fraction]:
    """Preferred node affinity: the weights of the terms that match."""
    rules = ((one.pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(PREFERRED) or []
    return _most_best(
        [sum(each["weight"] for each in rules if node_term_matches(each["preference"], state.node)) for state in nodes]
    )


def preferred_neighbours(one: Candidate, nodes: Sequence[NodeState], cluster: Cluster) -> list[Fraction]:
    """Preferred pod affinity counts for, preferred anti-affinity against every matching pod of a domain."""
    affinity = one.pod["spec"].get("affinity") or {}
    weights: dict[Domain, int] = {}
    for which, sign in ((AFFINITY, 1), (ANTI_AFFINITY, -1)):
        for rule in (affinity.get(which) or {}).get(PREFERRED) or ():
            term = rule["podAffinityTerm"]
            for state in cluster.nodes:
                found = sum(term_matches(term, one.pod, other, cluster) for other in state.pods)
                if found and term["topologyKey"] in state.labels:
                    domain = (term["topologyKey"], state.labels[term["topologyKey"]])
                    weights[domain] = weights.get(domain, 0) + sign * rule["weight"] * found
    return _most_best([sum(weights.get(domain, 0) for domain in domains_of(state)) for state in nodes])


def _fewest_best(counts: Sequence[int]) -> list[Fraction]:
    most = max(counts)
    return [Fraction(MAX_SCORE) if not most else Fraction((most - each) * MAX_SCORE, most) for each in counts]


def _most_best(sums: Sequence[int]) -> list[Fraction]:
    low, high = min(sums), max(sums)
    return [Fraction(0) if high == low else Fraction((each - low) * MAX_SCORE, high - low) for each in sums]


SCORES: tuple[tuple[Score, int], ...] = (
    (least_allocated, 1),
    (owner_spread, 2),
    (preferred_taints, 3),
    (preferred_nodes, 2),
    (preferred_neighbours, 2),
)

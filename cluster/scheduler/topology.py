"""Pods among pods: affinity, anti-affinity and topology spread, counted once per decision.

All three speak of *domains*: a topology key (`kubernetes.io/hostname`) and a value (`node-1`), shared by every node
with that label. Rules: interpodaffinity and podtopologyspread of kube-scheduler. Left out: `matchLabelKeys` of
affinity terms (those of spread constraints are honoured) and `nodeTaintsPolicy`, which is always Ignore.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from petset.cluster.api.objects import Object, is_terminating, labels_of, namespace_of
from petset.cluster.api.selectors import forgiving_selector_of, node_selector_matches, selector_of_labels
from petset.cluster.scheduler.state import Cluster, NodeState

Domain = tuple[str, str]
"""(topology key, value)"""

AFFINITY, ANTI_AFFINITY = "podAffinity", "podAntiAffinity"


@dataclass(frozen=True)
class Neighbours:
    """Where the pods are that a pod's required terms, or theirs, speak of."""

    wanted: tuple[tuple[str, frozenset[Domain]], ...]
    """Per required affinity term: its key, and the domains in which a fitting pod runs."""
    first_of_its_kind: bool
    """No pod anywhere fits the affinity terms, but this one fits them itself: it may start anywhere."""
    avoided: frozenset[Domain]
    """Domains of pods that this pod must not meet."""
    guarded: frozenset[Domain]
    """Domains of pods that must not meet this pod."""


def required_terms(pod: Object, which: str) -> list[Object]:
    rules = (pod["spec"].get("affinity") or {}).get(which) or {}
    return rules.get("requiredDuringSchedulingIgnoredDuringExecution") or []


def term_matches(term: Mapping[str, Any], owner: Object, pod: Object, cluster: Cluster) -> bool:
    """Whether a term of `owner` speaks of `pod`: its labels and its namespace."""
    if not forgiving_selector_of(term.get("labelSelector")).selects(pod):
        return False
    named, by_label = term.get("namespaces") or [], term.get("namespaceSelector")
    if not named and by_label is None:
        return namespace_of(owner) == namespace_of(pod)
    if namespace_of(pod) in named:
        return True
    if by_label is None:
        return False
    namespace = cluster.snapshot.get("Namespace", "", namespace_of(pod))
    return forgiving_selector_of(by_label).matches(labels_of(namespace) if namespace else {})


def neighbours_of(pod: Object, cluster: Cluster) -> Neighbours:
    """Count the required affinity terms of `pod`, and of the others about it."""
    attract, repel = required_terms(pod, AFFINITY), required_terms(pod, ANTI_AFFINITY)
    wanted: list[set[Domain]] = [set() for _ in attract]
    avoided: set[Domain] = set()
    guarded: set[Domain] = set()
    for state in cluster.nodes:
        for other in state.pods:
            if attract and all(term_matches(term, pod, other, cluster) for term in attract):
                for term, domains in zip(attract, wanted, strict=True):
                    domains.update(_domain(term, state))
            for term in repel:
                if term_matches(term, pod, other, cluster):
                    avoided.update(_domain(term, state))
            for term in required_terms(other, ANTI_AFFINITY):
                if term_matches(term, other, pod, cluster):
                    guarded.update(_domain(term, state))
    alone = not any(wanted) and all(term_matches(term, pod, pod, cluster) for term in attract)
    found = tuple((term["topologyKey"], frozenset(domains)) for term, domains in zip(attract, wanted, strict=True))
    return Neighbours(found, alone, frozenset(avoided), frozenset(guarded))


def _domain(term: Mapping[str, Any], state: NodeState) -> Iterable[Domain]:
    key = term["topologyKey"]
    if key in state.labels:
        yield key, state.labels[key]


def domains_of(state: NodeState) -> frozenset[Domain]:
    """Every domain that the node lies in."""
    return frozenset(state.labels.items())


@dataclass(frozen=True)
class Spread:
    """One DoNotSchedule constraint, counted: matching pods per domain."""

    key: str
    max_skew: int
    counts: Mapping[str, int]
    least: int
    counts_itself: bool

    def skew(self, value: str) -> int:
        """How far above the emptiest domain this one would be with the pod in it."""
        return self.counts.get(value, 0) + int(self.counts_itself) - self.least


def spreads_of(pod: Object, cluster: Cluster) -> tuple[Spread, ...]:
    """The pod's hard topology spread constraints, counted over the nodes that it could use."""
    constraints = [
        each
        for each in pod["spec"].get("topologySpreadConstraints") or ()
        if each.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule"
    ]
    keys = {each["topologyKey"] for each in constraints}
    return tuple(_spread(pod, each, keys, cluster) for each in constraints)


def _spread(pod: Object, constraint: Object, keys: set[str], cluster: Cluster) -> Spread:
    selector = forgiving_selector_of(constraint.get("labelSelector"))
    own = labels_of(pod)
    shared = {key: own[key] for key in constraint.get("matchLabelKeys") or () if key in own}
    alike = selector_of_labels(shared)
    honours = constraint.get("nodeAffinityPolicy", "Honor") == "Honor"
    counts: dict[str, int] = defaultdict(int)
    for state in cluster.nodes:
        if not keys <= state.labels.keys() or (honours and not admits(pod, state)):
            continue
        counts[state.labels[constraint["topologyKey"]]] += sum(
            namespace_of(other) == namespace_of(pod)
            and not is_terminating(other)
            and selector.selects(other)
            and (not shared or alike.selects(other))
            for other in state.pods
        )
    enough = len(counts) >= (constraint.get("minDomains") or 1)
    least = min(counts.values(), default=0) if enough else 0
    return Spread(constraint["topologyKey"], constraint["maxSkew"], dict(counts), least, selector.matches(own))


def admits(pod: Object, state: NodeState) -> bool:
    """The pod's nodeSelector and required node affinity accept the node."""
    spec = pod["spec"]
    if any(state.labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    rules = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return node_selector_matches(rules.get("requiredDuringSchedulingIgnoredDuringExecution"), state.node)

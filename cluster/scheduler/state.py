"""What the scheduler knows while it decides on one pod: the nodes with what runs on them, and the pod's own demands.

Computed once per decision, so that filters and scores are lookups. A pod that was promised a node while its volumes
are being made (`status.nominatedNodeName`) counts as if it ran there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from petset.cluster.api.demands import HostPort, host_ports_of, requests_of
from petset.cluster.api.objects import Object, labels_of, name_of, uid_of
from petset.cluster.api.quantities import parse_quantity
from petset.cluster.control.snapshot import Snapshot


@dataclass(frozen=True)
class NodeState:
    """One node and the pods that occupy it."""

    node: Object
    pods: tuple[Object, ...]
    requested: Mapping[str, Fraction]
    host_ports: frozenset[HostPort]

    @property
    def name(self) -> str:
        return name_of(self.node)

    @property
    def labels(self) -> Mapping[str, str]:
        return labels_of(self.node)

    def allocatable(self, resource: str) -> Fraction:
        """What the node offers to pods; 0 for what it does not report."""
        return parse_quantity(((self.node.get("status") or {}).get("allocatable") or {}).get(resource, 0))

    def free(self, resource: str) -> Fraction:
        return self.allocatable(resource) - self.requested.get(resource, Fraction(0))


@dataclass(frozen=True)
class Cluster:
    """All nodes, sorted by name, and the other objects that filters look up."""

    nodes: tuple[NodeState, ...]
    snapshot: Snapshot


def cluster_for(pod: Object, snapshot: Snapshot) -> Cluster:
    """The cluster as seen when deciding about `pod`, without that pod itself and without ended ones."""
    occupants: dict[str, list[Object]] = defaultdict(list)
    for other in snapshot.objects("Pod"):
        if uid_of(other) != uid_of(pod) and not has_ended(other):
            occupants[placed_on(other)].append(other)
    return Cluster(tuple(_state(node, occupants[name_of(node)]) for node in snapshot.objects("Node")), snapshot)


def _state(node: Object, pods: list[Object]) -> NodeState:
    requested: dict[str, Fraction] = defaultdict(Fraction)
    for pod in pods:
        for resource, wanted in requests_of(pod).items():
            requested[resource] += wanted
    return NodeState(node, tuple(pods), requested, frozenset(port for pod in pods for port in host_ports_of(pod)))


def has_ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def nominated_node(pod: Object) -> str:
    """The node that was promised to a pod which still waits for its volumes."""
    return str((pod.get("status") or {}).get("nominatedNodeName") or "")


def placed_on(pod: Object) -> str:
    """The node that a pod occupies or was promised; "" for none."""
    return str(pod["spec"].get("nodeName") or nominated_node(pod))

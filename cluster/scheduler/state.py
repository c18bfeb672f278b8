"""What the scheduler knows while it decides on one pod: the nodes with what runs on them, and the pod's own demands.

Computed once per decision, so that filters and scores are lookups. A pod that was promised a node while its volumes
are being made (`status.nominatedNodeName`) counts as if it ran there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from petset.cluster.api.objects import Object, labels_of, name_of, uid_of
from petset.cluster.api.quantities import parse_quantity
from petset.cluster.control.snapshot import Snapshot

HostPort = tuple[str, str, int]
"""(host IP, protocol, port)"""


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


def requests_of(pod: Object) -> dict[str, Fraction]:
    """What a pod needs at its busiest moment (resourcehelper.PodRequests).

    Main containers and sidecars run together; an init container runs beside the sidecars started before it.
    """
    steady: dict[str, Fraction] = defaultdict(Fraction)
    peak: dict[str, Fraction] = defaultdict(Fraction)
    for container in pod["spec"].get("initContainers") or ():
        wanted = _requests(container)
        if container.get("restartPolicy") == "Always":
            _add(steady, wanted)
            wanted = {}
        for resource in {*wanted, *steady}:
            peak[resource] = max(peak[resource], steady[resource] + wanted.get(resource, Fraction(0)))
    for container in pod["spec"]["containers"]:
        _add(steady, _requests(container))
    total = {resource: max(steady[resource], peak[resource]) for resource in {*steady, *peak}}
    for resource, extra in (pod["spec"].get("overhead") or {}).items():
        total[resource] = total.get(resource, Fraction(0)) + parse_quantity(extra)
    return total


def _requests(container: Object) -> dict[str, Fraction]:
    """A limit without a request is a request."""
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {resource: parse_quantity(text) for resource, text in asked.items()}


def _add(total: dict[str, Fraction], more: Mapping[str, Fraction]) -> None:
    for resource, wanted in more.items():
        total[resource] += wanted


def host_ports_of(pod: Object) -> list[HostPort]:
    found = []
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                found.append((port.get("hostIP") or "0.0.0.0", port.get("protocol", "TCP"), int(port["hostPort"])))
    return found


def clash(wanted: Iterable[HostPort], taken: Iterable[HostPort]) -> bool:
    """Two claims of one port clash unless both name different addresses."""
    known = list(taken)
    return any(
        protocol == other_protocol and port == other_port and (ip == other_ip or "0.0.0.0" in (ip, other_ip))
        for ip, protocol, port in wanted
        for other_ip, other_protocol, other_port in known
    )

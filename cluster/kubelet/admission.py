"""Whether a node takes a pod that was bound to it (pure; kubelet/lifecycle/predicate.go).

The scheduler asked the same before; a pod whose `nodeName` was set by hand, or that raced with another, was not. What
does not fit is rejected for good: phase Failed, with the reason (`OutOfcpu`, `OutOfpods`, `NodePorts`) that
`kubectl get` shows. Pods that the node has taken already are never judged again.

Left out: node affinity and taints of pods bound by hand, preemption by critical pods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from petset.cluster.api.demands import clash, host_ports_of, requests_of
from petset.cluster.api.objects import Object
from petset.cluster.api.quantities import parse_quantity

Refusal = tuple[str, str]
"""(reason, message)"""

_NO_PORTS = "node(s) didn't have free ports for the requested pod ports"


def refusal_of(pod: Object, others: Sequence[Object], capacity: Mapping[str, str]) -> Refusal | None:
    """Why the node does not take `pod` beside the `others` that it has; None when it does."""
    demands = requests_of(pod)
    used = [{"pods": Fraction(1), **(requests_of(other) if demands else {})} for other in others]
    for resource, wanted in {"pods": Fraction(1), **demands}.items():
        if "/" in resource and resource not in capacity:
            continue  # an extended resource that only the scheduler knows
        taken = sum((each.get(resource, Fraction(0)) for each in used), Fraction(0))
        offered = parse_quantity(capacity.get(resource, 0))
        if wanted and taken + wanted > offered:
            return _insufficient(resource, wanted=wanted, taken=taken, offered=offered)
    if clash(host_ports_of(pod), [port for other in others for port in host_ports_of(other)]):
        return "NodePorts", f"Predicate NodePorts failed: {_NO_PORTS}"
    return None


def _insufficient(resource: str, *, wanted: Fraction, taken: Fraction, offered: Fraction) -> Refusal:
    """CPU is counted in thousandths."""
    scale = 1000 if resource == "cpu" else 1
    asked, used, capacity = (int(each * scale) for each in (wanted, taken, offered))
    figures = f"requested: {asked}, used: {used}, capacity: {capacity}"
    return f"OutOf{resource}", f"Node didn't have enough resource: {resource}, {figures}"

"""What a pod demands of its node: resources and host ports (pure). Scheduler and kubelet judge by the same numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction

from petset.cluster.api.objects import Object
from petset.cluster.api.quantities import parse_quantity

HostPort = tuple[str, str, int]
"""(host IP, protocol, port)"""


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
    """The ports of its node that a pod wants."""
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

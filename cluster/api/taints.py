"""Taints and tolerations: which nodes repel which pods (core/v1 helpers ToleratesTaint, GetMatchingTolerations)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "PreferNoSchedule", "NoExecute"

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
MEMORY_PRESSURE = "node.kubernetes.io/memory-pressure"
DISK_PRESSURE = "node.kubernetes.io/disk-pressure"
PID_PRESSURE = "node.kubernetes.io/pid-pressure"
NETWORK_UNAVAILABLE = "node.kubernetes.io/network-unavailable"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"

Taint = Mapping[str, Any]
Toleration = Mapping[str, Any]


def taints_of(node: Mapping[str, Any], *effects: str) -> list[dict[str, Any]]:
    """A node's taints, of these effects if any are named."""
    taints = (node.get("spec") or {}).get("taints") or []
    return [each for each in taints if not effects or each.get("effect") in effects]


def tolerations_of(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    return pod["spec"].get("tolerations") or []


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """An empty effect or key matches every one; the operator defaults to Equal."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("value", "") == (taint.get("value") or ""))


def first_untolerated(taints: Iterable[Taint], tolerations: Iterable[Toleration]) -> Taint | None:
    """The first taint that none of the tolerations covers."""
    known = list(tolerations)
    return next((taint for taint in taints if not any(tolerates(each, taint) for each in known)), None)

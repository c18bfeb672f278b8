"""A pod's quality-of-service class, from its containers' requests and limits (core v1 helper/qos)."""

from __future__ import annotations

from petset.cluster.api.objects import Object

_COUNTED = ("cpu", "memory")


def quality_of_service(spec: Object) -> str:
    """`Guaranteed`, `Burstable` or `BestEffort`."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    resources = [container.get("resources") or {} for container in containers]
    set_any = any(
        (each.get(side) or {}).get(name) for each in resources for side in ("requests", "limits") for name in _COUNTED
    )
    if not set_any:
        return "BestEffort"
    for each in resources:
        limits, requests = each.get("limits") or {}, each.get("requests") or {}
        for name in _COUNTED:
            if not limits.get(name) or requests.get(name, limits[name]) != limits[name]:
                return "Burstable"
    return "Guaranteed"

"""One object, several API versions: how a stored object is shown in, and taken from, another version.

    stored (HPA autoscaling/v2) ─▶ in_version(obj, "autoscaling/v1") ─▶ shown
    given  (HPA autoscaling/v1) ─▶ in_version(obj, "autoscaling/v2") ─▶ stored

Custom kinds convert by changing the apiVersion alone, as the strategy `None` of their definitions says. A
HorizontalPodAutoscaler keeps what autoscaling/v1 cannot say only while it is not written through v1. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from petset.cluster.api.objects import Object

_EVENT_FIELDS: Final = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_EVENT_FIELDS_BACK: Final = {new: old for old, new in _EVENT_FIELDS.items()}
_TARGET: Final = "targetCPUUtilizationPercentage"


def in_version(obj: Object, api_version: str) -> Object:
    """The object in another version of its API; itself when it is in that one. The argument is not changed."""
    given = obj.get("apiVersion", "")
    if given == api_version:
        return obj
    convert = _CONVERTERS.get((obj.get("kind", ""), given, api_version))
    return {**(convert(obj) if convert else obj), "apiVersion": api_version}


def _renamed(fields: dict[str, str]) -> Callable[[Object], Object]:
    return lambda obj: {fields.get(name, name): value for name, value in obj.items()}


def _autoscaler_to_v2(obj: Object) -> Object:
    spec = dict(obj.get("spec") or {})
    percentage = spec.pop(_TARGET, None)
    if percentage is not None:
        target = {"type": "Utilization", "averageUtilization": percentage}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    status = dict(obj.get("status") or {})
    status.pop("currentCPUUtilizationPercentage", None)
    return {**obj, "spec": spec, **({"status": status} if "status" in obj else {})}


def _autoscaler_to_v1(obj: Object) -> Object:
    spec = {name: value for name, value in (obj.get("spec") or {}).items() if name not in ("metrics", "behavior")}
    for metric in (obj.get("spec") or {}).get("metrics") or ():
        resource = metric.get("resource") or {}
        if resource.get("name") == "cpu" and "averageUtilization" in resource.get("target", {}):
            spec[_TARGET] = resource["target"]["averageUtilization"]
    kept = ("observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas")
    status = {name: value for name, value in (obj.get("status") or {}).items() if name in kept}
    return {**obj, "spec": spec, **({"status": status} if "status" in obj else {})}


_CONVERTERS: Final[dict[tuple[str, str, str], Callable[[Object], Object]]] = {
    ("Event", "v1", "events.k8s.io/v1"): _renamed(_EVENT_FIELDS),
    ("Event", "events.k8s.io/v1", "v1"): _renamed(_EVENT_FIELDS_BACK),
    ("HorizontalPodAutoscaler", "autoscaling/v1", "autoscaling/v2"): _autoscaler_to_v2,
    ("HorizontalPodAutoscaler", "autoscaling/v2", "autoscaling/v1"): _autoscaler_to_v1,
}

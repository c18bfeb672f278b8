"""Which of several interchangeable pods go first when there are too many.

The one that costs least, by the first difference in this list (kube-controller-manager's ActivePodsWithRanks):

    1 not assigned to a node      5 on the node with more pods of the same owner
    2 Pending, Unknown, Running   6 ready for a shorter time
    3 not ready                   7 restarted more often
    4 lower pod-deletion-cost     8 created later

Times are compared by their magnitude (the logarithm of the age), so that among pods of about the same age chance, here
the uid, decides and not the second in which they came (KEP 2185).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cmp_to_key

from petset.cluster.api.objects import Object, annotations_of, condition, condition_is_true, is_terminating, uid_of
from petset.cluster.api.times import parse_time

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_TimeOf = Callable[[Object], float | None]
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def is_active(pod: Object) -> bool:
    """Not ended and not about to: a pod that counts as a replica."""
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed") and not is_terminating(pod)


def pods_to_delete(pods: Sequence[Object], count: int, *, related: Iterable[Object], now: float) -> list[Object]:
    """The `count` first to go. `related` are the pods among which crowding is counted; `now` in epoch seconds."""
    crowd = Counter(_node(pod) for pod in related if is_active(pod))

    def compare(one: Object, other: Object) -> int:
        first, second = _rank(one, crowd), _rank(other, crowd)
        if first != second:
            return -1 if first < second else 1
        return _compare_histories(one, other, now)

    return sorted(pods, key=cmp_to_key(compare))[:count]


def _node(pod: Object) -> str:
    return pod["spec"].get("nodeName") or ""


def _rank(pod: Object, crowd: Counter[str]) -> tuple[bool, int, bool, int, int]:
    phase = (pod.get("status") or {}).get("phase") or ""
    assigned, ready = bool(_node(pod)), condition_is_true(pod, "Ready")
    return assigned, _PHASES.get(phase, 0), ready, _cost(pod), -crowd[_node(pod)]


def _cost(pod: Object) -> int:
    """The annotation's number; 0 where it is absent or none."""
    try:
        return int(annotations_of(pod).get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _compare_histories(one: Object, other: Object, now: float) -> int:
    if condition_is_true(one, "Ready") and (difference := _compare_ages(one, other, _ready_since, now)):
        return difference
    if difference := _restarts(other) - _restarts(one):
        return difference
    return _compare_ages(one, other, _created, now)


def _compare_ages(one: Object, other: Object, time_of: _TimeOf, now: float) -> int:
    """The younger magnitude first; within one, the smaller uid. Equal times decide nothing."""
    first, second = time_of(one), time_of(other)
    if first == second:
        return 0
    if first is None or second is None:
        return -1 if first is None else 1
    difference = _magnitude(now - first) - _magnitude(now - second)
    return difference or (-1 if uid_of(one) < uid_of(other) else 1)


def _magnitude(age_seconds: float) -> int:
    return int(math.log2(age_seconds * 1e9)) if age_seconds > 0 else -1


def _ready_since(pod: Object) -> float | None:
    since = (condition(pod, "Ready") or {}).get("lastTransitionTime")
    return parse_time(since) if since else None


def _created(pod: Object) -> float | None:
    created = pod["metadata"].get("creationTimestamp")
    return parse_time(created) if created else None


def _restarts(pod: Object) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return max((int(each.get("restartCount") or 0) for each in statuses), default=0)

"""The arithmetic of a rollout: how large each ReplicaSet is to be next.

    rolling update   new set up:    as far as replicas + maxSurge leaves room
                     old sets down: first pods that are not available anyway, then as far as replicas - maxUnavailable
                                    stays available, the oldest set first
    scaling          one active set gets the whole difference; several share it in proportion to their sizes

All functions answer the sets they change, with their next sizes; sets and numbers go in, nothing is written here.
Rules: rolling.go, scale in sync.go, NewRSNewReplicas and GetReplicaSetProportion in deployment_util.go.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from petset.cluster.controllers.deployment.view import DeploymentView, ReplicaSetView


def total(sets: Iterable[ReplicaSetView]) -> int:
    """The pods that these sets are told to have."""
    return sum(each.replicas for each in sets)


def active(sets: Iterable[ReplicaSetView]) -> list[ReplicaSetView]:
    return [each for each in sets if each.replicas > 0]


def new_set_size(view: DeploymentView, sets: Sequence[ReplicaSetView], replicas: int) -> int:
    """The next size of the new set, which has `replicas`; `sets` are all, the new one among them."""
    if view.recreate or replicas > view.replicas:
        return view.replicas
    room = view.max_replicas - total(sets)
    return replicas + max(0, min(room, view.replicas - replicas))


def without_unhealthy(
    view: DeploymentView, old: Sequence[ReplicaSetView], new: ReplicaSetView | None
) -> list[ReplicaSetView]:
    """Old sets made smaller by pods that are not available, as far as the rollout can spare pods at all."""
    spare = _spare(view, old, new)
    smaller = []
    for each in active(old):
        missing = min(spare, each.replicas - each.available)
        if missing > 0:
            smaller.append(replace(each, replicas=each.replicas - missing))
            spare -= missing
    return smaller


def _spare(view: DeploymentView, old: Sequence[ReplicaSetView], new: ReplicaSetView | None) -> int:
    """How many pods may go now, counting those of the new set that are not available yet as missing.

    Nothing while a set's status may count available pods that it was told to drop: they would go twice. After a
    rollback the new set may be such a one; so may one that was told to drop some and then to have as many as before.
    """
    if any(each.lags for each in (*active(old), *([new] if new else []))):
        return 0
    new_replicas, new_available = (new.replicas, new.available) if new else (0, 0)
    return total(old) + new_replicas - view.min_available - (new_replicas - new_available)


def scaled_down(
    view: DeploymentView, old: Sequence[ReplicaSetView], new: ReplicaSetView | None
) -> list[ReplicaSetView]:
    """Old sets made smaller by available pods that the rollout can spare."""
    if _spare(view, old, new) <= 0:
        return []
    sets = active(old)
    spare = sum(each.available for each in sets) + (new.available if new else 0) - view.min_available
    smaller = []
    for each in sets:
        going = min(spare, each.replicas)
        if going > 0:
            smaller.append(replace(each, replicas=each.replicas - going))
            spare -= going
    return smaller


def scaled(view: DeploymentView, old: Sequence[ReplicaSetView], new: ReplicaSetView | None) -> list[ReplicaSetView]:
    """Every active set with its size after the Deployment's replicas changed (also where that is the size it has)."""
    single = _active_or_latest(old, new)
    if single is not None:
        return [replace(single, replicas=view.replicas)]
    if new is not None and _is_saturated(view, new):
        return [replace(each, replicas=0) for each in active(old)]
    return [] if view.recreate else _in_proportion(view, active([*old, *([new] if new else [])]))


def _active_or_latest(old: Sequence[ReplicaSetView], new: ReplicaSetView | None) -> ReplicaSetView | None:
    """The only set with pods; without any, the new or the youngest one; None where several have pods."""
    found = active([*old, *([new] if new else [])])
    if len(found) == 1:
        return found[0]
    if found:
        return None
    return new or (old[-1] if old else None)


def _is_saturated(view: DeploymentView, new: ReplicaSetView) -> bool:
    return (new.desired, new.replicas, new.available) == (view.replicas,) * 3


def _in_proportion(view: DeploymentView, sets: list[ReplicaSetView]) -> list[ReplicaSetView]:
    """Larger sets first, the newer among equals when growing, the older when shrinking; the first takes the rest."""
    difference = (view.max_replicas if view.replicas else 0) - total(sets)
    ordered = sorted(sets, key=lambda each: each.age_order, reverse=difference > 0)
    ordered.sort(key=lambda each: -each.replicas)
    shares: list[int] = []
    for each in ordered:
        left = difference - sum(shares)
        share = _fraction(view, each) if left else 0
        shares.append(min(share, left) if difference > 0 else max(share, left))
    if shares:
        shares[0] += difference - sum(shares)
    return [replace(each, replicas=max(0, each.replicas + share)) for each, share in zip(ordered, shares, strict=True)]


def _fraction(view: DeploymentView, each: ReplicaSetView) -> int:
    """By how much a set changes to keep its part of the whole."""
    if view.replicas == 0:
        return -each.replicas
    before = each.max_replicas or int(view.status.get("replicas") or 0) or each.replicas
    return _rounded(each.replicas * view.max_replicas / before) - each.replicas


def _rounded(value: float) -> int:
    """Half away from zero, as Go's integer.RoundToInt32; sizes are never negative."""
    return math.floor(value + 0.5)

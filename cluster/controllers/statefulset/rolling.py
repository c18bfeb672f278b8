"""The rolling-update step: which pods of an old revision are deleted now, so that new ones take their places.

Highest index first, never below the partition. Three ways, by what the set asks for:

    no maxUnavailable          one at a time; an old pod goes even if it is broken, a broken new one stops the roll
    maxUnavailable, ordered    as many as the budget leaves, once nothing exceeds it
    maxUnavailable, Parallel   every broken old pod at once, outside the budget (its replacement cannot be worse);
                               then sound old ones as the budget leaves

`max_unavailable is None` is Kubernetes 1.34 with its MaxUnavailableStatefulSet gate off. With the gate on, Parallel
follows the upstream fix for broken first revisions, not 1.35.1, under which such a roll never ended.

A pod that this very sync creates or deletes is unavailable and is no target: upstream may delete such a pod a
second time in the same sync, to the same effect one sync later.
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.cluster.controllers.statefulset.pods import PodView
from petset.cluster.controllers.statefulset.set_view import SetView


def rolling_targets(view: SetView, slots: Sequence[PodView], update_name: str) -> list[PodView]:
    """The pods to delete, in order; `slots` are the replicas by index, all of them (missing ones as planned)."""
    candidates = list(reversed(slots[view.partition or 0 :]))
    if view.max_unavailable is None:
        return _one_at_a_time(candidates, update_name)
    old = [pod for pod in candidates if _is_target(pod, update_name)]
    budget = max(0, view.max_unavailable - sum(pod.unavailable for pod in slots))
    if view.monotonic:
        return old[:budget]
    broken = [pod for pod in old if pod.unavailable]
    sound = [pod for pod in old if not pod.unavailable]
    return broken + sound[:budget]


def _one_at_a_time(candidates: Sequence[PodView], update_name: str) -> list[PodView]:
    for pod in candidates:
        if _is_target(pod, update_name):
            return [pod]
        if pod.unavailable:
            return []
    return []


def _is_target(pod: PodView, update_name: str) -> bool:
    return pod.created and pod.revision != update_name and not pod.terminating

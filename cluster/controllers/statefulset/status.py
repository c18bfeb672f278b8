"""A set's status: counted from its pods, written as a whole, and only when it says something new.

Pods count as the cache shows them: one that this sync creates is not counted yet. A written status starts from
empty, so conditions that others wrote are lost with it, as upstream. It is written whatever happened to the set
meanwhile, short of its replacement.

Rules: updateStatus, completeRollingUpdate and inconsistentStatus in stateful_set_control.go and stateful_set_utils.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.cluster.api.objects import Object
from petset.cluster.control.writes import Update
from petset.cluster.controllers.statefulset.history import History
from petset.cluster.controllers.statefulset.pods import PodView
from petset.cluster.controllers.statefulset.set_view import SetView

ALWAYS_SHOWN = ("replicas", "availableReplicas", "collisionCount")
"""Fields that are present even when zero; the others are omitted then, as Go's omitempty does."""

COMPARED = (
    "replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas",
    "currentRevision", "updateRevision",
)  # fmt: skip
"""A change of one of these, or a newer generation, is worth a write; collisionCount and conditions are not."""


def new_status(view: SetView, pods: Iterable[PodView], history: History, *, rolled: int) -> Object:
    """The status after a sync; `rolled` pods were just deleted to be updated."""
    members = [pod for pod in pods if pod.created]
    kept = [pod for pod in members if not pod.terminating]
    current = sum(pod.revision == history.current_name for pod in kept)
    status: Object = {
        "observedGeneration": int(view.object["metadata"].get("generation") or 0),
        "replicas": len(members),
        "readyReplicas": sum(pod.running_ready for pod in members),
        "availableReplicas": sum(pod.running_ready and pod.available for pod in members),
        # Upstream subtracts without a floor; below zero the API server would refuse the whole status.
        "currentReplicas": max(0, current - rolled),
        "updatedReplicas": sum(pod.revision == history.update_name for pod in kept),
        "currentRevision": history.current_name,
        "updateRevision": history.update_name,
        "collisionCount": history.collision_count,
    }
    return {key: value for key, value in _completed(view, status).items() if value or key in ALWAYS_SHOWN}


def _completed(view: SetView, status: Object) -> Object:
    """A rolling update is complete when every replica is ready and updated: the update revision becomes current."""
    counts = (status["updatedReplicas"], status["readyReplicas"], status["replicas"])
    if view.on_delete or any(count != view.replicas for count in counts):
        return status
    return status | {"currentReplicas": status["updatedReplicas"], "currentRevision": status["updateRevision"]}


def status_writes(view: SetView, status: Object) -> list[Update]:
    """The status write, also after a failed sync, or nothing where the stored status says the same."""
    old = view.status
    observed = status.get("observedGeneration", 0) > old.get("observedGeneration", 0)
    if not observed and all((status.get(field) or 0) == (old.get(field) or 0) for field in COMPARED):
        return []
    return [Update(_unversioned(view.object) | {"status": status}, subresource="status", always=True)]


def _unversioned(obj: Object) -> Object:
    """Without its resourceVersion: only the uid guards the write. Nobody else writes this status, and a change of the
    spec meanwhile must not lose it (upstream retries the conflict with the same status): the first currentRevision,
    once lost, would be forgotten."""
    return obj | {"metadata": {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}}

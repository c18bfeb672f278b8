"""A Deployment's status: counts over its ReplicaSets, and what they say about availability and progress.

    Available     enough pods are available: MinimumReplicasAvailable / MinimumReplicasUnavailable
    Progressing   NewReplicaSetCreated, FoundNewReplicaSet ─▶ ReplicaSetUpdated (each step renews lastUpdateTime)
                    ─▶ NewReplicaSetAvailable             every pod is new and available
                    ─▶ ProgressDeadlineExceeded           no step for progressDeadlineSeconds
                  DeploymentPaused, DeploymentResumed     in between; a paused rollout makes and misses no deadline

Without progressDeadlineSeconds there is no Progressing condition. Rules: progress.go, and calculateStatus in sync.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.cluster.api.objects import Object
from petset.cluster.api.times import format_time, parse_time
from petset.cluster.controllers.deployment.rolling import total
from petset.cluster.controllers.deployment.view import DeploymentView, ReplicaSetView

AVAILABLE, PROGRESSING = "Available", "Progressing"
CREATED, FOUND, UPDATED = "NewReplicaSetCreated", "FoundNewReplicaSet", "ReplicaSetUpdated"
DONE, TIMED_OUT = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"

DEADLINE_MARGIN_SECONDS = 1.0
"""The deadline has passed strictly after it, and condition times are whole seconds."""

Conditions = list[Object]


def condition_of(conditions: Conditions, type_: str) -> Object | None:
    return next((each for each in conditions if each["type"] == type_), None)


def make_condition(type_: str, status: str, *, reason: str, message: str, now: float) -> Object:
    """`now` in epoch seconds."""
    time = format_time(now)
    times = {"lastTransitionTime": time, "lastUpdateTime": time}
    return {"type": type_, "status": status, "reason": reason, "message": message, **times}


def set_condition(conditions: Conditions, new: Object) -> Conditions:
    """With the new one in its type's place; unchanged where status and reason are the same already."""
    old = condition_of(conditions, new["type"])
    if old is not None and (old["status"], old.get("reason")) == (new["status"], new["reason"]):
        return conditions
    if old is not None and old["status"] == new["status"]:
        new = new | {"lastTransitionTime": old["lastTransitionTime"]}
    return [*(each for each in conditions if each["type"] != new["type"]), new]


def pause_conditions(view: DeploymentView, conditions: Conditions, now: float) -> Conditions:
    """Progressing turns Unknown when a rollout is paused and again when it is resumed; a timeout is not covered up."""
    current = condition_of(conditions, PROGRESSING)
    reason = current.get("reason") if current else None
    if view.deadline_seconds is None or reason == TIMED_OUT or view.paused == (reason == PAUSED):
        return conditions
    reason, message = (PAUSED, "Deployment is paused") if view.paused else (RESUMED, "Deployment is resumed")
    return set_condition(conditions, make_condition(PROGRESSING, "Unknown", reason=reason, message=message, now=now))


def count(view: DeploymentView, old: Sequence[ReplicaSetView], new: ReplicaSetView | None) -> Object:
    """The status without its conditions; zeros are shown here and omitted by `completed`."""
    sets = [*old, *([new] if new else [])]
    available = sum(each.available for each in sets)
    return {
        "observedGeneration": view.generation,
        "replicas": sum(each.actual for each in sets),
        "updatedReplicas": new.actual if new else 0,
        "readyReplicas": sum(each.ready for each in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, total(sets) - available),
    }


def completed(status: Object, conditions: Conditions, collision_count: int) -> Object:
    """The status as it is stored: Go's omitempty leaves zeros out."""
    whole = status | {"collisionCount": collision_count, "conditions": conditions}
    return {name: value for name, value in whole.items() if value}


def with_availability(view: DeploymentView, status: Object, conditions: Conditions, now: float) -> Conditions:
    if status["availableReplicas"] >= view.min_available:
        value, reason, message = "True", "MinimumReplicasAvailable", "Deployment has minimum availability."
    else:
        value, reason = "False", "MinimumReplicasUnavailable"
        message = "Deployment does not have minimum availability."
    return set_condition(conditions, make_condition(AVAILABLE, value, reason=reason, message=message, now=now))


def with_progress(
    view: DeploymentView, status: Object, conditions: Conditions, *, new: ReplicaSetView | None, now: float
) -> Conditions:
    """Progressing, judged by how `status` differs from the stored one and by the time since the last step."""
    if view.deadline_seconds is None:
        return [each for each in conditions if each["type"] != PROGRESSING]
    current = condition_of(conditions, PROGRESSING)
    rolled = current is not None and current.get("reason") == DONE and status["replicas"] == status["updatedReplicas"]
    if rolled:
        return conditions
    subject = f'ReplicaSet "{new.name}"' if new else f'Deployment "{view.name}"'
    if is_complete(view, status):
        message = f"{subject} has successfully progressed."
        return set_condition(conditions, make_condition(PROGRESSING, "True", reason=DONE, message=message, now=now))
    if _has_moved(view.status, status):
        step = make_condition(PROGRESSING, "True", reason=UPDATED, message=f"{subject} is progressing.", now=now)
        if current is not None and current["status"] == "True":
            step["lastTransitionTime"] = current["lastTransitionTime"]
        return [*(each for each in conditions if each["type"] != PROGRESSING), step]
    if _has_timed_out(view, current, now):
        message = f"{subject} has timed out progressing."
        late = make_condition(PROGRESSING, "False", reason=TIMED_OUT, message=message, now=now)
        return set_condition(conditions, late)
    return conditions


def is_complete(view: DeploymentView, status: Object) -> bool:
    """Every wanted pod is there, of the new template and available, and no other."""
    counts = ("updatedReplicas", "replicas", "availableReplicas")
    all_there = all(int(status.get(name) or 0) == view.replicas for name in counts)
    return all_there and int(status.get("observedGeneration") or 0) >= view.generation


def _has_moved(before: Object, after: Object) -> bool:
    def grew(name: str) -> bool:
        return int(after[name]) > int(before.get(name) or 0)

    old_before = int(before.get("replicas") or 0) - int(before.get("updatedReplicas") or 0)
    old_after = after["replicas"] - after["updatedReplicas"]
    steps = (grew(name) for name in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    return old_after < old_before or any(steps)


def _has_timed_out(view: DeploymentView, current: Object | None, now: float) -> bool:
    if current is None or current.get("reason") == DONE:
        return False
    return current.get("reason") == TIMED_OUT or _deadline(view, current) < now


def _deadline(view: DeploymentView, progressing: Object) -> float:
    return parse_time(progressing["lastUpdateTime"]) + (view.deadline_seconds or 0)


def next_look(view: DeploymentView, status: Object, conditions: Conditions) -> float | None:
    """When a rollout that stands still will have missed its deadline (epoch seconds)."""
    current = condition_of(conditions, PROGRESSING)
    if view.deadline_seconds is None or current is None or current.get("reason") in (DONE, TIMED_OUT):
        return None
    return None if is_complete(view, status) else _deadline(view, current) + DEADLINE_MARGIN_SECONDS

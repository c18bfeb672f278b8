"""One sync of a Deployment: what to write now, given what the cache shows.

    members ─▶ paused, or replicas changed? ── yes ─▶ scale in proportion ──────────────────────────┐
                        │ no                                                                        │
                        ├ RollingUpdate ─▶ new set: make, bring up to date ─▶ up? ─ no ─▶ down? ────┤
                        └ Recreate ─▶ old sets to 0 ─▶ no old pod left ─▶ new set to full size ─────┤
                                                                                                    ▼
                                                              complete ─▶ history limit       ─▶ status

Only one of "up" and "down" happens in a sync; the ReplicaSets' next status wakes the Deployment again. A Deployment
that is being deleted gets its status written and nothing else. Rules: syncDeployment in deployment_controller.go,
rolling.go, recreate.go and sync.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from petset.cluster.api.objects import Object, annotations_of, uid_of
from petset.cluster.control.snapshot import Key, Snapshot
from petset.cluster.control.writes import NOTHING, Create, Delete, Outcome, Patch, Record, Write
from petset.cluster.controllers.adoption import claim, owner_of
from petset.cluster.controllers.deployment import status as progress
from petset.cluster.controllers.deployment.rolling import (
    active,
    new_set_size,
    scaled,
    scaled_down,
    without_unhealthy,
)
from petset.cluster.controllers.deployment.sets import (
    forgettable,
    new_set,
    next_revision,
    size_annotations,
    split_sets,
    updated_annotations,
)
from petset.cluster.controllers.deployment.view import REVISION, DeploymentView, ReplicaSetView
from petset.cluster.controllers.edits import patch_status


@dataclass
class _Rollout:
    """What a sync knows and has decided so far; the sets carry their planned sizes."""

    view: DeploymentView
    snapshot: Snapshot
    now: float
    new: ReplicaSetView | None
    old: tuple[ReplicaSetView, ...]
    conditions: progress.Conditions
    collision_count: int
    writes: list[Write] = field(default_factory=list)

    @property
    def sets(self) -> tuple[ReplicaSetView, ...]:
        return (*self.old, self.new) if self.new else self.old


def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
    """The writes that bring the Deployment of this (namespace, name) one step on; `now` in epoch seconds."""
    found = snapshot.get("Deployment", *key)
    if found is None:
        return NOTHING
    view = DeploymentView.of(found)
    claimed = claim(found, snapshot.objects("ReplicaSet", view.namespace), view.selector.selects)
    new, old = split_sets(view, [ReplicaSetView.of(each) for each in claimed.members])
    conditions = list(view.status.get("conditions") or ())
    rollout = _Rollout(view, snapshot, now, new, old, conditions, view.collision_count, list(claimed.writes))
    if view.terminating:
        return _outcome(rollout, judge_progress=False)
    rollout.conditions = progress.pause_conditions(view, rollout.conditions, now)
    if view.paused or _is_scaling(rollout):
        _scale(rollout)
        return _outcome(rollout, judge_progress=False)
    if view.recreate:
        _recreate(rollout)
    else:
        _roll(rollout)
    return _outcome(rollout, judge_progress=True)


def _is_scaling(rollout: _Rollout) -> bool:
    """Whether an active set was last scaled for another number of replicas."""
    return any(each.desired not in (None, rollout.view.replicas) for each in active(rollout.sets))


def _scale(rollout: _Rollout) -> None:
    _update_new(rollout)
    _resize(rollout, scaled(rollout.view, rollout.old, rollout.new))
    if rollout.view.paused:
        _forget(rollout)


def _roll(rollout: _Rollout) -> None:
    view = rollout.view
    new = _update_new(rollout) or _create_new(rollout)
    if _resize(rollout, [replace(new, replicas=new_set_size(view, rollout.sets, new.replicas))]):
        return
    down = _resize(rollout, without_unhealthy(view, rollout.old, rollout.new))
    down = _resize(rollout, scaled_down(view, rollout.old, rollout.new)) or down
    if not down and progress.is_complete(view, view.status):
        _forget(rollout)


def _recreate(rollout: _Rollout) -> None:
    view = rollout.view
    _update_new(rollout)
    if _resize(rollout, [replace(each, replicas=0) for each in active(rollout.old)]) or _old_pods_are_left(rollout):
        return
    new = rollout.new or _create_new(rollout)
    if not _resize(rollout, [replace(new, replicas=view.replicas)]) and progress.is_complete(view, view.status):
        _forget(rollout)


def _old_pods_are_left(rollout: _Rollout) -> bool:
    """A pod that ended counts no more; one that is terminating does."""
    if any(each.actual for each in rollout.old):
        return True
    old = {each.uid for each in rollout.old}
    for pod in rollout.snapshot.objects("Pod", rollout.view.namespace):
        owner = owner_of(pod, "ReplicaSet", rollout.snapshot)
        ended = (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")
        if owner is not None and uid_of(owner) in old and not ended:
            return True
    return False


def _update_new(rollout: _Rollout) -> ReplicaSetView | None:
    """Bring the existing new set up to date: revision, inherited annotations, minReadySeconds."""
    view, new = rollout.view, rollout.new
    if new is None:
        return None
    revision = max(new.revision, next_revision(rollout.old))
    body: Object = {}
    if annotations := updated_annotations(view, new, revision):
        body["metadata"] = {"annotations": annotations}
    if int(new.object["spec"].get("minReadySeconds") or 0) != view.min_ready_seconds:
        body["spec"] = {"minReadySeconds": view.min_ready_seconds}
    if body:
        rollout.writes.append(Patch("ReplicaSet", view.namespace, new.name, body, uid=new.uid))
    _show_revision(rollout, revision)
    if view.deadline_seconds is not None and not progress.condition_of(rollout.conditions, progress.PROGRESSING):
        _note_progress(rollout, progress.FOUND, f'Found new replica set "{new.name}"')
    return new


def _create_new(rollout: _Rollout) -> ReplicaSetView:
    """Make the new set, as large as it may be at once."""
    view, revision = rollout.view, next_revision(rollout.old)
    obj, rollout.collision_count = new_set(view, revision=revision, snapshot=rollout.snapshot)
    planned = ReplicaSetView.of(obj)
    size = new_set_size(view, (*rollout.old, planned), 0)
    obj["spec"]["replicas"] = size
    scaled_up = _event(view, f"Scaled up replica set {planned.name} from 0 to {size}") if size else None
    text = f'Failed to create new replica set "{planned.name}": ' + "{error}"
    failed = Record(view.object, "Warning", "ReplicaSetCreateError", text)
    rollout.writes.append(Create(obj, said=scaled_up, failed=failed))
    rollout.new = replace(planned, replicas=size)
    _show_revision(rollout, revision)
    if view.deadline_seconds is not None:
        _note_progress(rollout, progress.CREATED, f'Created new replica set "{planned.name}"')
    return rollout.new


def _show_revision(rollout: _Rollout, revision: int) -> None:
    view = rollout.view
    if annotations_of(view.object).get(REVISION) != str(revision):
        body = {"metadata": {"annotations": {REVISION: str(revision)}}}
        rollout.writes.append(Patch("Deployment", view.namespace, view.name, body, uid=view.uid))


def _note_progress(rollout: _Rollout, reason: str, message: str) -> None:
    new = progress.make_condition(progress.PROGRESSING, "True", reason=reason, message=message, now=rollout.now)
    rollout.conditions = progress.set_condition(rollout.conditions, new)


def _resize(rollout: _Rollout, wanted: Iterable[ReplicaSetView]) -> bool:
    """Bring sets to the sizes of these versions of them, and their notes up to date; whether any size changed."""
    view, changed = rollout.view, False
    present = {each.name: each for each in rollout.sets}
    for each in wanted:
        before = present[each.name]
        resized = each.replicas != before.replicas
        notes = size_annotations(view)
        if not resized and notes.items() <= annotations_of(each.object).items():
            continue
        said = None
        if resized:
            way = "up" if each.replicas > before.replicas else "down"
            text = f"Scaled {way} replica set {each.name} from {before.replicas} to {each.replicas}"
            said = _event(view, text)
        body = {"spec": {"replicas": each.replicas}, "metadata": {"annotations": notes}}
        rollout.writes.append(Patch("ReplicaSet", view.namespace, each.name, body, uid=each.uid, said=said))
        changed = changed or resized
        _replace(rollout, each)
    return changed


def _replace(rollout: _Rollout, each: ReplicaSetView) -> None:
    if rollout.new is not None and rollout.new.name == each.name:
        rollout.new = each
    rollout.old = tuple(each if old.name == each.name else old for old in rollout.old)


def _event(view: DeploymentView, text: str) -> Record:
    return Record(view.object, "Normal", "ScalingReplicaSet", text)


def _forget(rollout: _Rollout) -> None:
    """Delete old sets beyond the history limit."""
    namespace = rollout.view.namespace
    spent = forgettable(rollout.view, rollout.old)
    rollout.writes += [Delete("ReplicaSet", namespace, each.name, uid=each.uid) for each in spent]


def _outcome(rollout: _Rollout, *, judge_progress: bool) -> Outcome:
    """The writes so far and the status, where it says something new."""
    view, now = rollout.view, rollout.now
    counted = progress.count(view, rollout.old, rollout.new)
    conditions = progress.with_availability(view, counted, rollout.conditions, now)
    again_at = None
    if judge_progress:
        conditions = progress.with_progress(view, counted, conditions, new=rollout.new, now=now)
        again_at = progress.next_look(view, counted, conditions)
    status = progress.completed(counted, conditions, rollout.collision_count)
    if status != view.status:
        # A patch, not a PUT: writes of this sync may have changed the Deployment's revision annotation.
        removed = dict.fromkeys(view.status.keys() - status.keys())
        rollout.writes.append(patch_status(view.object, {**removed, **status}))
    return Outcome(tuple(rollout.writes), again_at)

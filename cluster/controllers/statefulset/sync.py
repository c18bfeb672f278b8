"""One sync of a StatefulSet: what to write now, given what the cache shows.

    members ─▶ revisions ─▶ replicas, ascending ─▶ condemned, descending ─▶ rolling update ─▶ history ─▶ status
    adopt,     create,      replace the finished,   own their claims,        delete old         truncate   count
    release    renumber     create the missing,     delete                   pods
                            repair

OrderedReady ("monotonic") stops at the first replica that is not ready and available, and deletes one pod at a time.
Parallel does every step for every pod in one sync; only an error stops it between two steps. A set that is being
deleted gets its status written and nothing else.

The plan acts only on what the snapshot shows, and is the same for the same snapshot: the runner must have seen its
own last writes before it asks again. Three things follow from that and differ from upstream in form only:

- Revision and pods are created in one outcome, since the revision's name is computed, not assigned.
- Where the snapshot shows that a write must fail (a pod's name is taken by a pod that was released, a claim is still
  being deleted), nothing is sent: the outcome's `error` makes the runner try again with backoff, as upstream does
  after the server's refusal.
- Slow-start batches of parallel writes are left to whoever sends them.

Rules: updateStatefulSet, processReplica and processCondemned in stateful_set_control.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from petset.cluster.api.objects import name_of
from petset.cluster.api.revisions import apply_revision
from petset.cluster.control.snapshot import Key, Snapshot
from petset.cluster.control.writes import NOTHING, Create, Delete, Outcome, Update, Write
from petset.cluster.controllers.statefulset.claims import (
    has_stale_claim,
    missing_claims,
    retention_matches,
    retention_writes,
)
from petset.cluster.controllers.statefulset.events import about_pod, pod_failed
from petset.cluster.controllers.statefulset.history import History, find_history, truncation
from petset.cluster.controllers.statefulset.members import Members, find_members
from petset.cluster.controllers.statefulset.pods import (
    PodView,
    build_pod,
    identity_matches,
    parent_and_ordinal,
    repaired,
    storage_matches,
)
from petset.cluster.controllers.statefulset.rolling import rolling_targets
from petset.cluster.controllers.statefulset.set_view import SetView
from petset.cluster.controllers.statefulset.status import new_status, status_writes

AVAILABLE_MARGIN_SECONDS = 0.001
"""A pod is available strictly after minReadySeconds: looking exactly then would be too early."""

STALE_CLAIM_SECONDS = 1.0
"""When to look again while a claim of an earlier pod is being collected: events of claims wake no set."""


@dataclass
class _Todo:
    """What a sync has decided so far. `rolled` counts pods deleted to be updated."""

    writes: list[Write] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    again_at: list[float] = field(default_factory=list)
    rolled: int = 0


@dataclass(frozen=True)
class _Sync:
    """What a sync decides from. `slots` are the replicas by index, `condemned` the other pods, highest first."""

    view: SetView
    snapshot: Snapshot
    members: Members
    history: History
    now: float
    slots: list[PodView]
    condemned: list[PodView]


def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
    """The writes that bring the set of this (namespace, name) one step on; `now` in epoch seconds."""
    found = snapshot.get("StatefulSet", *key)
    if found is None:
        return NOTHING
    view = SetView.of(found)
    members = find_members(view, snapshot)
    history = find_history(view, members.revisions, snapshot)
    pods = _member_pods(view, members, now)
    todo = _Todo(writes=[*members.writes, *history.writes])
    if not view.terminating:
        condemned = [pod for pod in reversed(pods) if not view.has_ordinal(pod.ordinal)]
        slots = _slots(view, history, pods)
        _sync_pods(_Sync(view, snapshot, members, history, now, slots, condemned), todo)
    todo.writes += truncation(view, history, in_use=[pod.revision for pod in pods])
    todo.writes += status_writes(view, new_status(view, pods, history, rolled=todo.rolled))
    todo.again_at += _availability_times(view, pods)
    return Outcome(tuple(todo.writes), min(todo.again_at, default=None), "; ".join(todo.errors))


def _member_pods(view: SetView, members: Members, now: float) -> list[PodView]:
    """The members by ordinal. Of two names with one ordinal (`web-1`, `web-01`), only the canonical one counts."""
    by_ordinal: dict[int, PodView] = {}
    for obj in members.pods:
        named = parent_and_ordinal(name_of(obj))
        if named is None:
            continue
        pod = PodView.of(obj, ordinal=named[1], min_ready_seconds=view.min_ready_seconds, now=now)
        if pod.ordinal not in by_ordinal or pod.name == view.pod_name(pod.ordinal):
            by_ordinal[pod.ordinal] = pod
    return [by_ordinal[ordinal] for ordinal in sorted(by_ordinal)]


def _slots(view: SetView, history: History, pods: list[PodView]) -> list[PodView]:
    existing = {pod.ordinal: pod for pod in pods}
    return [existing.get(each) or _missing_pod(view, history, each) for each in range(view.start, view.end)]


def _missing_pod(view: SetView, history: History, ordinal: int) -> PodView:
    """An empty slot: of the current revision below the partition (or below the pods that a roll without a
    rollingUpdate block has not reached yet), otherwise of the update revision. The pod itself is built on creation."""
    partition = int(view.status.get("currentReplicas") or 0) if view.partition is None else view.partition
    stays = not view.on_delete and ordinal < view.start + partition
    revision = history.current_name if stays else history.update_name
    return PodView.missing(view.pod_name(ordinal), ordinal=ordinal, revision=revision)


def _sync_pods(sync: _Sync, todo: _Todo) -> None:
    """Replicas, then condemned pods, then the rolling update; each only if the one before did not stop."""
    for index in range(len(sync.slots)):
        if _process_replica(sync, index, todo) and sync.view.monotonic:
            return
    if todo.errors:
        return
    for pod in sync.condemned:
        if not retention_matches(sync.view, pod, sync.snapshot):
            todo.writes += retention_writes(sync.view, pod, sync.snapshot)
    first_unavailable = _first_unavailable(sync)
    for pod in sync.condemned:
        if _process_condemned(sync, pod, first_unavailable, todo) and sync.view.monotonic:
            return
    if sync.view.on_delete:
        return
    for pod in rolling_targets(sync.view, sync.slots, sync.history.update_name):
        todo.writes.append(_deletion(sync, pod))
        todo.rolled += 1


def _first_unavailable(sync: _Sync) -> PodView | None:
    return next((pod for pod in (*sync.slots, *reversed(sync.condemned)) if pod.unavailable), None)


def _process_replica(sync: _Sync, index: int, todo: _Todo) -> bool:
    """One step for one replica; True means that a monotonic set goes no further in this sync."""
    pod = sync.slots[index]
    if pod.finished:
        if not pod.terminating:
            todo.writes.append(_deletion(sync, pod))
            sync.slots[index] = replace(pod, terminating=True)
        return True
    if not pod.created:
        _create(sync, pod, todo)
        return True
    if pod.phase == "Pending" and not _complete_claims(sync, pod, todo):
        return True
    if sync.view.monotonic and (pod.terminating or not pod.running_available):
        return True
    return not _repair(sync, pod, todo)


def _process_condemned(sync: _Sync, pod: PodView, first_unavailable: PodView | None, todo: _Todo) -> bool:
    """Delete a pod that is to go; a monotonic set waits for an unhealthy pod unless all pods before it are healthy."""
    if pod.terminating:
        return True
    if sync.view.monotonic and not pod.running_available and pod is not first_unavailable:
        return True
    todo.writes.append(_deletion(sync, pod))
    return True


def _create(sync: _Sync, pod: PodView, todo: _Todo) -> None:
    """The missing claims, then the pod, then the owners of claims that were there already."""
    view, snapshot = sync.view, sync.snapshot
    if has_stale_claim(view, pod, snapshot):
        todo.again_at.append(sync.now + STALE_CLAIM_SECONDS)
        return
    if snapshot.get("Pod", view.namespace, pod.name) is not None:
        # Released, or made by somebody else: the server would answer AlreadyExists, which no event reports.
        todo.errors.append(f'pods "{pod.name}" already exists')
        return
    claims, error = missing_claims(view, pod, snapshot)
    todo.writes += claims
    if error:
        todo.errors.append(error)
        todo.writes.append(pod_failed(view.object, "create", pod=pod.name, error=error))
        return
    revision = sync.history.named(pod.revision)
    obj = build_pod(view, template=apply_revision(revision), revision=pod.revision, ordinal=pod.ordinal)
    todo.writes.append(Create(obj, **about_pod(view.object, "create", pod.name)))
    todo.writes += retention_writes(view, pod, snapshot)


def _complete_claims(sync: _Sync, pod: PodView, todo: _Todo) -> bool:
    """A pending pod may wait for a claim that was deleted: make it again. False where that is not possible yet."""
    claims, error = missing_claims(sync.view, pod, sync.snapshot)
    todo.writes += claims
    if error:
        todo.errors.append(error)
        return False
    todo.writes += retention_writes(sync.view, pod, sync.snapshot)
    return True


def _repair(sync: _Sync, pod: PodView, todo: _Todo) -> bool:
    """Restore what the ordinal demands: pod-name label, claim volumes, owners of claims. False after an error.

    A pod that is adopted in this sync is left to the next one: its cached version is out of date by then. The
    owners of a pending pod's claims were seen to before.
    """
    view, snapshot = sync.view, sync.snapshot
    storage = storage_matches(view, pod)
    retention = pod.phase == "Pending" or retention_matches(view, pod, snapshot)
    if pod.name in sync.members.adopted or (identity_matches(view, pod) and storage and retention):
        return True
    if not storage:
        claims, error = missing_claims(view, pod, snapshot)
        todo.writes += claims
        if error:
            todo.errors.append(error)
            todo.writes.append(pod_failed(view.object, "update", pod=pod.name, error=error))
            return False
    if not retention:
        todo.writes += retention_writes(view, pod, snapshot)
    todo.writes.append(Update(repaired(view, pod), **about_pod(view.object, "update", pod.name)))
    return True


def _deletion(sync: _Sync, pod: PodView) -> Delete:
    """With the pod's own grace period, and only if it is still this pod."""
    records = about_pod(sync.view.object, "delete", pod.name)
    return Delete(kind="Pod", namespace=sync.view.namespace, name=pod.name, uid=pod.uid, **records)


def _availability_times(view: SetView, pods: list[PodView]) -> list[float]:
    """When ready pods will have been ready for minReadySeconds."""
    if view.terminating or not view.min_ready_seconds:
        return []
    waiting = (pod.available_at for pod in pods if pod.running_ready and not pod.available)
    return [time + AVAILABLE_MARGIN_SECONDS for time in waiting if time is not None and time != float("inf")]

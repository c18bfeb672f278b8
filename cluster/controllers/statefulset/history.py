"""A set's revisions: the one its template is, the one it comes from, and those that may be forgotten.

    template equals the newest revision ──▶ that is the update revision
             equals an older one        ──▶ a rollback: it gets the next number and becomes the newest, name kept
             equals none                ──▶ a new one; a name taken by other data raises collisionCount

The current revision is the one that `status.currentRevision` names, or the update revision where there is none.
A set that is being deleted makes, renumbers and removes no revision.

Rules: getStatefulSetRevisions and truncateHistory in stateful_set_control.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from petset.cluster.api.objects import Object, annotations_of, controller_reference, name_of, uid_of
from petset.cluster.api.revisions import (
    HASH_LABEL,
    encode,
    hash_of,
    next_number,
    revision_data,
    revision_name,
    sorted_revisions,
)
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import Create, Delete, Patch, Write
from petset.cluster.controllers.statefulset.set_view import SetView


@dataclass(frozen=True)
class History:
    """`revisions` are the existing ones, oldest first; `update` may be one that `writes` is to create."""

    revisions: tuple[Object, ...]
    current: Object
    update: Object
    collision_count: int
    writes: tuple[Write, ...]

    @property
    def current_name(self) -> str:
        return name_of(self.current)

    @property
    def update_name(self) -> str:
        return name_of(self.update)

    def named(self, name: str) -> Object:
        """The current or the update revision, by its name."""
        return self.current if name == self.current_name else self.update


def find_history(view: SetView, revisions: Iterable[Object], snapshot: Snapshot) -> History:
    """The set's current and update revision, given those that are its own."""
    ordered = sorted_revisions(revisions)
    data = revision_data(view.template)
    wanted = encode(data)
    number = next_number(ordered)
    collision_count = int(view.status.get("collisionCount") or 0)
    writes: list[Write] = []
    equal = [revision for revision in ordered if encode(revision["data"]) == wanted]
    if equal:
        update = equal[-1]
        if update is not ordered[-1]:
            writes.append(_renumber(update, number))
    else:
        update, collision_count, is_new = _new_revision(view, data, number=number, taken_in=snapshot)
        if is_new:
            writes.append(Create(update))
    current_name = view.status.get("currentRevision")
    current = next((each for each in ordered if name_of(each) == current_name), update)
    return History(tuple(ordered), current, update, collision_count, () if view.terminating else tuple(writes))


def _renumber(revision: Object, number: int) -> Patch:
    return Patch(
        kind="ControllerRevision",
        namespace=revision["metadata"]["namespace"],
        name=name_of(revision),
        body={"revision": number},
        uid=uid_of(revision),
    )


def _new_revision(view: SetView, data: Object, *, number: int, taken_in: Snapshot) -> tuple[Object, int, bool]:
    """A revision of a free name, or the existing object that has the name and the same data (found by its name
    only: it carries labels that the selector does not match, or another owner)."""
    count = int(view.status.get("collisionCount") or 0)
    while True:
        revision = _build(view, data, number=number, hash_value=hash_of(data, count))
        holder = taken_in.get("ControllerRevision", view.namespace, name_of(revision))
        if holder is None:
            return revision, count, True
        if encode(holder["data"]) == encode(data):
            return holder, count, False
        count += 1


def _build(view: SetView, data: Object, *, number: int, hash_value: str) -> Object:
    labels = dict((view.template.get("metadata") or {}).get("labels") or {})
    metadata: Object = {
        "name": revision_name(view.name, hash_value),
        "namespace": view.namespace,
        "labels": labels | {HASH_LABEL: hash_value},
        "ownerReferences": [controller_reference(view.object)],
    }
    if annotations := annotations_of(view.object):
        metadata["annotations"] = dict(annotations)
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata,
        "data": data,
        "revision": number,
    }


def truncation(view: SetView, history: History, *, in_use: Iterable[str]) -> list[Write]:
    """Delete the oldest revisions beyond revisionHistoryLimit. Live ones (current, update, and `in_use`: the names
    in pods' revision labels) are kept and not counted. A negative limit keeps everything."""
    if view.terminating or view.history_limit < 0:
        return []
    live = {history.current_name, history.update_name, *in_use}
    past = [revision for revision in history.revisions if name_of(revision) not in live]
    excess = past[: max(0, len(past) - view.history_limit)]
    return [
        Delete(kind="ControllerRevision", namespace=view.namespace, name=name_of(each), uid=uid_of(each))
        for each in excess
    ]

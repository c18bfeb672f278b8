"""Which objects belong to a selecting owner: adoption of orphans, release of what no longer fits.

    controllerRef is ours ──▶ selector matches ──▶ member
                          └─▶ otherwise release it (unless the owner is being deleted)
    no controllerRef      ──▶ selector matches, neither side being deleted ──▶ adopt it: member
    somebody else's       ──▶ ignored

Pods of ReplicaSets and ReplicationControllers and ReplicaSets of Deployments are claimed by it; a StatefulSet also
looks at names (statefulset/members.py). Both patches carry the object's uid as a precondition. Before the first
adoption the owner is read again, uncached: the cache of dependents may show already what `--cascade=orphan` did to
them while the cache of owners does not yet show why.

Rules: controller_ref_manager.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from petset.cluster.api.objects import (
    Object,
    controller_of,
    controller_reference,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from petset.cluster.api.selectors import LabelMatcher, workload_selector
from petset.cluster.control.controller import Trigger
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import ConfirmNone, Patch, Write


@dataclass(frozen=True)
class Claimed:
    """The members, adopted ones included, in the order given, and the writes that make it so."""

    members: tuple[Object, ...]
    writes: tuple[Write, ...]


@dataclass(frozen=True)
class MayNotAdopt:
    """Whether the live owner is another one than the cached, or about to be deleted."""

    uid: str

    def __call__(self, live: Object) -> bool:
        return uid_of(live) != self.uid or is_terminating(live)


def claim(owner: Object, candidates: Iterable[Object], selector: LabelMatcher) -> Claimed:
    """Decide over objects of the owner's namespace."""
    members: list[Object] = []
    releases: list[Write] = []
    adoptions: list[Write] = []
    for obj in candidates:
        controller = controller_of(obj)
        fits = selector.matches(labels_of(obj))
        if controller is not None:
            if controller["uid"] != uid_of(owner):
                continue
            if fits:
                members.append(obj)
            elif not is_terminating(owner):
                releases.append(_patch_references(obj, {"$patch": "delete", "uid": uid_of(owner)}))
        elif fits and not is_terminating(owner) and not is_terminating(obj):
            members.append(obj)
            adoptions.append(_patch_references(obj, controller_reference(owner)))
    if adoptions:
        look = MayNotAdopt(uid_of(owner))
        adoptions.insert(0, ConfirmNone(owner["kind"], namespace_of(owner), name_of(owner), look, must_exist=True))
    return Claimed(tuple(members), (*releases, *adoptions))


def _patch_references(obj: Object, reference: Object) -> Patch:
    """A strategic merge: the server finds the entry by its uid and leaves other owners alone."""
    body = {"metadata": {"ownerReferences": [reference]}}
    return Patch(obj["kind"], namespace_of(obj), name_of(obj), body, type="strategic", uid=uid_of(obj))


def itself(obj: Object, _snapshot: Snapshot) -> Iterable[Key]:
    """The trigger of the owners' own kind."""
    return (key_of(obj),)


def owner_of(obj: Object, kind: str, snapshot: Snapshot) -> Object | None:
    """The object of this kind that controls `obj`; None where it is of another kind, or gone."""
    reference = controller_of(obj)
    if reference is None or reference["kind"] != kind:
        return None
    owner = snapshot.get(kind, namespace_of(obj), reference["name"])
    return owner if owner is not None and uid_of(owner) == reference["uid"] else None


def owners_of_kind(kind: str) -> Trigger:
    """The trigger of a dependent: the owner that controls it or, for an orphan, every owner that may adopt it."""

    def trigger(dependent: Object, snapshot: Snapshot) -> Iterable[Key]:
        if controller_of(dependent) is None:
            for each in snapshot.objects(kind, namespace_of(dependent)):
                if workload_selector(each).matches(labels_of(dependent)):
                    yield key_of(each)
        elif (owner := owner_of(dependent, kind, snapshot)) is not None:
            yield key_of(owner)

    return trigger

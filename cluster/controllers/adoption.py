"""Which objects belong to a selecting owner: adoption of orphans, release of what no longer fits.

    controllerRef is ours ──▶ selector matches ──▶ member
                          └─▶ otherwise release it (unless the owner is being deleted)
    no controllerRef      ──▶ selector matches, neither side being deleted ──▶ adopt it: member
    somebody else's       ──▶ ignored

Every pod's owner claims by it, and a Deployment its ReplicaSets. Both patches carry the object's uid as a
precondition. Before the first adoption the owner is read again, uncached: the cache of dependents may show already
what `--cascade=orphan` did to them while the cache of owners does not yet show why, and an object adopted for an
owner that goes would be deleted with it. Unlike upstream, an owner that is gone altogether (404) is not told from one
that is well: within that moment the garbage collector takes what was adopted.

Rules: controller_ref_manager.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from petset.cluster.api.objects import (
    Object,
    controller_of,
    controller_reference,
    is_terminating,
    name_of,
    namespace_of,
    uid_of,
)
from petset.cluster.api.selectors import workload_selector
from petset.cluster.control.controller import Trigger
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import ConfirmNone, Patch, Write


@dataclass(frozen=True)
class Claimed:
    """The members in the order given, `adopted` ones included, and the writes that make it so."""

    members: tuple[Object, ...]
    adopted: tuple[Object, ...]
    """Orphans until now: their cached versions are about to change."""
    releases: tuple[Write, ...]
    adoptions: tuple[Write, ...]

    @property
    def writes(self) -> tuple[Write, ...]:
        return (*self.releases, *self.adoptions)


@dataclass(frozen=True)
class MayNotAdopt:
    """Whether the live owner is another one than the cached, or about to be deleted."""

    uid: str

    def __call__(self, live: Object) -> bool:
        return uid_of(live) != self.uid or is_terminating(live)


def claim(owner: Object, candidates: Iterable[Object], fits: Callable[[Object], bool]) -> Claimed:
    """Decide over objects of the owner's namespace; `fits` says which of them the owner selects."""
    members: list[Object] = []
    adopted: list[Object] = []
    releases: list[Write] = []
    for obj in candidates:
        if not is_ours_or_nobodys(owner, obj):
            continue
        if is_adoptable(owner, obj) and fits(obj):
            adopted.append(obj)
            members.append(obj)
        elif controller_of(obj) is not None and fits(obj):
            members.append(obj)
        elif controller_of(obj) is not None and not is_terminating(owner):
            releases.append(_patch_references(obj, {"$patch": "delete", "uid": uid_of(owner)}))
    return Claimed(tuple(members), tuple(adopted), tuple(releases), adopt(owner, adopted))


def is_ours_or_nobodys(owner: Object, obj: Object) -> bool:
    """Whether no other object controls `obj`."""
    controller = controller_of(obj)
    return controller is None or controller["uid"] == uid_of(owner)


def is_adoptable(owner: Object, obj: Object) -> bool:
    """Whether `obj` is an orphan, and neither side is being deleted."""
    return controller_of(obj) is None and not is_terminating(owner) and not is_terminating(obj)


def adopt(owner: Object, orphans: Sequence[Object]) -> tuple[Write, ...]:
    """The writes that make orphans the owner's, after another look at the owner; none for no orphans."""
    if not orphans:
        return ()
    look = ConfirmNone(
        owner["kind"], namespace_of(owner), name_of(owner), MayNotAdopt(uid_of(owner)), must_exist=True
    )  # fmt: skip
    return (look, *(_patch_references(each, controller_reference(owner)) for each in orphans))


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
                if workload_selector(each).selects(dependent):
                    yield key_of(each)
        elif (owner := owner_of(dependent, kind, snapshot)) is not None:
            yield key_of(owner)

    return trigger

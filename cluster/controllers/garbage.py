"""Garbage collection: what is left of an object's owners decides whether it may stay.

    an owner is   solid    it exists, under the uid that the reference names
                  waiting  it exists, but is being deleted in the foreground: it waits for its dependents
                  absent   no object of that uid

    any solid owner                  ─▶ references to waiting and absent owners are dropped, the object stays
    none solid, one waiting          ─▶ deleted; in the foreground itself if it has dependents
    all absent                       ─▶ deleted

    foregroundDeletion finalizer     removed once no dependent that blocks the owner is left
    orphan finalizer                 removed once no dependent names the owner any more; the references are stripped

One controller per kind, so that a key needs no kind. A reference to a kind that is not collected here is taken for
solid: unknown owners destroy nothing. An owner that is missing in the cache may only be late (each kind's cache moves
on its own), therefore every deletion for absence asks the server first (ConfirmNone), and carries the uid and the
resourceVersion that were judged. Rules: statefulset.md 1.11 (garbagecollector.go). An owner in another namespace
counts as absent, a namespaced owner of a cluster-scoped object as solid, as there; the warning event about them is
left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object, is_terminating, name_of, namespace_of, owner_references, uid_of
from petset.cluster.control.controller import Controller, Trigger
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, ConfirmNone, Delete, Outcome, Patch, Write
from petset.cluster.controllers.confirm import HasUid, OwnedBy
from petset.cluster.controllers.edits import finalizers_of, without_finalizer

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"

Kinds = Mapping[str, Kind]


@dataclass(frozen=True)
class Owners:
    """The owners of one object, by their state; each a list of ownerReferences."""

    solid: tuple[Object, ...]
    waiting: tuple[Object, ...]
    absent: tuple[Object, ...]


def plan_object(key: Key, snapshot: Snapshot, now: float, *, kind: str, kinds: Kinds) -> Outcome:
    """What garbage collection does about one object, as an owner or as a dependent."""
    obj = snapshot.get(kind, *key)
    if obj is None:
        return NOTHING
    if is_terminating(obj):
        return Outcome(_finish(obj, snapshot, kinds))
    owners = _owners(obj, snapshot, kinds)
    unwanted = (*owners.waiting, *owners.absent)
    if not unwanted:
        return NOTHING
    if owners.solid:
        return Outcome((*_confirmations(obj, owners.absent, kinds), _drop_references(obj, unwanted)))
    return Outcome((*_confirmations(obj, owners.absent, kinds), *_delete(obj, owners, snapshot, kinds)))


def _owners(obj: Object, snapshot: Snapshot, kinds: Kinds) -> Owners:
    solid, waiting, absent = [], [], []
    for reference in owner_references(obj):
        known = kinds.get(reference["kind"])
        if known is None or (known.namespaced and not namespace_of(obj)):
            solid.append(reference)
            continue
        owner = snapshot.get(known.kind, _namespace_of_owner(obj, known), reference["name"])
        if owner is None or uid_of(owner) != reference["uid"]:
            absent.append(reference)
        elif is_terminating(owner) and FOREGROUND in finalizers_of(owner):
            waiting.append(reference)
        else:
            solid.append(reference)
    return Owners(tuple(solid), tuple(waiting), tuple(absent))


def _namespace_of_owner(obj: Object, owner_kind: Kind) -> str:
    """An owner lives in its dependent's namespace or in none."""
    return namespace_of(obj) if owner_kind.namespaced else ""


def _confirmations(obj: Object, absent: Iterable[Object], kinds: Kinds) -> tuple[ConfirmNone, ...]:
    return tuple(
        ConfirmNone(each["kind"], _namespace_of_owner(obj, kinds[each["kind"]]), each["name"], HasUid(each["uid"]))
        for each in absent
    )


def _drop_references(obj: Object, unwanted: Iterable[Object]) -> Patch:
    """Without these owners; guarded by the resourceVersion, as the list is replaced as a whole."""
    uids = {each["uid"] for each in unwanted}
    left = [each for each in owner_references(obj) if each["uid"] not in uids]
    body = {"metadata": {"resourceVersion": obj["metadata"]["resourceVersion"], "ownerReferences": left or None}}
    return Patch(obj["kind"], namespace_of(obj), name_of(obj), body, uid=uid_of(obj))


def _delete(obj: Object, owners: Owners, snapshot: Snapshot, kinds: Kinds) -> tuple[Write, ...]:
    """Background, unless an owner waits and there is something below to wait for; finalizers chosen before hold."""
    propagation = "Background"
    if FOREGROUND in finalizers_of(obj) or (owners.waiting and _dependents(obj, snapshot, kinds)):
        propagation = "Foreground"
    elif ORPHAN in finalizers_of(obj):
        propagation = "Orphan"
    judged = Delete(
        obj["kind"], namespace_of(obj), name_of(obj), uid=uid_of(obj), revision=obj["metadata"]["resourceVersion"],
        propagation=propagation,
    )  # fmt: skip
    return (judged,)


def _dependents(owner: Object, snapshot: Snapshot, kinds: Kinds) -> list[Object]:
    return [each for kind in kinds for each in snapshot.owned_by(kind, uid_of(owner))]


def _finish(owner: Object, snapshot: Snapshot, kinds: Kinds) -> tuple[Write, ...]:
    """What a terminating owner still waits for."""
    dependents = _dependents(owner, snapshot, kinds)
    if ORPHAN in finalizers_of(owner):
        return _orphan(owner, dependents, kinds)
    if FOREGROUND in finalizers_of(owner) and not any(_blocks(each, owner) for each in dependents):
        return (without_finalizer(owner, FOREGROUND),)
    return ()


def _blocks(dependent: Object, owner: Object) -> bool:
    return any(each["uid"] == uid_of(owner) and each.get("blockOwnerDeletion") for each in owner_references(dependent))


def _orphan(owner: Object, dependents: list[Object], kinds: Kinds) -> tuple[Write, ...]:
    """Strip the owner from every dependent; it goes when the server knows of none that still names it.

    Without the last look, a dependent that this cache has not seen yet would later count as garbage.
    """
    reference = {"uid": uid_of(owner)}
    if dependents:
        return tuple(_drop_references(each, (reference,)) for each in dependents)
    namespace = namespace_of(owner)
    places = [each for each in kinds.values() if each.namespaced or not namespace]
    none_left = (ConfirmNone(each.kind, namespace, matching=OwnedBy(uid_of(owner))) for each in places)
    return (*none_left, without_finalizer(owner, ORPHAN))


def _itself(obj: Object, snapshot: Snapshot) -> Iterable[Key]:
    """Only objects with owners, and those that are being deleted, are ever anything to us."""
    if owner_references(obj) or is_terminating(obj):
        yield key_of(obj)


def _dependents_of_kind(kind: str) -> Trigger:
    """A gone or going owner wakes its dependents; a living one does not."""

    def trigger(owner: Object, snapshot: Snapshot) -> Iterable[Key]:
        present = snapshot.get(owner["kind"], *key_of(owner))
        if present is None or uid_of(present) != uid_of(owner) or is_terminating(present):
            for dependent in snapshot.owned_by(kind, uid_of(owner)):
                yield key_of(dependent)

    return trigger


def _owners_of_kind(kind: Kind) -> Trigger:
    """A changed or gone dependent wakes those of its owners that are being deleted."""

    def trigger(dependent: Object, snapshot: Snapshot) -> Iterable[Key]:
        for reference in owner_references(dependent):
            if reference["kind"] != kind.kind:
                continue
            owner = snapshot.get(kind.kind, _namespace_of_owner(dependent, kind), reference["name"])
            if owner is not None and is_terminating(owner):
                yield key_of(owner)

    return trigger


def _both(first: Trigger, second: Trigger) -> Trigger:
    def trigger(obj: Object, snapshot: Snapshot) -> Iterable[Key]:
        yield from first(obj, snapshot)
        yield from second(obj, snapshot)

    return trigger


def garbage_controllers(kinds: Iterable[Kind]) -> tuple[Controller, ...]:
    """One collector per kind; each of them watches all of these kinds. Events are none of their work."""
    known = {each.kind: each for each in kinds}
    return tuple(_collector(each, known) for each in known.values())


def _collector(kind: Kind, kinds: Kinds) -> Controller:
    related = _both(_dependents_of_kind(kind.kind), _owners_of_kind(kind))
    triggers = {each: _both(_itself, related) if each == kind.kind else related for each in (kind.kind, *kinds)}
    return Controller(
        component="garbage-collector-controller",
        triggers=triggers,
        plan=partial(plan_object, kind=kind.kind, kinds=kinds),
    )

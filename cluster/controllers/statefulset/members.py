"""Which pods and revisions belong to a set: adoption of orphans, release of what no longer fits.

    controllerRef is ours ──▶ selector and name match ──▶ member
                          └─▶ otherwise release it (unless the set is being deleted)
    no controllerRef      ──▶ selector and name match, neither side being deleted ──▶ adopt it: member
    somebody else's       ──▶ ignored

Both patches carry the object's uid as a precondition. Before the first adoption the set is read again, uncached: the
cache of pods may show already what `--cascade=orphan` did to them while the cache of sets does not yet show why, and
an object adopted for a set that goes would be deleted with it. Unlike upstream, a set that is gone altogether (404)
is not told from one that is well: within that moment the garbage collector takes what was adopted.

Rules: controller_ref_manager.go, and ListControllerRevisions in controller_history.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from petset.cluster.api.objects import (
    Object,
    controller_of,
    controller_reference,
    is_terminating,
    labels_of,
    name_of,
    uid_of,
)
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import ConfirmNone, Patch, Write
from petset.cluster.controllers.statefulset.pods import parent_and_ordinal
from petset.cluster.controllers.statefulset.set_view import SetView


@dataclass(frozen=True)
class Members:
    """The set's pods by name and its revisions, adopted ones included, with the writes that make it so."""

    pods: tuple[Object, ...]
    revisions: tuple[Object, ...]
    adopted: frozenset[str]
    """Names of the pods that were orphans until now: the cached version is about to change."""
    writes: tuple[Write, ...]


@dataclass(frozen=True)
class _MayNotAdopt:
    """Whether the live set is another one than the cached, or about to be deleted."""

    uid: str

    def __call__(self, live: Object) -> bool:
        return uid_of(live) != self.uid or is_terminating(live)


def find_members(view: SetView, snapshot: Snapshot) -> Members:
    """Decide over every pod of the namespace, and over every revision that the selector matches."""
    pods: list[Object] = []
    adopted: list[str] = []
    releases: list[Write] = []
    adoptions: list[Write] = []
    revisions: list[Object] = []
    for revision in snapshot.objects("ControllerRevision", view.namespace):
        if not view.selector.matches(labels_of(revision)) or not _is_ours_or_nobodys(view, revision):
            continue
        revisions.append(revision)
        if _is_adoptable(view, revision):
            adoptions.append(_adoption(view, revision))
    for pod in snapshot.objects("Pod", view.namespace):
        if not _is_ours_or_nobodys(view, pod):
            continue
        fits = view.selector.matches(labels_of(pod)) and _has_our_name(view, pod)
        if controller_of(pod) is not None:
            if fits:
                pods.append(pod)
            elif not view.terminating:
                releases.append(_release(view, pod))
        elif fits and _is_adoptable(view, pod):
            pods.append(pod)
            adopted.append(name_of(pod))
            adoptions.append(_adoption(view, pod))
    if adoptions:
        look = ConfirmNone("StatefulSet", view.namespace, view.name, _MayNotAdopt(view.uid), must_exist=True)
        adoptions.insert(0, look)
    return Members(tuple(pods), tuple(revisions), frozenset(adopted), (*releases, *adoptions))


def _is_ours_or_nobodys(view: SetView, obj: Object) -> bool:
    controller = controller_of(obj)
    return controller is None or controller["uid"] == view.uid


def _has_our_name(view: SetView, pod: Object) -> bool:
    found = parent_and_ordinal(name_of(pod))
    return found is not None and found[0] == view.name


def _is_adoptable(view: SetView, obj: Object) -> bool:
    return controller_of(obj) is None and not view.terminating and not is_terminating(obj)


def _adoption(view: SetView, obj: Object) -> Patch:
    return _patch_references(view, obj, controller_reference(view.object))


def _release(view: SetView, pod: Object) -> Patch:
    return _patch_references(view, pod, {"$patch": "delete", "uid": view.uid})


def _patch_references(view: SetView, obj: Object, reference: Object) -> Patch:
    """A strategic merge: the server finds the entry by its uid and leaves other owners alone."""
    return Patch(
        kind=obj["kind"],
        namespace=view.namespace,
        name=name_of(obj),
        body={"metadata": {"ownerReferences": [reference]}},
        type="strategic",
        uid=uid_of(obj),
    )

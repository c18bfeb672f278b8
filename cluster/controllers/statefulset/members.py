"""Which pods and revisions belong to a set: those that it controls or may adopt (adoption.py), and that fit.

    pod        the selector matches, and its name is the set's with an ordinal; ours are released when they do not
    revision   the selector matches; ours are never released

Rules: stateful_set.go (getPodsForStatefulSet), and ListControllerRevisions in controller_history.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from petset.cluster.api.objects import Object, name_of
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import Write
from petset.cluster.controllers.adoption import adopt, claim, is_adoptable, is_ours_or_nobodys
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


def find_members(view: SetView, snapshot: Snapshot) -> Members:
    """Decide over every pod of the namespace, and over every revision that the selector matches."""
    owner = view.object

    def fits(pod: Object) -> bool:
        found = parent_and_ordinal(name_of(pod))
        return found is not None and found[0] == view.name and view.selector.selects(pod)

    pods = claim(owner, snapshot.objects("Pod", view.namespace), fits)
    revisions = [
        revision
        for revision in snapshot.objects("ControllerRevision", view.namespace)
        if view.selector.selects(revision) and is_ours_or_nobodys(owner, revision)
    ]
    orphans = [each for each in revisions if is_adoptable(owner, each)]
    adopted = frozenset(name_of(pod) for pod in pods.adopted)
    return Members(
        pods.members, tuple(revisions), adopted, (*pods.releases, *adopt(owner, [*orphans, *pods.adopted]))
    )  # fmt: skip

"""The StatefulSet controller: stable names and disks for pods that come and go, in order.

    set_view.py   the set's fields        pods.py     identity, state, construction
    members.py    adopt, release          claims.py   claims and who owns them
    history.py    revisions               rolling.py  which old pods go now
    status.py     counts                  events.py   what is said about it
    sync.py       the plan: one sync, step by step

Everything is a function of a snapshot and the time. Events of claims and revisions wake no set, as upstream.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.cluster.api.objects import Object, controller_of, namespace_of, uid_of
from petset.cluster.api.selectors import selector_of
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.controllers.statefulset.sync import plan


def _of_set(obj: Object, _snapshot: Snapshot) -> Iterable[Key]:
    return (key_of(obj),)


def _of_pod(pod: Object, snapshot: Snapshot) -> Iterable[Key]:
    """The set that controls the pod, or for an orphan, every set that may want to adopt it."""
    namespace = namespace_of(pod)
    reference = controller_of(pod)
    if reference is None:
        sets = snapshot.objects("StatefulSet", namespace)
        return [key_of(each) for each in sets if selector_of(each["spec"].get("selector")).selects(pod)]
    if reference["kind"] != "StatefulSet":
        return ()
    owner = snapshot.get("StatefulSet", namespace, reference["name"])
    return () if owner is None or uid_of(owner) != reference["uid"] else (key_of(owner),)


CONTROLLER = Controller(
    component="statefulset-controller",
    triggers={"StatefulSet": _of_set, "Pod": _of_pod},
    plan=plan,
    reads=("ControllerRevision", "PersistentVolumeClaim"),
    workers=5,
)

__all__ = ["CONTROLLER"]

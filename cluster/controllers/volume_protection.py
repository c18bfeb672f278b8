"""Nothing in use is removed: the finalizers of claims and volumes, and when they go.

A deleted claim stays (Terminating) while a pod that has a node names it; a pod without a node does not count, it
will not be scheduled with a claim that is going. A deleted volume stays while it is Bound. The finalizers are set at
creation by admission; here they are only removed, a claim's after a look at the server's own list of pods, because
this cache may not yet show the pod that was bound a moment before the deletion. Rules: statefulset.md 4.5.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from petset.cluster.api.objects import Object, is_terminating, namespace_of
from petset.cluster.api.volumes import CLAIM_FINALIZER, VOLUME_FINALIZER, claim_names
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, ConfirmNone, Outcome
from petset.cluster.controllers.edits import finalizers_of, without_finalizer


@dataclass(frozen=True)
class UsesClaim:
    """A pod that has a node and names this claim."""

    claim: str

    def __call__(self, pod: Object) -> bool:
        return bool(pod["spec"].get("nodeName")) and self.claim in claim_names(pod)


def plan_claim_protection(key: Key, snapshot: Snapshot, now: float) -> Outcome:
    """Let a terminating claim go once no scheduled pod names it."""
    claim = snapshot.get("PersistentVolumeClaim", *key)
    if claim is None or not is_terminating(claim) or CLAIM_FINALIZER not in finalizers_of(claim):
        return NOTHING
    uses = UsesClaim(key[1])
    if any(uses(pod) for pod in snapshot.objects("Pod", key[0])):
        return NOTHING
    unused = ConfirmNone("Pod", key[0], matching=uses)
    return Outcome((unused, without_finalizer(claim, CLAIM_FINALIZER)))


def plan_volume_protection(key: Key, snapshot: Snapshot, now: float) -> Outcome:
    """Let a terminating volume go once it is not Bound."""
    volume = snapshot.get("PersistentVolume", *key)
    if volume is None or not is_terminating(volume) or VOLUME_FINALIZER not in finalizers_of(volume):
        return NOTHING
    if (volume.get("status") or {}).get("phase") == "Bound":
        return NOTHING
    return Outcome((without_finalizer(volume, VOLUME_FINALIZER),))


def _itself(obj: Object, snapshot: Snapshot) -> Iterable[Key]:
    yield key_of(obj)


def _terminating_claims(pod: Object, snapshot: Snapshot) -> Iterable[Key]:
    for name in claim_names(pod):
        claim = snapshot.get("PersistentVolumeClaim", namespace_of(pod), name)
        if claim is not None and is_terminating(claim):
            yield key_of(claim)


CLAIM_PROTECTION = Controller(
    component="pvc-protection-controller",
    triggers={"PersistentVolumeClaim": _itself, "Pod": _terminating_claims},
    plan=plan_claim_protection,
)

VOLUME_PROTECTION = Controller(
    component="pv-protection-controller",
    triggers={"PersistentVolume": _itself},
    plan=plan_volume_protection,
)

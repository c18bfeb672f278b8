"""Claims are never shared or swapped: each identity has its own disk, for ever the same.

Judged on every pod that is made (its volumes never change), and on every change of a claim:

    pod journal-1 of a set with template `data`   mounts the claim data-journal-1, and no other identity's
    claim data-journal-1 (one uid)                is bound to one volume, which never changes
    one volume                                    is bound to one claim at a time

A claim that is deleted and made again under its name has lost its disk: that is for the durability oracle.
"""

from __future__ import annotations

from collections.abc import Iterator

from petset.cluster.api.objects import Object, controller_of, name_of, namespace_of, uid_of
from petset.cluster.chaos.observations import Change, Observations
from petset.cluster.chaos.oracles.verdict import Verdict, Violation


def judge(seen: Observations) -> Verdict:
    """Every set's pods and claims in the workload's namespace."""
    templates = _templates(seen)
    disks = _Disks()
    judged, violations = 0, []
    for change in seen.changes:
        if namespace_of(change.object) != seen.namespace:
            continue
        if change.kind == "Pod" and change.type == "ADDED" and (own := _own_claims(change.object, templates)):
            judged += 1
            violations += [_violation(seen, change, what) for what in _wrong_claims(change.object, own)]
        elif change.kind == "PersistentVolumeClaim" and _volume_of(change.object):
            judged += 1
            violations += [_violation(seen, change, what) for what in disks.look(change)]
    promise = "every identity keeps its own claim, and every claim its own volume"
    return Verdict("claims", promise, judged=judged, violations=tuple(violations))


def _templates(seen: Observations) -> dict[str, list[str]]:
    """By a set's uid, the names of its claim templates, which never change: a pod may be seen before its set is."""
    return {
        uid_of(change.object): [name_of(each) for each in change.object["spec"].get("volumeClaimTemplates") or ()]
        for change in seen.of_kind("StatefulSet")
    }


def _own_claims(pod: Object, templates: dict[str, list[str]]) -> dict[str, str]:
    """By template, the claim of a set's pod."""
    owner = controller_of(pod)
    names = templates.get(owner["uid"], []) if owner else []
    return {template: f"{template}-{name_of(pod)}" for template in names}


def _volume_of(claim: Object) -> str:
    return str(claim["spec"].get("volumeName", ""))


class _Disks:
    """Which volume each claim (by uid) has, and which living claim each volume."""

    def __init__(self) -> None:
        self._volume_of: dict[str, str] = {}
        self._claim_of: dict[str, tuple[str, str]] = {}

    def look(self, change: Change) -> Iterator[str]:
        claim, uid = change.object, uid_of(change.object)
        volume = _volume_of(claim)
        if change.type == "DELETED":
            if self._claim_of.get(volume, ("", ""))[0] == uid:
                del self._claim_of[volume]
            return
        before = self._volume_of.setdefault(uid, volume)
        if before != volume:
            yield f"the claim {name_of(claim)} changed its volume from {before} to {volume}"
        holder = self._claim_of.setdefault(volume, (uid, name_of(claim)))
        if holder[0] != uid:
            yield f"the volume {volume} is bound to {holder[1]} and to {name_of(claim)}"


def _wrong_claims(pod: Object, own: dict[str, str]) -> Iterator[str]:
    """Claims of a set's templates that a pod mounts and that are not its own, and its own that it does not mount."""
    mounted = {
        volume["name"]: str(volume["persistentVolumeClaim"]["claimName"])
        for volume in pod["spec"].get("volumes") or ()
        if "persistentVolumeClaim" in volume
    }
    for template, claim in own.items():
        if mounted.get(template) != claim:
            yield f"{name_of(pod)} mounts the claim {mounted.get(template)} as {template}, not its own, {claim}"
    parent = name_of(pod).rpartition("-")[0]
    for volume, claim in mounted.items():
        first, _, ordinal = claim.rpartition("-")
        is_a_members = ordinal.isdecimal() and first in {f"{template}-{parent}" for template in own}
        if volume not in own and is_a_members and claim not in own.values():
            yield f"{name_of(pod)} mounts the claim {claim} of another identity as {volume}"


def _violation(seen: Observations, change: Change, what: str) -> Violation:
    name = name_of(change.object)
    evidence = {
        "objects": seen.history_of(change.kind, name, at=change.at),
        "events": seen.events_about(name, at=change.at),
    }
    return Violation(what, change.at, evidence=evidence)

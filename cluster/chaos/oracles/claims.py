"""Claims are never shared or swapped: each identity has its own disk, for ever the same.

Judged on every change of a pod, a claim and a volume:

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
    templates: dict[str, list[str]] = {}
    disks = _Disks()
    judged, violations = 0, []
    for change in seen.changes:
        if namespace_of(change.object) != seen.namespace:
            continue
        if change.kind == "StatefulSet":
            names = [name_of(each) for each in change.object["spec"].get("volumeClaimTemplates") or ()]
            templates[name_of(change.object)] = names
        elif change.kind == "Pod" and change.type == "ADDED":
            judged += 1
            violations += [_of_pod(seen, change, what) for what in _wrong_claims(change.object, templates)]
        elif change.kind == "PersistentVolumeClaim":
            judged += 1
            violations += [_of_claim(seen, change, what) for what in disks.look(change)]
    promise = "every identity keeps its own claim, and every claim its own volume"
    return Verdict("claims", promise, judged=judged, violations=tuple(violations))


class _Disks:
    """Which volume each claim (by uid) has, and which living claim each volume."""

    def __init__(self) -> None:
        self._volume_of: dict[str, str] = {}
        self._claim_of: dict[str, tuple[str, str]] = {}

    def look(self, change: Change) -> Iterator[str]:
        claim, uid = change.object, uid_of(change.object)
        volume = claim["spec"].get("volumeName", "")
        if not volume:
            return
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


def _wrong_claims(pod: Object, templates: dict[str, list[str]]) -> Iterator[str]:
    """Claims that a set's pod mounts under a template's name and that are not its own."""
    owner = controller_of(pod)
    if owner is None or owner["kind"] != "StatefulSet":
        return
    mounted = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"].get("volumes") or ()
        if "persistentVolumeClaim" in volume
    }
    for template in templates.get(owner["name"], ()):
        own = f"{template}-{name_of(pod)}"
        if mounted.get(template) != own:
            yield f"{name_of(pod)} mounts the claim {mounted.get(template)} as {template}, not its own, {own}"


def _of_pod(seen: Observations, change: Change, what: str) -> Violation:
    name = name_of(change.object)
    evidence = {"objects": seen.history_of("Pod", name), "events": seen.events_about(name)}
    return Violation(what, change.at, evidence=evidence)


def _of_claim(seen: Observations, change: Change, what: str) -> Violation:
    name = name_of(change.object)
    evidence = {"objects": seen.history_of("PersistentVolumeClaim", name), "events": seen.events_about(name)}
    return Violation(what, change.at, evidence=evidence)

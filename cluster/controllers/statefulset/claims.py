"""A pod's claims: made from the templates before the pod, kept after it, and owned as the retention policy says.

The controller never deletes a claim. persistentVolumeClaimRetentionPolicy is a matter of ownerReferences, and the
garbage collector draws the consequence:

    whenScaled / whenDeleted    ordinal in range    ordinal condemned
    Retain / Retain             nobody              nobody
    Retain / Delete             the set             the set
    Delete / Retain             nobody              the pod
    Delete / Delete             the set             the pod

Claims that name an earlier set or pod of the same name (another uid) are left to the garbage collector. A foreign
controller is respected: our references are taken away, and none is added.

Rules: isClaimOwnerUpToDate and updateClaimOwnerRefForSetAndPod in stateful_set_utils.go; createPersistentVolumeClaims
in stateful_pod_control.go.
"""

from __future__ import annotations

import copy

from petset.cluster.api.objects import (
    Object,
    controller_reference,
    is_terminating,
    name_of,
    owner_references,
)
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import Create, Update, Write
from petset.cluster.controllers.statefulset.events import about_claim, conflicting_controller
from petset.cluster.controllers.statefulset.pods import PodView, claim_name
from petset.cluster.controllers.statefulset.set_view import SetView

CLAIM = "PersistentVolumeClaim"


def build_claim(view: SetView, template: Object, ordinal: int) -> Object:
    """The claim of one template and ordinal: the template's metadata and spec, and the selector's matchLabels."""
    meta = template["metadata"]
    labels = dict(meta.get("labels") or {}) | dict(view.matched_labels)
    optional = {"labels": labels, "annotations": dict(meta.get("annotations") or {})}
    return {
        "apiVersion": "v1",
        "kind": CLAIM,
        "metadata": {"name": claim_name(template, view, ordinal), "namespace": view.namespace}
        | {key: value for key, value in optional.items() if value},
        "spec": copy.deepcopy(template["spec"]),
    }


def missing_claims(view: SetView, pod: PodView, snapshot: Snapshot) -> tuple[list[Write], str]:
    """The claims to create for a pod, and the error where one of its claims is still being deleted."""
    writes: list[Write] = []
    errors: list[str] = []
    for template in view.claim_templates:
        name = claim_name(template, view, pod.ordinal)
        existing = snapshot.get(CLAIM, view.namespace, name)
        if existing is None:
            records = about_claim(view.object, claim=name, pod=pod.name)
            writes.append(Create(build_claim(view, template, pod.ordinal), **records))
        elif is_terminating(existing):
            errors.append(f"pvc {name} is being deleted")
    return writes, _aggregate(errors)


def _aggregate(errors: list[str]) -> str:
    """Several errors in one text, as utilerrors.NewAggregate writes them."""
    return f"[{', '.join(errors)}]" if len(errors) > 1 else "".join(errors)


def existing_claims(view: SetView, pod: PodView, snapshot: Snapshot) -> list[Object]:
    found = (
        snapshot.get(CLAIM, view.namespace, claim_name(template, view, pod.ordinal))
        for template in view.claim_templates
    )
    return [claim for claim in found if claim is not None]


def has_stale_claim(view: SetView, pod: PodView, snapshot: Snapshot) -> bool:
    """Whether a claim is going away with an earlier pod of this name, so that a new pod must wait for a new claim."""
    if not view.delete_when_scaled:
        return False
    return any(_is_stale(claim, pod.object, pod.uid) for claim in existing_claims(view, pod, snapshot))


def retention_matches(view: SetView, pod: PodView, snapshot: Snapshot) -> bool:
    """Whether every existing claim of the pod is owned as the policy says."""
    return all(_is_up_to_date(view, pod, claim) for claim in existing_claims(view, pod, snapshot))


def retention_writes(view: SetView, pod: PodView, snapshot: Snapshot) -> list[Write]:
    """The updates that make the owners of the pod's existing claims follow the policy."""
    writes: list[Write] = []
    for claim in existing_claims(view, pod, snapshot):
        if _has_foreign_controller(view, pod, claim):
            writes.append(conflicting_controller(view.object, name_of(claim)))
        if not _is_up_to_date(view, pod, claim):
            metadata = claim["metadata"] | {"ownerReferences": _references(view, pod, claim)}
            writes.append(Update(claim | {"metadata": metadata}))
    return writes


def _wanted_owner(view: SetView, pod: PodView) -> Object | None:
    """Who is to own the claims of this pod (the table above)."""
    if view.delete_when_scaled and not view.has_ordinal(pod.ordinal):
        return pod.object
    return view.object if view.delete_when_deleted else None


def _references(view: SetView, pod: PodView, claim: Object) -> list[Object]:
    ours = (view.object, pod.object)
    others = [ref for ref in owner_references(claim) if not any(_names(ref, each) for each in ours)]
    owner = _wanted_owner(view, pod)
    if owner is None or _has_foreign_controller(view, pod, claim):
        return others
    return [*others, controller_reference(owner)]


def _is_up_to_date(view: SetView, pod: PodView, claim: Object) -> bool:
    if _is_stale(claim, view.object, view.uid) or _is_stale(claim, pod.object, pod.uid):
        return True
    owned = {ref["uid"]: bool(ref.get("controller")) for ref in owner_references(claim)}
    ours = {uid for uid in (view.uid, pod.uid) if uid in owned}
    if _has_foreign_controller(view, pod, claim):
        return not ours
    owner = _wanted_owner(view, pod)
    wanted = {owner["metadata"]["uid"]} if owner else set()
    return ours == wanted and all(owned[uid] for uid in ours)


def _has_foreign_controller(view: SetView, pod: PodView, claim: Object) -> bool:
    """Somebody else controls the claim; of no interest while the policy would not add an owner anyway."""
    if not view.delete_when_scaled and not view.delete_when_deleted:
        return False
    for ref in owner_references(claim):
        if _names(ref, view.object) or _names(ref, pod.object):
            if ref["uid"] not in (view.uid, pod.uid):
                return True
        elif ref.get("controller"):
            return True
    return False


def _names(reference: Object, obj: Object) -> bool:
    """The reference means an object of this kind and name, whatever its uid."""
    return (
        reference.get("apiVersion") == obj["apiVersion"]
        and reference.get("kind") == obj["kind"]
        and reference.get("name") == name_of(obj)
    )


def _is_stale(claim: Object, obj: Object, uid: str) -> bool:
    """The claim belongs to an object of this kind and name that was another one (or to one that is not yet)."""
    return any(_names(ref, obj) and ref["uid"] != uid for ref in owner_references(claim))

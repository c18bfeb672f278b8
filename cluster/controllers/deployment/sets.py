"""A Deployment's ReplicaSets: which one stands for the present template, how it is made, which may be forgotten.

    a set of the same template (but for its hash label) ──▶ the new set: the oldest such set, brought up to date
    none                                                ──▶ a new one, DEPLOYMENT-HASH, with the next revision

A template that comes back (a rollback) finds its old ReplicaSet, which gets the next revision number; its earlier
number goes to the annotation revision-history. Templates are compared without Go's noise, as revisions of
StatefulSets are, so an apply that changes nothing rolls nothing.

The hash is FNV-1 over the template as canonical JSON (api/revisions.py). Kubernetes hashes a dump of Go structs, which
nothing outside of Go can reproduce: names of ReplicaSets and the values of pod-template-hash differ from there.

Rules: getNewReplicaSet in sync.go, SetNewReplicaSetAnnotations in deployment_util.go.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from petset.cluster.api.objects import Object, annotations_of, controller_reference, labels_of
from petset.cluster.api.revisions import encode, hash_of, revision_name
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.controllers.deployment.view import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    REVISION,
    REVISION_HISTORY,
    DeploymentView,
    ReplicaSetView,
)

HASH_LABEL = "pod-template-hash"
MAX_HISTORY_CHARACTERS = 2000
"""How long the revision-history annotation may grow; the oldest numbers are dropped."""

NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration", REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
)  # fmt: skip
"""Annotations of a Deployment that its ReplicaSets do not inherit."""


def split_sets(
    view: DeploymentView, sets: Sequence[ReplicaSetView]
) -> tuple[ReplicaSetView | None, tuple[ReplicaSetView, ...]]:
    """The new set, if there is one, and all others, oldest first."""
    ordered = sorted(sets, key=lambda each: each.age_order)
    wanted = comparable(view.template)
    new = next((each for each in ordered if comparable(each.object["spec"]["template"]) == wanted), None)
    return new, tuple(each for each in ordered if each is not new)


def comparable(template: Object) -> bytes:
    """Two templates are the same if these bytes are: canonical JSON without the hash label."""
    labels = labels_of({"metadata": template.get("metadata") or {}})
    kept = {name: value for name, value in labels.items() if name != HASH_LABEL}
    return encode({**template, "metadata": {**(template.get("metadata") or {}), "labels": kept}})


def next_revision(old: Sequence[ReplicaSetView]) -> int:
    return max((each.revision for each in old), default=0) + 1


def updated_annotations(view: DeploymentView, new: ReplicaSetView, revision: int) -> dict[str, str]:
    """The annotations that the existing new set lacks or that differ; `revision` is the number it should have."""
    present = annotations_of(new.object)
    wanted = _inherited(view)
    if new.revision < revision:
        wanted[REVISION] = str(revision)
        if REVISION in present:
            wanted[REVISION_HISTORY] = _history(present.get(REVISION_HISTORY, ""), present[REVISION])
    return {name: value for name, value in wanted.items() if present.get(name) != value}


def new_set(view: DeploymentView, *, revision: int, snapshot: Snapshot) -> tuple[Object, int]:
    """The ReplicaSet of the present template, without pods yet, and the collision count behind its name.

    A name that is taken by another template's ReplicaSet, or by somebody else's, counts one collision.
    """
    count = view.collision_count
    while True:
        obj = _build(view, revision=revision, hash_value=hash_of(view.template, count))
        if snapshot.get("ReplicaSet", view.namespace, obj["metadata"]["name"]) is None:
            return obj, count
        count += 1


def _build(view: DeploymentView, *, revision: int, hash_value: str) -> Object:
    template = copy.deepcopy(view.template)
    labels = dict((template.get("metadata") or {}).get("labels") or {}) | {HASH_LABEL: hash_value}
    template["metadata"] = (template.get("metadata") or {}) | {"labels": labels}
    selector = copy.deepcopy(view.object["spec"]["selector"])
    selector["matchLabels"] = (selector.get("matchLabels") or {}) | {HASH_LABEL: hash_value}
    spec: Object = {"replicas": 0, "selector": selector, "template": template}
    if view.min_ready_seconds:
        spec["minReadySeconds"] = view.min_ready_seconds
    metadata = {
        "name": revision_name(view.name, hash_value),
        "namespace": view.namespace,
        "labels": dict(labels),
        "annotations": _inherited(view) | {REVISION: str(revision)} | size_annotations(view),
        "ownerReferences": [controller_reference(view.object)],
    }
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec}


def size_annotations(view: DeploymentView) -> dict[str, str]:
    """The Deployment's figures as a ReplicaSet remembers them, for proportional scaling later."""
    return {DESIRED_REPLICAS: str(view.replicas), MAX_REPLICAS: str(view.max_replicas)}


def _inherited(view: DeploymentView) -> dict[str, str]:
    return {name: value for name, value in annotations_of(view.object).items() if name not in NOT_COPIED}


def _history(numbers: str, last: str) -> str:
    """The earlier numbers with the last one added, the oldest dropped where it grows too long."""
    all_of_them = [*numbers.split(","), last] if numbers else [last]
    while len(",".join(all_of_them)) > MAX_HISTORY_CHARACTERS:
        all_of_them.pop(0)
    return ",".join(all_of_them)


def forgettable(view: DeploymentView, old: Sequence[ReplicaSetView]) -> list[ReplicaSetView]:
    """Old sets beyond revisionHistoryLimit, lowest revision first; one that has or may have pods is kept."""
    if view.history_limit is None:
        return []
    living = [each for each in old if not each.object["metadata"].get("deletionTimestamp")]
    ordered = sorted(living, key=lambda each: (each.revision, *each.age_order))
    return [each for each in ordered[: max(0, len(ordered) - view.history_limit)] if _is_spent(each)]


def _is_spent(each: ReplicaSetView) -> bool:
    observed = int((each.object.get("status") or {}).get("observedGeneration") or 0)
    return not each.actual and not each.replicas and int(each.object["metadata"].get("generation") or 0) <= observed

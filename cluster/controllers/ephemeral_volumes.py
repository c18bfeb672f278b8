"""Generic ephemeral volumes: each gets a claim of the pod's own, which lives and dies with the pod.

    pod with spec.volumes[].ephemeral ──▶ claim `<pod>-<volume>`, owned by the pod ──▶ bound and mounted like any other
    pod deleted                       ──▶ the garbage collector deletes the claim, and with it, by its policy, the data

A claim of that name that is somebody else's is never used: the scheduler and the event say so. Rules and texts:
pkg/controller/volume/ephemeral (controller.go) and component-helpers' storage/ephemeral.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.cluster.api.objects import Object, controller_reference, is_terminating, name_of, namespace_of
from petset.cluster.api.volumes import ephemeral_claims, not_made_for
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, Create, Outcome, Record, Write


def plan_pod(key: Key, snapshot: Snapshot, now: float) -> Outcome:
    """Make the claims of one pod that are missing."""
    pod = snapshot.get("Pod", *key)
    if pod is None or is_terminating(pod):
        return NOTHING
    writes: list[Write] = []
    for name, volume in ephemeral_claims(pod).items():
        claim = snapshot.get("PersistentVolumeClaim", namespace_of(pod), name)
        if claim is None:
            failed = _failure(pod, volume, f"create PVC {name}: {{error}}")
            writes.append(Create(_claim(pod, name, volume), exists_ok=True, failed=failed))
        elif problem := not_made_for(claim, pod):
            writes.append(_failure(pod, volume, problem))
    return Outcome(tuple(writes))


def _failure(pod: Object, volume: Object, problem: str) -> Record:
    return Record(pod, "Warning", "FailedBinding", f"ephemeral volume {volume['name']}: {problem}")


def _claim(pod: Object, name: str, volume: Object) -> Object:
    template = volume["ephemeral"]["volumeClaimTemplate"]
    metadata: Object = {"name": name, "namespace": namespace_of(pod), "ownerReferences": [controller_reference(pod)]}
    given = template.get("metadata") or {}
    metadata |= {field: given[field] for field in ("labels", "annotations") if given.get(field)}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]}


def _itself(pod: Object, snapshot: Snapshot) -> Iterable[Key]:
    if ephemeral_claims(pod):
        yield key_of(pod)


def _pod_of_claim(claim: Object, snapshot: Snapshot) -> Iterable[Key]:
    """Somebody deleted it under its pod, which gets another one; or it was in the way, whosever it was."""
    if snapshot.get("PersistentVolumeClaim", *key_of(claim)) is not None:
        return
    for pod in snapshot.objects("Pod", namespace_of(claim)):
        if name_of(claim) in ephemeral_claims(pod):
            yield key_of(pod)


CONTROLLER = Controller(
    component="ephemeral-volume-controller",
    triggers={"Pod": _itself, "PersistentVolumeClaim": _pod_of_claim},
    plan=plan_pod,
)

"""The Deployment controller: interchangeable pods that are replaced gradually, through one ReplicaSet per template.

    view.py      the fields of a Deployment and of its ReplicaSets; how many pods may be missing or too many
    sets.py      which ReplicaSet is the new one, how it is made; revisions and history
    rolling.py   arithmetic: how far to scale the new set up and the old ones down; proportional scaling
    status.py    counts and the conditions Available and Progressing
    sync.py      the plan: one sync, step by step

Everything is a function of a snapshot and the time. Left out: the annotation for a rollback by the server
(`deprecated.deployment.rollback.to`; kubectl patches the template instead) and the condition ReplicaFailure.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.cluster.api.objects import Object
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.controllers.adoption import itself, owner_of, owners_of_kind
from petset.cluster.controllers.deployment.sync import plan


def _of_pod(pod: Object, snapshot: Snapshot) -> Iterable[Key]:
    """Pods matter by themselves only where old ones must be gone before new ones come."""
    replica_set = owner_of(pod, "ReplicaSet", snapshot)
    deployment = replica_set and owner_of(replica_set, "Deployment", snapshot)
    if deployment and (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        yield key_of(deployment)


CONTROLLER = Controller(
    component="deployment-controller",
    triggers={"Deployment": itself, "ReplicaSet": owners_of_kind("Deployment"), "Pod": _of_pod},
    plan=plan,
    workers=5,
)

__all__ = ["CONTROLLER"]

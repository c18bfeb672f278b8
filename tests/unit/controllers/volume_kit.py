"""Claims, volumes and classes for tests of the volume controllers, and a world in which all of these are at work."""

from __future__ import annotations

from typing import Any

from petset.cluster.api.objects import Object
from petset.cluster.api.volumes import BIND_COMPLETED, BOUND_BY_CONTROLLER
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import Outcome
from petset.cluster.controllers import volume_phases
from petset.cluster.controllers.volume_protection import plan_claim_protection, plan_volume_protection
from petset.cluster.controllers.volumes import plan_claim
from tests import builders
from tests.unit.controllers.world import World

KEY = ("default", "data")
RWO, RWX = "ReadWriteOnce", "ReadWriteMany"


def claim(name: str = "data", *, storage: str = "1Gi", modes: tuple[str, ...] = (RWO,), **options: Any) -> Object:
    meta = {key: options.pop(key) for key in ("uid", "annotations", "terminating", "finalizers") if key in options}
    status = options.pop("status", {"phase": "Pending"})
    spec = {"accessModes": list(modes), "resources": {"requests": {"storage": storage}}} | options
    made = builders.metadata("PersistentVolumeClaim", name, **meta)
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": made, "spec": spec, "status": status}


def volume(name: str = "pv-a", *, storage: str = "1Gi", modes: tuple[str, ...] = (RWO,), **options: Any) -> Object:
    phase = options.pop("phase", "Available")
    meta = {key: options.pop(key) for key in ("labels", "annotations", "terminating", "finalizers") if key in options}
    source = {} if "csi" in options else {"hostPath": {"path": f"/tmp/{name}"}}
    spec = {"accessModes": list(modes), "capacity": {"storage": storage}} | source | options
    made = builders.metadata("PersistentVolume", name, namespace="", **meta)
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": made, "spec": spec, "status": {"phase": phase}}


def storage_class(name: str = "fast", *, wait: bool = False, default: bool = False, **fields: Any) -> Object:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": builders.metadata("StorageClass", name, namespace="", annotations=annotations),
        "provisioner": "petset.dev/disk",
        "volumeBindingMode": "WaitForFirstConsumer" if wait else "Immediate",
        "reclaimPolicy": "Delete",
    } | fields


def reference(name: str = "data", uid: str = "uid-persistentvolumeclaim-data") -> dict[str, str]:
    return {"namespace": "default", "name": name} | ({"uid": uid} if uid else {})


def bound(name: str = "pv-a", **options: Any) -> Object:
    done = {BIND_COMPLETED: "yes", BOUND_BY_CONTROLLER: "yes"}
    return claim(volumeName=name, annotations=done, **({"status": {"phase": "Bound"}} | options))


def plan_volume(key: tuple[str, str], snapshot: Snapshot, now: float) -> Outcome:
    return volume_phases.plan_volume(key, snapshot, now, recycler_image="busybox")


PLANS = (
    ("PersistentVolumeClaim", plan_claim),
    ("PersistentVolume", plan_volume),
    ("PersistentVolumeClaim", plan_claim_protection),
    ("PersistentVolume", plan_volume_protection),
)


def settled(*objects: Object) -> World:
    world = World(*objects)
    world.settle(PLANS)
    return world


def volume_of(world: World, name: str = "data") -> str | None:
    return world.get("PersistentVolumeClaim", name)["spec"].get("volumeName")


def node_of(name: str) -> Object:
    """A node with nothing but its host name's label."""
    meta = builders.metadata("Node", name, namespace="", labels={"kubernetes.io/hostname": name})
    return {"kind": "Node", "metadata": meta}


def user(node: str, claim_name: str = "data") -> Object:
    return builders.pod(
        node=node, spec={"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}]}
    )

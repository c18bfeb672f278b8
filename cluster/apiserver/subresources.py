"""Subresources with rules of their own: scale, binding, eviction and a namespace's finalize."""

from __future__ import annotations

from typing import Any

from petset.cluster.api.custom_kinds import ScalePaths
from petset.cluster.api.json_paths import find, replaced
from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object, fresh_copy, is_terminating
from petset.cluster.api.patch import apply_json_patch, apply_merge_patch
from petset.cluster.api.selectors import workload_selector
from petset.cluster.api.times import format_time
from petset.cluster.apiserver.bodies import struct_of
from petset.cluster.apiserver.deletion import Deletion
from petset.cluster.apiserver.eviction import Evictions
from petset.cluster.apiserver.options import WriteOptions
from petset.cluster.apiserver.verbs import Verbs
from petset.cluster.clock import Clock
from petset.cluster.errors import BadRequest, Conflict


class Subresources:
    """Acts through the verbs, so that every rule of the main resource holds here too."""

    def __init__(self, verbs: Verbs, deletion: Deletion, clock: Clock) -> None:
        self._verbs = verbs
        self._evictions = Evictions(verbs, deletion, clock)
        self._clock = clock

    def scale(self, kind: Kind, namespace: str, name: str) -> Object:
        """The `autoscaling/v1 Scale` of a set."""
        return scale_of(kind, self._verbs.get(kind, namespace, name))

    async def update_scale(self, kind: Kind, namespace: str, name: str, *, body: Any, options: WriteOptions) -> Object:
        """PUT of a Scale; its resourceVersion, if any, must be the set's."""

        def change(old: Object) -> Object:
            return _scaled(kind, old, body)

        return scale_of(kind, await self._verbs.modify(kind, namespace, name, change, options=options, via="scale"))

    async def patch_scale(
        self, kind: Kind, namespace: str, name: str, *, body: Any, patch_type: str, options: WriteOptions
    ) -> Object:
        """PATCH of a Scale (it has no lists, so strategic and merge patches mean the same)."""
        apply = apply_json_patch if patch_type == "json" else apply_merge_patch

        def change(old: Object) -> Object:
            scale = scale_of(kind, old)
            patched = apply(scale, body)
            if isinstance(patched, dict) and patched.get("metadata") == scale["metadata"]:
                patched = {**patched, "metadata": {}}  # names no revision to insist on
            return _scaled(kind, old, patched)

        return scale_of(kind, await self._verbs.modify(kind, namespace, name, change, options=options, via="scale"))

    async def bind(self, kind: Kind, namespace: str, name: str, body: Any) -> Object:
        """POST binding: the scheduler's decision. Raises Conflict when the pod is bound or going."""
        target, wanted_uid = struct_of(body, "target").get("name"), struct_of(body, "metadata").get("uid")
        if not isinstance(target, str) or not target:
            raise BadRequest('Binding "" is invalid: target.name: Required value')
        while True:
            pod = self._verbs.get(kind, namespace, name)
            if wanted_uid and wanted_uid != pod["metadata"]["uid"]:
                raise Conflict(f'Operation cannot be fulfilled on pods "{name}": the pod has another UID')
            if is_terminating(pod):
                raise Conflict(f'Operation cannot be fulfilled on pods/binding "{name}": pod {name} is being deleted, '
                               "cannot be assigned to a host")  # fmt: skip
            if bound := pod["spec"].get("nodeName"):
                raise Conflict(f'Operation cannot be fulfilled on pods/binding "{name}": pod {name} is already '
                               f'assigned to node "{bound}"')  # fmt: skip
            try:
                stored = await self._verbs.replace(kind, pod, self._bound(pod, target))
            except Conflict:
                continue
            return success(stored)

    async def evict(self, kind: Kind, namespace: str, name: str, body: Any) -> Object:
        """POST eviction: a deletion that asks the pod's disruption budget first."""
        return success(await self._evictions.evict(kind, namespace, name, body))

    async def finalize_namespace(self, kind: Kind, name: str, body: Any) -> Object:
        """PUT finalize: the only way to change `spec.finalizers`; with none left the namespace goes."""
        finalizers = struct_of(body, "spec").get("finalizers") or []
        if not isinstance(finalizers, list) or not all(isinstance(each, str) for each in finalizers):
            raise BadRequest("the body cannot be handled: spec.finalizers is not a list of names")
        while True:
            old = self._verbs.get(kind, "", name)
            new = fresh_copy(old)
            new["spec"] = {**(old.get("spec") or {}), "finalizers": finalizers}
            if not finalizers:
                del new["spec"]["finalizers"]
            try:
                return await self._verbs.replace(kind, old, new)
            except Conflict:
                continue

    def _bound(self, pod: Object, node: str) -> Object:
        bound = fresh_copy(pod)
        bound["spec"]["nodeName"] = node
        status = bound.setdefault("status", {})
        status.pop("nominatedNodeName", None)  # the scheduler's promise of a node is kept; no user has to see it
        kept = [each for each in status.get("conditions") or [] if each["type"] != "PodScheduled"]
        now = format_time(self._clock.now())
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
        status["conditions"] = [*kept, scheduled]
        return bound


def success(obj: Object) -> Object:
    """The Status of a fulfilled request; its metadata tells the revision that the object has now."""
    meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": meta, "status": "Success", "code": 201}


_BUILT_IN_PATHS = ScalePaths(".spec.replicas", ".status.replicas")


def _paths(kind: Kind) -> ScalePaths:
    return (kind.custom.scale if kind.custom else None) or _BUILT_IN_PATHS


def _selector_text(kind: Kind, obj: Object) -> str:
    """A custom kind keeps its selector as a text, if it has one."""
    if kind.custom is None:
        return str(workload_selector(obj))
    path = _paths(kind).selector
    return str(find(obj, path) or "") if path else ""


def scale_of(kind: Kind, obj: Object) -> Object:
    """The Scale view of a StatefulSet, Deployment, custom kind…"""
    meta, paths = obj["metadata"], _paths(kind)
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in kept if name in meta},
        "spec": {"replicas": find(obj, paths.replicas) or 0},
        "status": {"replicas": find(obj, paths.status_replicas) or 0, "selector": _selector_text(kind, obj)},
    }


def _scaled(kind: Kind, old: Object, scale: Any) -> Object:
    replicas = struct_of(scale, "spec").get("replicas", 0) if isinstance(scale, dict) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise BadRequest('Scale in version "v1" cannot be handled as a Scale: spec.replicas must be a whole number')
    new = fresh_copy(replaced(old, _paths(kind).replicas, replicas))
    new["metadata"]["resourceVersion"] = struct_of(scale, "metadata").get("resourceVersion") or ""
    return new

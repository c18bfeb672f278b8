"""DELETE: what vanishes at once, what is only marked, and who finishes it.

    no finalizers, no grace ──────────────▶ gone (DELETED)
    finalizers or propagation policy ─────▶ deletionTimestamp; gone when the last finalizer is removed (verbs.py)
    a running pod ────────────────────────▶ deletionTimestamp in the future; its kubelet deletes it with grace 0
    a namespace ──────────────────────────▶ Terminating; its controller empties and finalizes it

The rules are those of statefulset.md 1.11 and 2.5. Dependents are the garbage collector's work, never done here.
"""

from __future__ import annotations

import contextlib

from petset.cluster.api.defaults_pods import DEFAULT_GRACE_SECONDS
from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object, fresh_copy, is_terminating
from petset.cluster.api.times import format_time, parse_time
from petset.cluster.apiserver.custom_resources import remaining, rows_of
from petset.cluster.apiserver.options import DeleteOptions, ListOptions
from petset.cluster.apiserver.verbs import MAX_TRIES, Verbs, modified
from petset.cluster.clock import Clock
from petset.cluster.errors import Conflict, Forbidden, NotFound

_PROPAGATION_FINALIZERS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
RETURNS_OBJECT = ("Pod", "Service", "PersistentVolume", "PersistentVolumeClaim", "ServiceAccount", "Namespace")
"""Kinds whose DELETE answers the object; the others answer a Status (rest storage's ReturnDeletedObject)."""


UNDELETABLE_NAMESPACES = ("default", "kube-system", "kube-public")
"""The NamespaceLifecycle admission plugin guards these."""


class Deletion:
    """Carries out deletions on the verbs' backend."""

    def __init__(self, verbs: Verbs, clock: Clock) -> None:
        self._verbs = verbs
        self._clock = clock

    async def delete(self, kind: Kind, namespace: str, name: str, options: DeleteOptions) -> Object:
        """The object as it was last seen or as it waits for its end. Raises NotFound and Conflict."""
        deleted = await self._delete(kind, namespace, name, options)
        if kind.rules == "CustomResourceDefinition" and not options.dry_run:
            await self._empty(deleted)
        return deleted

    async def _empty(self, definition: Object) -> None:
        """Delete what a going definition defined; the last object to go takes the definition along (verbs.py)."""
        rows = rows_of(definition, all_versions=True)
        left = remaining(self._verbs.backend, definition)
        for obj in left:
            meta = obj["metadata"]
            with contextlib.suppress(NotFound):
                await self._delete(rows[0], meta.get("namespace", ""), meta["name"], DeleteOptions())
        if not left:
            await self._verbs.finish_definition(rows[0])

    async def _delete(self, kind: Kind, namespace: str, name: str, options: DeleteOptions) -> Object:
        if kind.kind == "Namespace" and name in UNDELETABLE_NAMESPACES:
            raise Forbidden(f'namespaces "{name}" is forbidden: this namespace may not be deleted')
        for _ in range(MAX_TRIES):
            obj = self._verbs.get(kind, namespace, name)
            _check_preconditions(kind, obj, options)
            marked = self._marked(kind, obj, options)
            if options.dry_run or marked == obj:
                return marked or obj
            try:
                if marked is None:
                    return await self._verbs.remove(kind, obj)
                return await self._verbs.replace(kind, obj, marked)
            except Conflict:
                continue
        raise modified(kind, name)

    async def delete_collection(
        self, kind: Kind, namespace: str, listing: ListOptions, options: DeleteOptions
    ) -> list[Object]:
        """Delete everything that the selectors match, one by one; what vanishes meanwhile is fine."""
        deleted = []
        for item in self._verbs.list(kind, namespace, listing)["items"]:
            meta = item["metadata"]
            try:
                deleted.append(await self.delete(kind, meta.get("namespace", ""), meta["name"], options))
            except NotFound:
                continue
        return deleted

    def _marked(self, kind: Kind, obj: Object, options: DeleteOptions) -> Object | None:
        """The object with its deletion marked; None when it may go at once."""
        marked = fresh_copy(obj)
        meta = marked["metadata"]
        _set_propagation(meta, options.propagation or _default_propagation(kind, meta))
        grace = self._grace_seconds(kind, obj, options)
        held = bool(meta.get("finalizers") or (marked.get("spec") or {}).get("finalizers"))
        if not held and not grace:
            return None
        if is_terminating(obj):
            self._shorten(meta, grace)
            return marked
        meta["deletionTimestamp"] = format_time(self._clock.now() + grace)
        meta["deletionGracePeriodSeconds"] = grace
        if kind.generation:
            meta["generation"] = meta.get("generation", 0) + 1
        if kind.kind == "Namespace":
            marked["status"] = {**(marked.get("status") or {}), "phase": "Terminating"}
        return marked

    def _grace_seconds(self, kind: Kind, obj: Object, options: DeleteOptions) -> int:
        """Only pods have a grace; none where no process can be running (pod strategy's CheckGracefulDelete)."""
        if kind.kind != "Pod":
            return 0
        spec, phase = obj["spec"], (obj.get("status") or {}).get("phase")
        if not spec.get("nodeName") or phase in ("Failed", "Succeeded"):
            return 0
        if options.grace_seconds is not None:
            grace = options.grace_seconds
        else:
            grace = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
        return 1 if grace < 0 else int(grace)

    def _shorten(self, meta: Object, grace: int) -> None:
        """A repeated delete may bring the end nearer, never push it away."""
        if grace >= meta.get("deletionGracePeriodSeconds", 0):
            return
        begun = parse_time(meta["deletionTimestamp"]) - meta["deletionGracePeriodSeconds"]
        meta["deletionTimestamp"] = format_time(max(begun, self._clock.now()) + grace)
        meta["deletionGracePeriodSeconds"] = grace


def _default_propagation(kind: Kind, meta: Object) -> str:
    """What an unsaid policy means: nothing to wait for (the collector follows), but a v1 ReplicationController leaves
    its pods behind, as it did before there was a collector. A policy that was given earlier holds."""
    chosen = set(meta.get("finalizers") or ()) & set(_PROPAGATION_FINALIZERS.values())
    return "Orphan" if kind.rules == "ReplicationController" and not chosen else ""


def _set_propagation(meta: Object, propagation: str) -> None:
    """The policy becomes a finalizer for the garbage collector; a policy given later replaces an earlier one."""
    if not propagation:
        return
    finalizers = [each for each in meta.get("finalizers") or [] if each not in _PROPAGATION_FINALIZERS.values()]
    if finalizer := _PROPAGATION_FINALIZERS.get(propagation):
        finalizers.append(finalizer)
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)


def _check_preconditions(kind: Kind, obj: Object, options: DeleteOptions) -> None:
    meta = obj["metadata"]
    for wanted, present, what in (
        (options.uid, meta["uid"], "UID"),
        (options.revision, meta["resourceVersion"], "ResourceVersion"),
    ):
        if wanted and wanted != present:
            raise Conflict(
                f'Operation cannot be fulfilled on {kind.resource} "{meta["name"]}": Precondition failed: {what} in '
                f"precondition: {wanted}, {what} in object meta: {present}",
                {"name": meta["name"], "group": kind.group, "kind": kind.plural},
            )

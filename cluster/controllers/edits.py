"""Small writes that several controllers make: conditions and finalizers."""

from __future__ import annotations

from typing import Any

from petset.cluster.api.objects import Object, name_of, namespace_of, uid_of
from petset.cluster.control.writes import Patch, Record, Update


def finalizers_of(obj: Object) -> list[str]:
    return obj["metadata"].get("finalizers") or []


def without_finalizer(obj: Object, finalizer: str) -> Update:
    """Remove one finalizer, guarded by the resourceVersion."""
    left = [each for each in finalizers_of(obj) if each != finalizer]
    return Update({**obj, "metadata": {**obj["metadata"], "finalizers": left}})


def patch_spec(obj: Object, spec: Object, *, annotations: Object | None = None, said: Record | None = None) -> Patch:
    """Merge fields into an object's spec and annotations; None removes one."""
    body: dict[str, Any] = {"spec": spec} if spec else {}
    if annotations:
        body["metadata"] = {"annotations": annotations}
    return Patch(obj["kind"], namespace_of(obj), name_of(obj), body, uid=uid_of(obj), said=said)


def patch_status(obj: Object, status: Object, *, said: Record | None = None) -> Patch:
    """Merge fields into an object's status; None removes one."""
    return Patch(
        obj["kind"], namespace_of(obj), name_of(obj), {"status": status}, uid=uid_of(obj), subresource="status",
        said=said,
    )  # fmt: skip


def patch_conditions(obj: Object, *conditions: Object, status: Object | None = None) -> Patch:
    """Set conditions by type (the list's merge key), leaving the others alone."""
    body = {"status": {**(status or {}), "conditions": list(conditions)}}
    return Patch(
        obj["kind"], namespace_of(obj), name_of(obj), body, type="strategic", uid=uid_of(obj), subresource="status"
    )

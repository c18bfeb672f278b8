"""Reading Kubernetes objects as JSON: the few questions that every part asks of any object.

Objects that come from the store or a cache are shared by everyone who asked for them: never change one in place;
build a new one (`{**obj, …}`, `fresh_copy`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON; fields that petset does not know survive untouched."""


_Value = TypeVar("_Value")


def fresh_copy(value: _Value) -> _Value:
    """A copy of a JSON value that shares nothing with it; a fifth of the time of `copy.deepcopy`."""
    if isinstance(value, dict):
        return cast(_Value, {name: fresh_copy(each) for name, each in value.items()})
    if isinstance(value, list):
        return cast(_Value, [fresh_copy(each) for each in value])
    return value


def name_of(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"]["name"])


def namespace_of(obj: Mapping[str, Any]) -> str:
    """The namespace, or the empty string for a cluster-scoped object."""
    return str(obj["metadata"].get("namespace", ""))


def uid_of(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"].get("uid", ""))


def labels_of(obj: Mapping[str, Any]) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Mapping[str, Any]) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def is_terminating(obj: Mapping[str, Any]) -> bool:
    """Deletion was asked for and is not yet complete."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def group_of(api_version: str) -> str:
    """`apps` of `apps/v1`; the empty string for the core group's `v1`."""
    return api_version.rpartition("/")[0]


def owner_references(obj: Mapping[str, Any]) -> list[Object]:
    return obj["metadata"].get("ownerReferences") or []


def controller_of(obj: Mapping[str, Any]) -> Object | None:
    """The one ownerReference with `controller: true`, if any."""
    return next((ref for ref in owner_references(obj) if ref.get("controller")), None)


def controller_reference(owner: Mapping[str, Any]) -> Object:
    """The ownerReference by which `owner` controls another object (metav1.NewControllerRef)."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def object_reference(obj: Mapping[str, Any]) -> Object:
    """The `v1 ObjectReference` of an object, as events and endpoints carry it."""
    reference = {
        "apiVersion": obj.get("apiVersion", ""),
        "kind": obj.get("kind", ""),
        "name": name_of(obj),
        "uid": uid_of(obj),
        "resourceVersion": obj["metadata"].get("resourceVersion", ""),
    }
    if namespace := namespace_of(obj):
        reference["namespace"] = namespace
    return reference


def condition(obj: Mapping[str, Any], type_: str) -> Object | None:
    """The status condition of that type."""
    conditions: Iterable[Object] = (obj.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == type_), None)


def condition_is_true(obj: Mapping[str, Any], type_: str) -> bool:
    found = condition(obj, type_)
    return found is not None and found.get("status") == "True"

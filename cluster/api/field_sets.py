"""Sets of fields in the form of `FieldsV1`: who owns what is written, compared and merged as trees.

    {"f:spec": {"f:replicas": {}, "f:containers": {'k:{"name":"a"}': {".": {}, "f:image": {}}}}}

A leaf `{}` is a member; `.` makes a node with children a member itself. The trees are JSON and are never changed in
place. Steps: `f:NAME` a field, `k:{…}` an element of a list by its keys, `v:…` an element of a list of scalars.
Simplified from structured-merge-diff: an object that has fields is not a member itself. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from petset.cluster.api.field_schema import FieldNode, key_of_item

Fields = dict[str, Any]
Steps = tuple[str, ...]

_SERVER_METADATA = frozenset((
    "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
    "deletionGracePeriodSeconds", "selfLink", "managedFields",
))  # fmt: skip


def fields_of_object(obj: Any, schema: FieldNode) -> Fields:
    """Every field of an object but what the server itself owns (apiVersion, kind, identity)."""
    fields: Fields = {}
    for name, value in obj.items():
        if name in ("apiVersion", "kind"):
            continue
        if name == "metadata":
            value = {key: each for key, each in (value or {}).items() if key not in _SERVER_METADATA}
            if not value:
                continue
        fields[f"f:{name}"] = _fields_of(value, schema.field(name))
    return fields


def _fields_of(value: Any, schema: FieldNode) -> Fields:
    if isinstance(value, dict) and not schema.is_atomic:
        return {f"f:{name}": _fields_of(each, schema.field(name)) for name, each in value.items()}
    if isinstance(value, list):
        return {step: _element(each, schema) for step, each in steps_of_list(value, schema)}
    return {}


def _element(value: Any, schema: FieldNode) -> Fields:
    return {".": {}, **_fields_of(value, schema.item())} if schema.keys else {}


def step_of(element: Any, schema: FieldNode) -> str | None:
    """The step to an element of a list; None when it has no identity, or the list is owned as a whole."""
    if schema.keys:
        key = key_of_item(element, schema.keys)
        return f"k:{orjson.dumps(dict(sorted(key))).decode()}" if key else None
    return f"v:{orjson.dumps(element).decode()}" if schema.is_set else None


def steps_of_list(values: list[Any], schema: FieldNode) -> Iterator[tuple[str, Any]]:
    """(step, element) of those elements of a list that have an identity."""
    return ((step, each) for each in values if (step := step_of(each, schema)) is not None)


def changed_fields(old: Any, new: Any, schema: FieldNode) -> Fields:
    """The fields of `new` that `old` does not have, or has with another value (server-owned ones left out)."""
    return difference_of_values(_owned_part(old), _owned_part(new), schema) or {}


def _owned_part(obj: Any) -> Any:
    metadata = {key: each for key, each in obj.get("metadata", {}).items() if key not in _SERVER_METADATA}
    rest = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "metadata")}
    return {**rest, "metadata": metadata} if metadata else rest


def difference_of_values(old: Any, new: Any, schema: FieldNode) -> Fields | None:
    """As `changed_fields`, below any place; None when nothing is different."""
    if old == new:
        return None
    if isinstance(new, dict) and isinstance(old, dict) and not schema.is_atomic:
        pairs = ((f"f:{name}", name in old, old.get(name), each, schema.field(name)) for name, each in new.items())
    elif isinstance(new, list) and isinstance(old, list) and (schema.keys or schema.is_set):
        before = dict(steps_of_list(old, schema))
        item = schema.item()
        pairs = ((step, step in before, before.get(step), each, item) for step, each in steps_of_list(new, schema))
    else:
        return _fields_of(new, schema)
    found: Fields = {}
    for step, known, was, now, below in pairs:
        if not known:
            found[step] = {".": {}, **_fields_of(now, below)} if step.startswith("k:") else _fields_of(now, below)
        elif (difference := difference_of_values(was, now, below)) is not None:
            found[step] = difference
    return found or None


def members(fields: Fields, above: Steps = ()) -> Iterator[Steps]:
    """The paths of all members."""
    for step, below in fields.items():
        if step == ".":
            yield above
        elif not below:
            yield (*above, step)
        else:
            yield from members(below, (*above, step))


def has(fields: Fields, path: Steps) -> bool:
    """Whether the path is a member or leads to one."""
    at = fields
    for step in path:
        if step not in at:
            return False
        at = at[step]
    return True


def union(first: Fields, second: Fields) -> Fields:
    merged = dict(first)
    for step, below in second.items():
        merged[step] = union(merged[step], below) if step in merged else below
    return merged


def without(fields: Fields, removed: Fields) -> Fields:
    """The members that are in `fields` and neither in nor below those of `removed`."""
    left: Fields = {}
    for step, below in fields.items():
        if step not in removed:
            left[step] = below
        elif removed[step] and below and (rest := without(below, removed[step])):
            left[step] = rest
        elif removed[step] and not below:
            left[step] = below
    return left


def common(first: Fields, second: Fields) -> Fields:
    """The members that both have."""
    shared: Fields = {}
    for step, below in first.items():
        if step not in second:
            continue
        other = second[step]
        if not below and not other:
            shared[step] = {}
        elif deeper := common(below, other):
            shared[step] = deeper
    return shared


def dotted(path: Steps) -> str:
    """`.spec.containers[name="a"].image`, as conflicts name fields."""
    text = ""
    for step in path:
        sort, _, rest = step.partition(":")
        if sort == "f":
            text += f".{rest}"
        elif sort == "k":
            keys = orjson.loads(rest)
            text += "[" + ",".join(f"{key}={orjson.dumps(value).decode()}" for key, value in keys.items()) + "]"
        else:
            text += f"[={rest}]"
    return text

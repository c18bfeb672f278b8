"""Server-side apply: merging an applied configuration into an object, and who owns which field afterwards.

    applied ──▶ fields whose value differs ──▶ owned by someone else? ─▶ conflict, unless forced
       │
       └──▶ merged into the object; what this manager owned before, applies no more, and nobody else owns, goes

Ownership is kept in `metadata.managedFields`. It is kept from the first write on that names its manager (as kubectl's
do); whatever an object had before its first apply belongs to `before-first-apply`, as in Kubernetes. A write by other
means takes over the fields that it changes. Sources: structured-merge-diff's Updater, apimachinery's fieldmanager.
Simplified: one API version per object, and ownership of a list's place in an object is not kept. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from petset.cluster.api import field_sets
from petset.cluster.api.field_schema import FieldNode
from petset.cluster.api.field_sets import Fields, Steps
from petset.cluster.api.objects import Object, annotations_of, fresh_copy
from petset.cluster.errors import Conflict

BEFORE: Final = "before-first-apply"
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_KUBECTL: Final = "kubectl"


@dataclass(frozen=True)
class Owner:
    """One entry of managedFields. `operation` is Apply or Update."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    fields: Fields
    time: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.manager, self.operation, self.subresource

    def entry(self) -> Object:
        entry: Object = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields,
        }
        return entry | ({"subresource": self.subresource} if self.subresource else {})


@dataclass(frozen=True)
class Writer:
    """Who writes, through which subresource, in which version, and when (a metav1.Time)."""

    manager: str
    api_version: str
    subresource: str
    time: str


def owners_of(obj: Object) -> tuple[Owner, ...]:
    """The owners that an object records."""
    return tuple(
        Owner(
            manager=str(each.get("manager", "")),
            operation=str(each.get("operation", "")),
            api_version=str(each.get("apiVersion", "")),
            subresource=str(each.get("subresource", "")),
            fields=each["fieldsV1"] if isinstance(each.get("fieldsV1"), dict) else {},
            time=str(each.get("time", "")),
        )
        for each in obj["metadata"].get("managedFields") or ()
        if isinstance(each, dict)
    )


def entries(owners: Iterable[Owner]) -> list[Object]:
    """managedFields: Apply entries first, then by time, manager and subresource; empty ones go."""
    kept = [each for each in owners if each.fields]
    order = sorted(kept, key=lambda each: (each.operation != "Apply", each.time, each.manager, each.subresource))
    return [each.entry() for each in order]


@dataclass(frozen=True)
class Applied:
    """The merged object (without managedFields) and its owners."""

    object: Object
    owners: tuple[Owner, ...]


Complete = Callable[[Object], None]
"""Fills in, in place, what the server fills in when it is left out."""


def apply_configuration(
    live: Object,
    applied: Object,
    schema: FieldNode,
    writer: Writer,
    *,
    force: bool,
    complete: Complete = lambda _: None,
) -> Applied:
    """Merge `applied` into `live`. Raises Conflict when other managers own fields that it changes.

    A field is changed when it is still different once the result is complete: a list that is owned as a whole does
    not change by the defaults that its elements leave out.
    """
    owners = owners_of(live) or _before(live, schema, writer)
    wanted = field_sets.fields_of_object(applied, schema)
    own_key = (writer.manager, "Apply", writer.subresource)
    own = next((each for each in owners if each.key == own_key), None)
    others = [each for each in owners if each.key != own_key]
    merged = _merged(live, applied, schema)
    changed = field_sets.common(_changes(live, merged, schema, complete), wanted)
    if writer.manager == _KUBECTL:
        disputed = field_sets.without(changed, _last_applied(live, schema, complete))
    else:
        disputed = changed
    conflicts = _conflicts(others, disputed)
    if conflicts and not force:
        raise conflict_error(conflicts)
    others = [replace(each, fields=field_sets.without(each.fields, changed)) for each in others]
    given_up = field_sets.without(own.fields, wanted) if own else {}
    for each in others:
        given_up = _not_owned(given_up, each.fields)
    result = _removed(merged, given_up, schema)
    time = own.time if own and own.fields == wanted and not changed else writer.time
    mine = Owner(writer.manager, "Apply", writer.api_version, writer.subresource, wanted, time)
    return Applied(result, (mine, *others))


def after_update(old: Object | None, new: Object, schema: FieldNode, writer: Writer) -> tuple[Owner, ...]:
    """The owners after a write that is no apply: the writer takes what changed, what vanished has no owner."""
    owners = owners_of(old) if old else ()
    changed = field_sets.changed_fields(old or {}, new, schema)
    if old is not None:
        present = field_sets.fields_of_object(new, schema)
        had = field_sets.fields_of_object(old, schema)
        gone = field_sets.without(had, present)
        owners = tuple(replace(each, fields=field_sets.without(each.fields, gone)) for each in owners)
    if not changed:
        return owners
    key = (writer.manager, "Update", writer.subresource)
    own = next((each for each in owners if each.key == key), None)
    fields = field_sets.union(own.fields, changed) if own else changed
    mine = Owner(writer.manager, "Update", writer.api_version, writer.subresource, fields, writer.time)
    rest = (replace(each, fields=field_sets.without(each.fields, changed)) for each in owners if each.key != key)
    return (mine, *rest)


def conflict_error(conflicts: list[tuple[Owner, Steps]]) -> Conflict:
    """The 409 that kubectl explains: one cause per manager and field."""
    managers = {each.manager for each, _ in conflicts}
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{owner.manager}"' + _how(owner),
            "field": field_sets.dotted(path),
        }
        for owner, path in conflicts
    ]
    plural = "s" if len(conflicts) > 1 else ""
    if len(managers) == 1:
        text = f"conflict{plural} with {causes[0]['message'].removeprefix('conflict with ')}: " if plural else (
            f"{causes[0]['message']}: "
        )  # fmt: skip
        text += causes[0]["field"] if not plural else "".join(f"\n- {each['field']}" for each in causes)
    else:
        text = "conflicts with " + ", ".join(
            f'"{name}"' + "".join(f"\n- {field_sets.dotted(path)}" for each, path in conflicts if each.manager == name)
            for name in sorted(managers)
        )
    return Conflict(f"Apply failed with {len(conflicts)} conflict{plural}: {text}", {"causes": causes})


def _how(owner: Owner) -> str:
    if owner.operation != "Update":
        return ""
    with_subresource = f' with subresource "{owner.subresource}"' if owner.subresource else ""
    return f"{with_subresource} using {owner.api_version}"


def _before(live: Object, schema: FieldNode, writer: Writer) -> tuple[Owner, ...]:
    fields = field_sets.fields_of_object(live, schema)
    created = live["metadata"].get("creationTimestamp", writer.time)
    return (Owner(BEFORE, "Update", writer.api_version, "", fields, created),) if fields else ()


def _changes(live: Object, merged: Object, schema: FieldNode, complete: Complete) -> Fields:
    completed = fresh_copy(merged)
    complete(completed)
    return field_sets.changed_fields(live, completed, schema)


def _conflicts(others: list[Owner], disputed: Fields) -> list[tuple[Owner, Steps]]:
    """(owner, path) of every disputed field that somebody else owns."""
    return [(owner, path) for owner in others for path in field_sets.members(field_sets.common(disputed, owner.fields))]


def _last_applied(live: Object, schema: FieldNode, complete: Complete) -> Fields:
    """The fields that the last-applied annotation names and that still have the value it says.

    kubectl may change them: they are what its own client-side apply set (lastappliedmanager.go).
    """
    try:
        last = orjson.loads(annotations_of(live).get(LAST_APPLIED) or "{}")
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(last, dict):
        return {}
    different = _changes(live, _merged(live, last, schema), schema, complete)
    return field_sets.without(field_sets.fields_of_object(last, schema), different)


def _not_owned(fields: Fields, owned: Fields) -> Fields:
    """The members of `fields` that are not below `owned`, and have nothing of it below them."""
    left: Fields = {}
    for path in field_sets.members(fields):
        if not field_sets.has(owned, path):
            at = left
            for step in path:
                at = at.setdefault(step, {})
    return left


def _merged(live: Any, applied: Any, schema: FieldNode) -> Any:
    if isinstance(live, dict) and isinstance(applied, dict) and not schema.is_atomic:
        merged = dict(live)
        for name, each in applied.items():
            merged[name] = _merged(live[name], each, schema.field(name)) if name in live else fresh_copy(each)
        return merged
    if isinstance(live, list) and isinstance(applied, list) and (schema.keys or schema.is_set):
        return _merged_list(live, applied, schema)
    return fresh_copy(applied)


def _merged_list(live: list[Any], applied: list[Any], schema: FieldNode) -> list[Any]:
    """Elements keep their place; new ones follow in the order in which they were applied."""
    wanted = dict(field_sets.steps_of_list(applied, schema))
    present = dict(field_sets.steps_of_list(live, schema))
    item = schema.item()
    kept = []
    for each in live:
        step = field_sets.step_of(each, schema)
        kept.append(_merged(each, wanted[step], item) if step in wanted else each)
    return kept + [fresh_copy(each) for step, each in wanted.items() if step not in present]


def _removed(value: Any, fields: Fields, schema: FieldNode) -> Any:
    """The value without these members; an object that is emptied by it goes, too."""
    if not fields:
        return value
    if isinstance(value, dict):
        return _without_fields(value, fields, schema)
    if isinstance(value, list):
        return list(_kept_elements(value, fields, schema))
    return value


def _kept_elements(values: list[Any], fields: Fields, schema: FieldNode) -> Iterator[Any]:
    """An element that stays keeps its keys: they are what it is known by."""
    item = schema.item()
    for each in values:
        below = fields.get(field_sets.step_of(each, schema) or "")
        if below is None:
            yield each
        elif below and "." not in below:
            loose = {step: rest for step, rest in below.items() if step.removeprefix("f:") not in schema.keys}
            yield _removed(each, loose, item)


def _without_fields(value: Object, fields: Fields, schema: FieldNode) -> Object:
    left: Object = {}
    for name, each in value.items():
        below = fields.get(f"f:{name}")
        if below is None:
            left[name] = each
        elif below:
            rest = _removed(each, below, schema.field(name))
            if rest or not each:
                left[name] = rest
    return left

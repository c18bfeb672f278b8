"""What server-side apply must know of a kind: which lists are maps or sets, and what is owned as a whole.

The knowledge is in the official definitions (`x-kubernetes-list-type`, `-list-map-keys`, `-map-type`) and, under the
same names, in the schemas of CustomResourceDefinitions. A `FieldNode` is one place in such a schema; references are
resolved when the walk gets there. A place that no schema names merges objects and owns lists as a whole. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_KEY_DEFAULTS: Final = {"protocol": "TCP"}
"""Defaults of list keys that users leave out (ports of containers and Services)."""


@dataclass(frozen=True, eq=False)
class FieldNode:
    """A place in a schema; `definitions` resolves its references."""

    definitions: Mapping[str, Any]
    schema: Mapping[str, Any]

    def field(self, name: str) -> FieldNode:
        """The place of an object's field."""
        schema = self._resolved()
        found = (schema.get("properties") or {}).get(name)
        if found is None:
            found = schema.get("additionalProperties")
        return FieldNode(self.definitions, found if isinstance(found, Mapping) else {})

    def item(self) -> FieldNode:
        """The place of a list's elements."""
        items = self._resolved().get("items")
        return FieldNode(self.definitions, items if isinstance(items, Mapping) else {})

    @property
    def is_atomic(self) -> bool:
        """An object that is owned as a whole."""
        return bool(self._resolved().get("x-kubernetes-map-type") == "atomic")

    @property
    def is_set(self) -> bool:
        """A list of scalars, each owned by itself."""
        return bool(self._resolved().get("x-kubernetes-list-type") == "set")

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of a list whose elements are owned one by one; empty for any other list."""
        schema = self._resolved()
        return tuple(schema.get("x-kubernetes-list-map-keys") or ()) if (
            schema.get("x-kubernetes-list-type") == "map"
        ) else ()  # fmt: skip

    def _resolved(self) -> Mapping[str, Any]:
        """The schema with what it refers to; what stands beside the reference wins."""
        schema, seen = self.schema, set[str]()
        merged = dict(schema)
        while isinstance(reference := schema.get("$ref"), str) and reference not in seen:
            seen.add(reference)
            schema = self.definitions.get(reference.rpartition("/")[2]) or {}
            merged = {**schema, **merged}
        return merged


def key_of_item(item: Any, keys: tuple[str, ...]) -> tuple[tuple[str, Any], ...] | None:
    """((key, value), …) of a list's element; None when a key is missing, and the element has no identity."""
    if not isinstance(item, Mapping):
        return None
    found = []
    for key in keys:
        value = item.get(key, _KEY_DEFAULTS.get(key))
        if value is None or isinstance(value, (dict, list)):
            return None
        found.append((key, value))
    return tuple(found)

"""What a strategic merge patch must know of a kind: which lists merge, and by which key.

The knowledge is in the official definitions: `x-kubernetes-patch-strategy` (`merge`, `replace`, `retainKeys`, or two of
them joined by a comma) and `x-kubernetes-patch-merge-key` stand on the field. `DefinitionsPatchSchema` walks them field
by field, as a patch does, and resolves a reference only when the walk gets there, so that recursive definitions cost
nothing. A field that no definition names has no rule: objects merge and lists replace, as in a merge patch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

_STRATEGY = "x-kubernetes-patch-strategy"
_MERGE_KEY = "x-kubernetes-patch-merge-key"

_Node = Mapping[str, Any]


class PatchSchema(Protocol):
    """The rules for the fields of one object."""

    def field(self, name: str) -> FieldRule: ...


@dataclass(frozen=True, slots=True)
class FieldRule:
    """How one field is patched. `strategy` holds `merge`, `replace`, `retainKeys`, or nothing; `merge_key` is "" unless
    the field is a list of objects that merges; `child` has the rules of its value, or of a list's elements."""

    strategy: frozenset[str]
    merge_key: str
    child: PatchSchema


class DefinitionsPatchSchema:
    """The rules of one definition, e.g. `io.k8s.api.core.v1.Pod`; `definitions` maps such names to JSON schemas.

    `ref` may be the bare name or a reference (`#/$defs/…`). A name that is not there has no rules.
    """

    def __init__(self, definitions: Mapping[str, Any], ref: str) -> None:
        self._root = _NodeSchema(definitions, {"$ref": ref})

    def field(self, name: str) -> FieldRule:
        return self._root.field(name)


class _NodeSchema:
    """The rules at one place of a schema. Answers are kept: every patch of a kind asks for the same fields."""

    def __init__(self, definitions: Mapping[str, Any], node: _Node) -> None:
        self._definitions = definitions
        self._node = node
        self._rules: dict[str, FieldRule] = {}

    def field(self, name: str) -> FieldRule:
        if name not in self._rules:
            rule, known = self._find(name)
            if not known:
                return rule  # not kept: clients choose such names, and could fill the memory with them
            self._rules[name] = rule
        return self._rules[name]

    def _find(self, name: str) -> tuple[FieldRule, bool]:
        """The rule of a field, and whether the definitions name that field."""
        parts = list(self._expand(self._node))
        for part in parts:
            if name in (part.get("properties") or {}):
                return self._rule(part["properties"][name]), True
        for part in parts:
            if isinstance(values := part.get("additionalProperties"), Mapping):
                return self._rule(values), False
        return FieldRule(frozenset(), "", _NodeSchema(self._definitions, {})), False

    def _rule(self, node: _Node) -> FieldRule:
        strategy, merge_key, child = "", "", node
        for part in self._expand(node):
            strategy = strategy or part.get(_STRATEGY, "")
            merge_key = merge_key or part.get(_MERGE_KEY, "")
            if isinstance(items := part.get("items"), Mapping):
                child = items
        return FieldRule(frozenset(filter(None, strategy.split(","))), merge_key, _NodeSchema(self._definitions, child))

    def _expand(self, node: _Node) -> Iterator[_Node]:
        """A node with everything it refers to or combines, nearest first."""
        waiting, seen = [node], set[str]()
        while waiting:
            current = waiting.pop(0)
            yield current
            waiting.extend(current.get("allOf") or ())
            name = str(current.get("$ref") or "").rpartition("/")[2]
            if name and name not in seen:
                seen.add(name)
                waiting.append(self._definitions.get(name) or {})

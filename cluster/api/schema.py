"""The official definitions as data: structural validation and the shape of OpenAPI documents.

The definitions come from the `kubernetes-validate` package (Kubernetes' own OpenAPI document of one release, with the
patch strategies). Each kind's validator is compiled on first use (jsonschema-rs: 8 ms to compile, microseconds to run).
What a schema cannot say (defaults, immutable fields, rules across fields) lives in defaults.py and validation.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

import jsonschema_rs
import orjson

from petset.cluster.api.field_schema import FieldNode
from petset.cluster.api.fields import FieldError, required
from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object
from petset.cluster.api.patch_schema import DefinitionsPatchSchema
from petset.cluster.api.release import RELEASE

OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


@dataclass(frozen=True)
class Findings:
    """What a structural check found: `unknown` fields (dotted paths), `mistyped` texts, and missing ones as errors."""

    unknown: list[tuple[str | int, ...]] = field(default_factory=list)
    mistyped: list[str] = field(default_factory=list)
    errors: list[FieldError] = field(default_factory=list)


class Schemas:
    """Definitions by name and by kind; validators are compiled once per kind."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self.definitions = definitions
        self._validators: dict[str, jsonschema_rs.Validator] = {}
        self._patch_schemas: dict[str, DefinitionsPatchSchema] = {}
        self._names: dict[tuple[str, str, str], str] = {}
        for name, definition in definitions.items():
            rows = definition.get("x-kubernetes-group-version-kind") or []
            if len(rows) == 1:
                row = rows[0]
                self._names[row["group"], row["version"], row["kind"]] = name

    def definition_name(self, kind: Kind) -> str | None:
        """The definition of a kind, e.g. `io.k8s.api.apps.v1.StatefulSet`."""
        return self._names.get((kind.group, kind.version, kind.kind))

    def patch_schema(self, kind: Kind) -> DefinitionsPatchSchema | None:
        """How a strategic patch merges this kind's lists; None for kinds without a definition."""
        name = self.definition_name(kind)
        if name is not None and name not in self._patch_schemas:
            self._patch_schemas[name] = DefinitionsPatchSchema(self.definitions, name)
        return self._patch_schemas[name] if name is not None else None

    def field_node(self, kind: Kind) -> FieldNode:
        """What server-side apply must know of a kind."""
        if kind.custom:
            schema = kind.custom.schema.schema
            properties = {**(schema.get("properties") or {}), "metadata": {"$ref": OBJECT_META}}
            return FieldNode(self.definitions, {**schema, "properties": properties})
        name = self.definition_name(kind)
        return FieldNode(self.definitions, {"$ref": name} if name else {})

    def check(self, kind: Kind, obj: Object) -> Findings:
        """Compare an object with its kind's schema: of a custom kind, the metadata and which fields are unknown."""
        findings = Findings()
        if kind.custom:
            findings.unknown.extend(kind.custom.schema.unknown(obj))
            for error in self._validator(OBJECT_META).iter_errors(obj["metadata"]):
                _sort_in(error, findings, ("metadata",))
        elif name := self.definition_name(kind):
            for error in self._validator(name).iter_errors(obj):
                _sort_in(error, findings)
        return findings

    def _validator(self, name: str) -> jsonschema_rs.Validator:
        if name not in self._validators:
            schema = {"$ref": f"#/$defs/{name}", "$defs": dict(_closure(self.definitions, name))}
            self._validators[name] = jsonschema_rs.validator_for(schema)
        return self._validators[name]


@lru_cache(maxsize=1)
def load_schemas() -> Schemas:
    """The definitions of RELEASE, in their strict form (fields that no definition names are errors)."""
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{RELEASE}-local-strict"
    return Schemas(orjson.loads((folder / "_definitions.json").read_bytes())["$defs"])


def references(schema: Any) -> Iterator[str]:
    """The names of the definitions that a schema refers to directly."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.rpartition("/")[2]
            else:
                yield from references(value)
    elif isinstance(schema, list):
        for each in schema:
            yield from references(each)


def _closure(definitions: dict[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    """A definition and all that it needs."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in seen or current not in definitions:
            continue
        seen.add(current)
        yield current, definitions[current]
        waiting.extend(references(definitions[current]))


def _sort_in(error: jsonschema_rs.ValidationError, findings: Findings, prefix: tuple[str, ...] = ()) -> None:
    path = (*prefix, *error.instance_path)
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties(unexpected=names):
            findings.unknown.extend((*path, name) for name in names)
        case jsonschema_rs.ValidationErrorKind.Required(property=name):
            findings.errors.append(required(dotted((*path, str(name).strip('"')))))
        case _:
            findings.mistyped.append(f"{dotted(path) or 'the object'}: {error.message[:200]}")


def dotted(path: tuple[str | int, ...]) -> str:
    """`spec.containers[0].name` for ("spec", "containers", 0, "name")."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")

"""OpenAPI v3 documents per group and version, made from the official definitions and from custom schemas; and the
smallest possible v2.

kubectl refuses to create or apply anything unless the v3 document of a kind's group lists a `fieldValidation` parameter
(wire.md section 2); `explain` and client-side strategic merge read the schemas. Documents are built when first asked
for, and named by a hash of all that they are made from, because kubectl caches them on disk under that name: the hash
changes when a CustomResourceDefinition changes its group, and only then.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from petset.cluster.api.kinds import Kind, Registry
from petset.cluster.api.release import RELEASE
from petset.cluster.api.schema import OBJECT_META, Schemas, references
from petset.cluster.errors import NotFound

V2_DOCUMENT = bytes.fromhex("0a03322e3012060a016b12017642004a00")
"""An empty OpenAPI v2 document (swagger, info, no paths) in protobuf, the only encoding that kubectl reads."""
V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

DOCUMENT_FORM = "2"
"""Counts the changes of what this module makes of the same definitions; part of every hash."""

_PATCH_TYPES = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
_STRATEGIC = "application/strategic-merge-patch+json"
_FIELD_VALIDATION = {
    "name": "fieldValidation",
    "in": "query",
    "description": "How to treat unknown or duplicate fields: Ignore, Warn (the default) or Strict.",
    "schema": {"type": "string", "uniqueItems": True},
}


@dataclass(frozen=True)
class _Group:
    """One group and version: its rows, and the hash that names its document."""

    kinds: tuple[Kind, ...]
    digest: str


class OpenApi:
    """The documents of one registry."""

    def __init__(self, registry: Registry, schemas: Schemas) -> None:
        self._registry = registry
        self._schemas = schemas
        self._groups: dict[str, _Group] = {}
        self._documents: dict[str, tuple[str, bytes]] = {}

    def index(self) -> dict[str, Any]:
        """`/openapi/v3`: where each group and version has its document."""
        return {
            "paths": {
                name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={group.digest}"}
                for name, group in self._present().items()
            }
        }

    def document(self, name: str) -> bytes:
        """The document of `api/v1` or `apis/GROUP/VERSION`, as JSON. Raises NotFound."""
        group = self._present().get(name)
        if group is None:
            raise NotFound("the server could not find the requested resource")
        digest, document = self._documents.get(name, ("", b""))
        if digest != group.digest:
            document = orjson.dumps(self._build(list(group.kinds)))
            self._documents[name] = (group.digest, document)
        return document

    def _present(self) -> dict[str, _Group]:
        """Every group and version there is now; hashes of unchanged ones are not computed again."""
        found: dict[str, list[Kind]] = {}
        for kind in self._registry.kinds:
            found.setdefault(kind.root.lstrip("/"), []).append(kind)
        for name, kinds in found.items():
            known = self._groups.get(name)
            if known is None or not _same(known.kinds, kinds):
                self._groups[name] = _Group(tuple(kinds), _digest(kinds))
        for name in self._groups.keys() - found.keys():
            del self._groups[name]
            self._documents.pop(name, None)
        return {name: self._groups[name] for name in found}

    def _build(self, kinds: list[Kind]) -> dict[str, Any]:
        components: dict[str, Any] = {}
        waiting = [name for kind in kinds if (name := self._schemas.definition_name(kind))]
        for kind in kinds:
            if kind.custom:
                components[_custom_name(kind)] = _custom_schema(kind)
                waiting.append(OBJECT_META)
        while waiting:
            name = waiting.pop()
            if name in components or name not in self._schemas.definitions:
                continue
            definition = self._schemas.definitions[name]
            components[name] = _as_v3(definition)
            waiting.extend(references(definition))
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": f"v{RELEASE}"},
            "paths": {path: item for kind in kinds for path, item in self._paths(kind)},
            "components": {"schemas": dict(sorted(components.items()))},
        }

    def _paths(self, kind: Kind) -> list[tuple[str, dict[str, Any]]]:
        """The collection and the object, with just the operations that clients look for."""
        gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        name = _custom_name(kind) if kind.custom else self._schemas.definition_name(kind)
        reference = {"schema": {"$ref": f"#/components/schemas/{name}"}} if name else {}
        answer = {"200": {"description": "OK", "content": {"application/json": reference}}}

        def operation(action: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
            found: dict[str, Any] = {
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": gvk,
                "responses": answer,
            }
            if body is not None:
                found |= {"parameters": [_FIELD_VALIDATION], "requestBody": {"content": body}}
            return found

        body = {"*/*": reference}
        types = _PATCH_TYPES if kind.custom else (*_PATCH_TYPES, _STRATEGIC)
        patch = {each: {"schema": {"type": "object"}} for each in types}
        collection = kind.path("{namespace}" if kind.namespaced else "")
        if kind.verbs:
            return [(collection, {"get": operation("list")}), (f"{collection}/{{name}}", {"get": operation("get")})]
        if not kind.stored:
            return [(collection, {"post": operation("post", body)})]
        return [
            (collection, {"get": operation("list"), "post": operation("post", body)}),
            (
                f"{collection}/{{name}}",
                {"get": operation("get"), "put": operation("put", body), "patch": operation("patch", patch)},
            ),
        ]


def _same(known: tuple[Kind, ...], kinds: list[Kind]) -> bool:
    """The rows are equal, and custom ones still come from the same state of their definitions."""
    return len(known) == len(kinds) and all(
        old == new and old.custom is new.custom for old, new in zip(known, kinds, strict=True)
    )


def _digest(kinds: list[Kind]) -> str:
    parts = [RELEASE, DOCUMENT_FORM, *(repr(kind) for kind in kinds)]
    parts += [orjson.dumps(kind.custom.schema.schema).decode() for kind in kinds if kind.custom]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32].upper()


def _custom_name(kind: Kind) -> str:
    """`com.example.v1.Widget`: the group backwards."""
    return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])


def _custom_schema(kind: Kind) -> dict[str, Any]:
    assert kind.custom is not None
    schema = dict(kind.custom.schema.schema)
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    own = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"allOf": [{"$ref": f"#/components/schemas/{OBJECT_META}"}], "default": {}},
    }
    return schema | {
        "properties": {**(schema.get("properties") or {}), **own},
        "x-kubernetes-group-version-kind": [gvk],
    }


def _as_v3(schema: Any) -> Any:
    """A JSON Schema of the definitions as OpenAPI 3.0 says it: one type, references under `components`."""
    if isinstance(schema, list):
        return [_as_v3(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    converted: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            converted[key] = {name: _as_v3(each) for name, each in value.items()}
        elif key == "$ref" and isinstance(value, str):
            converted["allOf"] = [{"$ref": "#/components/schemas/" + value.rpartition("/")[2]}]
        elif key == "type" and isinstance(value, list):
            converted[key] = next(each for each in value if each != "null")
        elif key == "additionalProperties" and value is False:
            continue
        else:
            converted[key] = _as_v3(value)
    return converted

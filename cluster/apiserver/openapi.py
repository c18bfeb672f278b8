"""OpenAPI v3 documents per group and version, made from the official definitions; and the smallest possible v2.

kubectl refuses to create or apply anything unless the v3 document of a kind's group lists a `fieldValidation` parameter
(wire.md section 2); `explain` and client-side strategic merge read the schemas. Documents are built on first use and
named by a hash of their content, because kubectl caches them on disk under that name.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from petset.cluster.api.kinds import Kind, Registry
from petset.cluster.api.schema import RELEASE, Schemas, references
from petset.cluster.errors import NotFound

V2_DOCUMENT = bytes.fromhex("0a03322e3012060a016b12017642004a00")
"""An empty OpenAPI v2 document (swagger, info, no paths) in protobuf, the only encoding that kubectl reads."""
V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

_PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_FIELD_VALIDATION = {
    "name": "fieldValidation",
    "in": "query",
    "description": "How to treat unknown or duplicate fields: Ignore, Warn (the default) or Strict.",
    "schema": {"type": "string", "uniqueItems": True},
}


class OpenApi:
    """The documents of one registry."""

    def __init__(self, registry: Registry, schemas: Schemas) -> None:
        self._registry = registry
        self._schemas = schemas
        self._documents: dict[str, bytes] = {}

    def index(self) -> dict[str, Any]:
        """`/openapi/v3`: where each group and version has its document."""
        paths = {}
        for group, version in self._registry.group_versions():
            name = f"apis/{group}/{version}" if group else f"api/{version}"
            digest = hashlib.sha256(self.document(name)).hexdigest()[:32].upper()
            paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
        return {"paths": paths}

    def document(self, name: str) -> bytes:
        """The document of `api/v1` or `apis/GROUP/VERSION`, as JSON. Raises NotFound."""
        if name not in self._documents:
            kinds = [kind for kind in self._registry.kinds if kind.root == f"/{name}"]
            if not kinds:
                raise NotFound("the server could not find the requested resource")
            self._documents[name] = orjson.dumps(self._build(kinds))
        return self._documents[name]

    def _build(self, kinds: list[Kind]) -> dict[str, Any]:
        names = [name for kind in kinds if (name := self._schemas.definition_name(kind))]
        components: dict[str, Any] = {}
        waiting = list(names)
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
        name = self._schemas.definition_name(kind)
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
        patch = {each: {"schema": {"type": "object"}} for each in _PATCH_TYPES}
        collection = kind.path("{namespace}" if kind.namespaced else "")
        return [
            (collection, {"get": operation("list"), "post": operation("post", body)}),
            (
                f"{collection}/{{name}}",
                {"get": operation("get"), "put": operation("put", body), "patch": operation("patch", patch)},
            ),
        ]


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
        elif key == "$ref":
            converted["allOf"] = [{"$ref": "#/components/schemas/" + value.rpartition("/")[2]}]
        elif key == "type" and isinstance(value, list):
            converted[key] = next(each for each in value if each != "null")
        elif key == "additionalProperties" and value is False:
            continue
        else:
            converted[key] = _as_v3(value)
    return converted

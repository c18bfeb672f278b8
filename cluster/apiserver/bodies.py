"""Request bodies: bytes of some media type to JSON values; whatever cannot be read is the client's clear error."""

from __future__ import annotations

import math
from typing import Any

import orjson
import yaml

from petset.cluster.api.protobuf import decode_protobuf
from petset.cluster.errors import BadRequest, UnsupportedMediaType

MAX_DEPTH = 200
MAX_YAML_VALUES = 200_000
"""How many values a YAML body may have once its aliases are expanded."""
MAX_BODY_BYTES = 3 * 1024 * 1024
"""The real server's limit on what it decodes; a larger body is answered with 413."""

_LEAST, _MOST = -(2**63), 2**64 - 1
"""The whole numbers of Go, and of what writes JSON here."""

PATCH_TYPES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
}
APPLY_TYPE = "application/apply-patch+yaml"
_JSON = ("", "application/json", "application/octet-stream")
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_YAML = ("application/yaml", "application/x-yaml", "text/yaml")


def parse_body(raw: bytes, content_type: str) -> Any:
    """The value of a JSON, YAML or protobuf body; None of an empty one.

    A missing type counts as JSON, as kubectl relies on.
    """
    media_type = _media_type(content_type)
    if media_type == _PROTOBUF:
        return decode_protobuf(raw) if raw else None
    if not raw.strip():
        return None
    if media_type in _JSON:
        return _parse_json(raw)
    if media_type in _YAML:
        return _parse_yaml(raw)
    raise UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: application/json, "
        f"application/yaml, {_PROTOBUF} (got {media_type})"
    )


def struct_of(body: Any, name: str) -> dict[str, Any]:
    """A struct in a body that no schema checks; empty when it is absent. Raises BadRequest."""
    found = body.get(name) if isinstance(body, dict) else None
    if found is not None and not isinstance(found, dict):
        raise BadRequest(f"the body cannot be handled: {name} is not an object")
    return found or {}


def parse_patch(raw: bytes, content_type: str) -> tuple[Any, str]:
    """(patch, `json` | `merge` | `strategic` | `apply`); an applied configuration may be YAML."""
    media_type = _media_type(content_type)
    if media_type == APPLY_TYPE:
        return _parse_json_or_yaml(raw), "apply"
    if media_type not in PATCH_TYPES:
        accepted = ", ".join([*PATCH_TYPES, APPLY_TYPE])
        raise UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: " + accepted
        )
    return _parse_json(raw), PATCH_TYPES[media_type]


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _parse_json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from error


def _parse_json_or_yaml(raw: bytes) -> Any:
    """What kubectl sends as YAML is JSON, which is read much faster."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _parse_yaml(raw)


class _JsonLoader(yaml.CSafeLoader):
    """YAML as JSON has it: what looks like a date is a text."""


_JsonLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _parse_yaml(raw: bytes) -> Any:
    try:
        _check_size(raw)
        loaded = yaml.load(raw, Loader=_JsonLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadRequest(f"the body is not valid YAML: {str(error)[:200]}") from error
    return _as_json(loaded, [MAX_YAML_VALUES], MAX_DEPTH)


def _check_size(raw: bytes) -> None:
    """Refuse what is nested too deeply or too long before anything is built of it: that recurses, event by event."""
    depth = 0
    for number, event in enumerate(yaml.parse(raw, Loader=_JsonLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or number > 2 * MAX_YAML_VALUES:
            raise BadRequest(f"the body is too large for YAML or nested deeper than {MAX_DEPTH} levels")


def _as_json(value: Any, budget: list[int], levels: int) -> Any:
    """A YAML value as a JSON one of its own: aliases are expanded within a budget, keys are texts."""
    budget[0] -= 1
    if budget[0] < 0 or levels < 0:
        raise BadRequest("the body is not valid YAML: its aliases or its nesting make it too large")
    if isinstance(value, dict):
        return {_key(key): _as_json(each, budget, levels - 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_json(each, budget, levels - 1) for each in value]
    if value is None or isinstance(value, (str, bool)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int) and _LEAST <= value <= _MOST:
        return value
    raise BadRequest(f"the body is not valid YAML: {type(value).__name__} is no type of JSON")


def _key(key: Any) -> str:
    """As sigs.k8s.io/yaml makes keys: numbers and booleans as they are written in JSON."""
    if isinstance(key, str):
        return key
    if isinstance(key, (bool, int, float)):
        return orjson.dumps(key).decode()
    raise BadRequest(f"the body is not valid YAML: a key is a {type(key).__name__}")

"""Request bodies: bytes of some media type to JSON values; whatever cannot be read is the client's clear error."""

from __future__ import annotations

from typing import Any

import orjson
import yaml

from petset.cluster.errors import BadRequest, UnsupportedMediaType

MAX_BODY_BYTES = 3 * 1024 * 1024
"""The real server's limit on what it decodes; a larger body is answered with 413."""

PATCH_TYPES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
}
_JSON = ("", "application/json", "application/octet-stream")
_YAML = ("application/yaml", "application/x-yaml", "text/yaml")


def parse_body(raw: bytes, content_type: str) -> Any:
    """The value of a JSON or YAML body; None of an empty one. A missing type counts as JSON, as kubectl relies on."""
    media_type = _media_type(content_type)
    if not raw.strip():
        return None
    if media_type in _JSON:
        return _parse_json(raw)
    if media_type in _YAML:
        return _parse_yaml(raw)
    raise UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: application/json, "
        f"application/yaml (got {media_type})"
    )


def parse_patch(raw: bytes, content_type: str) -> tuple[Any, str]:
    """(patch, `json` | `merge` | `strategic`)."""
    media_type = _media_type(content_type)
    if media_type not in PATCH_TYPES:
        accepted = ", ".join(PATCH_TYPES)
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


def _parse_yaml(raw: bytes) -> Any:
    try:
        return yaml.load(raw, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise BadRequest(f"the body is not valid YAML: {str(error)[:200]}") from error

"""Structural schemas of custom resources: pruning, defaulting and validation by a CRD's `openAPIV3Schema`.

    object ─▶ fields that no schema names (pruned, or refused under Strict) ─▶ defaults ─▶ validation

The order is Kubernetes'. `x-kubernetes-preserve-unknown-fields`, `-int-or-string`, `-embedded-resource` and `nullable`
mean what they mean there. Validation is compiled once per schema (jsonschema-rs, draft 4 as OpenAPI 3.0 has it); the
texts of errors are those of kube-openapi. Left out: CEL rules (`x-kubernetes-validations`), which are not evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import jsonschema_rs

from petset.cluster.api.fields import FieldError, not_supported, required, wrong
from petset.cluster.api.objects import Object, fresh_copy

Path = tuple[str | int, ...]
_ALWAYS_KNOWN = ("apiVersion", "kind", "metadata")
_KEPT_KEYWORDS = frozenset((
    "type", "properties", "additionalProperties", "items", "required", "enum", "pattern", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems",
    "uniqueItems", "minProperties", "maxProperties", "allOf", "anyOf", "oneOf", "not",
))  # fmt: skip
_BOUNDS = {
    "minimum": "should be greater than or equal to",
    "maximum": "should be less than or equal to",
    "exclusiveMinimum": "should be greater than",
    "exclusiveMaximum": "should be less than",
    "multipleOf": "should be a multiple of",
}
_SIZES = {
    "minLength": "should be at least {} chars long",
    "maxLength": "should be at most {} chars long",
    "minItems": "should have at least {} items",
    "maxItems": "should have at most {} items",
    "minProperties": "should have at least {} properties",
    "maxProperties": "should have at most {} properties",
}


class CustomSchema:
    """One version's schema; None stands for one that says nothing (`preserveUnknownFields` of everything)."""

    def __init__(self, schema: Mapping[str, Any] | None) -> None:
        self.schema = schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

    def unknown(self, obj: Object) -> list[Path]:
        """Paths of the fields that the schema does not have."""
        return list(_unknown(self.schema, obj, (), is_object=True))

    def fill(self, obj: Object) -> None:
        """Complete an object with the schema's defaults, in place."""
        _fill(self.schema, obj)

    def errors(self, obj: Object) -> list[FieldError]:
        """What is wrong with a completed object."""
        return [_field_error(each) for each in self._validator.iter_errors(obj)]

    @cached_property
    def _validator(self) -> jsonschema_rs.Draft4Validator:
        return jsonschema_rs.Draft4Validator(_as_json_schema(self.schema))


def schema_problem(schema: Mapping[str, Any]) -> str:
    """Why a schema cannot be used; empty when it can."""
    if schema.get("type") != "object":
        return "must be object at the root"
    try:
        jsonschema_rs.Draft4Validator(_as_json_schema(schema))
    except (ValueError, RecursionError) as error:
        return f"is not a valid schema: {str(error)[:200]}"
    return ""


def _unknown(schema: Mapping[str, Any], value: Any, path: Path, *, is_object: bool = False) -> Iterator[Path]:
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _unknown(schema.get("items") or {}, each, (*path, index))
        return
    if not isinstance(value, dict):
        return
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    is_object = is_object or bool(schema.get("x-kubernetes-embedded-resource"))
    preserves = schema.get("x-kubernetes-preserve-unknown-fields") or others is True
    for name, each in value.items():
        if is_object and name in _ALWAYS_KNOWN:
            continue
        if name in properties:
            yield from _unknown(properties[name], each, (*path, name))
        elif isinstance(others, Mapping):
            yield from _unknown(others, each, (*path, name))
        elif not preserves:
            yield (*path, name)


def _fill(schema: Mapping[str, Any], value: Any) -> None:
    if isinstance(value, list):
        for each in value:
            _fill(schema.get("items") or {}, each)
    if not isinstance(value, dict):
        return
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    for name, each in properties.items():
        if "default" not in each:
            continue
        if name not in value or (value[name] is None and not each.get("nullable")):
            value[name] = fresh_copy(each["default"])
    for name, each in value.items():
        if name in properties:
            _fill(properties[name], each)
        elif isinstance(others, Mapping):
            _fill(others, each)


def _has_form(keyword: str, value: Any) -> bool:
    if keyword in ("allOf", "anyOf", "oneOf", "enum"):
        return isinstance(value, list)
    return keyword != "properties" or isinstance(value, Mapping)


def _as_json_schema(schema: Any) -> Any:
    """Only what validates, in words that draft 4 knows. Raises ValueError for what has not the form of a schema."""
    if not isinstance(schema, Mapping):
        return schema
    converted: dict[str, Any] = {}
    for key, value in schema.items():
        if key not in _KEPT_KEYWORDS:
            continue
        if not _has_form(key, value):
            raise ValueError(f"{key} has the wrong type")
        if key == "properties":
            converted[key] = {name: _as_json_schema(each) for name, each in value.items()}
        elif key in ("allOf", "anyOf", "oneOf"):
            converted[key] = [_as_json_schema(each) for each in value]
        else:
            converted[key] = _as_json_schema(value)
    if schema.get("x-kubernetes-int-or-string"):
        converted.pop("type", None)
        converted["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if schema.get("nullable"):
        if isinstance(type_ := converted.get("type"), str):
            converted["type"] = [type_, "null"]
        if "enum" in converted:
            converted["enum"] = [*converted["enum"], None]
    return converted


def _field_error(error: jsonschema_rs.ValidationError) -> FieldError:
    field, value = _dotted(tuple(error.instance_path)), error.instance
    keyword, rule = error.kind.name, error.kind.value
    if keyword == "required":
        return required(f"{field}.{rule}" if field else str(rule))
    if keyword == "enum":
        return not_supported(field, value, [str(each) for each in rule if each is not None])
    if keyword == "type":
        wanted = next(each for each in [*rule, "null"] if each != "null" or rule == ["null"])
        shown = _type_name(value)
        text = f'Invalid value: "{shown}": {field} in body must be of type {wanted}: "{shown}"'
        return FieldError("FieldValueTypeInvalid", field, text)
    return wrong(field, value, f"{field} in body {_detail(keyword, rule, error.message)}")


def _detail(keyword: str, rule: Any, message: str) -> str:
    if keyword in _BOUNDS:
        return f"{_BOUNDS[keyword]} {rule:g}" if isinstance(rule, float) else f"{_BOUNDS[keyword]} {rule}"
    if keyword in _SIZES:
        return _SIZES[keyword].format(rule)
    if keyword == "pattern":
        return f"should match '{rule}'"
    return f"is not valid: {message[:200]}"


def _type_name(value: Any) -> str:
    for type_, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array")):
        if isinstance(value, type_):
            return name
    return "null" if value is None else "object"


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")

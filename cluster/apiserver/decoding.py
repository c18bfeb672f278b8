"""From a client's JSON to an object of its kind: type errors, unknown fields and Go's noise are dealt with here.

Kubernetes decodes into Go structs; this module answers as that decoder would. Wrong types and, under
`fieldValidation=Strict`, unknown fields are a BadRequest; under `Warn` unknown fields are dropped with a warning,
under `Ignore` silently. `null` counts as absent.
"""

from __future__ import annotations

from typing import Any

from petset.cluster.api.fields import FieldError, invalid
from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object, fresh_copy
from petset.cluster.api.schema import Findings, Schemas, dotted
from petset.cluster.errors import BadRequest

_NOT_ENFORCED = ("serviceName", "status")
"""Fields that the definitions call required but the API server accepts without: an unset Go string is valid."""

MAX_DEPTH = 100
"""Objects nested deeper are refused before any recursion meets them."""


def decode(
    kind: Kind, obj: Any, *, schemas: Schemas, field_validation: str, partial: bool = False
) -> tuple[Object, list[str]]:
    """A clean copy of a client's object and the warnings to send back. Raises BadRequest or Invalid.

    A `partial` object (an applied configuration) may lack what is required, and is not completed.
    """
    _require_object(kind, obj)
    clean = _settled_nulls(kind, obj)
    clean["apiVersion"], clean["kind"] = kind.api_version, kind.kind
    clean.setdefault("metadata", {})
    findings = schemas.check(kind, clean)
    if findings.mistyped:
        raise BadRequest(_cannot_handle(kind, "; ".join(findings.mistyped[:3])))
    warnings = _settle_unknown(kind, clean, findings, field_validation)
    if partial:
        return clean, warnings
    errors = _enforced(findings.errors)
    if kind.custom:
        kind.custom.schema.fill(clean)
        errors += kind.custom.schema.errors(clean)
    if errors:
        raise invalid(kind, clean["metadata"].get("name", ""), errors)
    return clean, warnings


def _settled_nulls(kind: Kind, obj: Object) -> Object:
    """A deep copy; only custom kinds may hold nulls, where their schema allows them. Raises BadRequest if too deep."""
    if not kind.custom:
        clean: Object = without_nulls(obj)
        return clean
    if _deeper_than(obj, MAX_DEPTH):
        raise _too_deep()
    return {**fresh_copy(obj), "metadata": without_nulls(obj.get("metadata") or {})}


def without_nulls(value: Any, levels: int = MAX_DEPTH) -> Any:
    """A deep copy without nulls; other empty values stay, since `emptyDir: {}` means something.

    Raises BadRequest when there is anything below `levels` levels.
    """
    if levels == 0:
        raise _too_deep()
    if isinstance(value, dict):
        return {key: without_nulls(each, levels - 1) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_nulls(each, levels - 1) for each in value if each is not None]
    return value


def _too_deep() -> BadRequest:
    return BadRequest(f"the object is nested deeper than {MAX_DEPTH} levels")


def _require_object(kind: Kind, obj: Any) -> None:
    if not isinstance(obj, dict):
        raise BadRequest(_cannot_handle(kind, "the body is not an object"))
    if not isinstance(obj.get("metadata") or {}, dict):
        raise BadRequest(_cannot_handle(kind, "metadata is not an object"))
    given = (obj.get("apiVersion") or kind.api_version, obj.get("kind") or kind.kind)
    if given != (kind.api_version, kind.kind):
        raise BadRequest(
            f"the API version and kind in the data ({given[0]}, {given[1]}) do not match the expected ones "
            f"({kind.api_version}, {kind.kind})"
        )


def _deeper_than(value: Any, levels: int) -> bool:
    """Checked without recursion, so that hostile nesting costs nothing."""
    layer = [value]
    for _ in range(levels):
        layer = [
            child
            for each in layer
            if isinstance(each, (dict, list))
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not layer:
            return False
    return True


def _settle_unknown(kind: Kind, obj: Object, findings: Findings, field_validation: str) -> list[str]:
    if not findings.unknown:
        return []
    texts = [f'unknown field "{dotted(path)}"' for path in sorted(findings.unknown, key=str)]
    if field_validation == "Strict":
        raise BadRequest(_cannot_handle(kind, "strict decoding error: " + ", ".join(texts)))
    for *path, name in findings.unknown:
        holder: Any = obj
        for part in path:
            holder = holder[part]
        holder.pop(name, None)
    return texts if field_validation == "Warn" else []


def _enforced(errors: list[FieldError]) -> list[FieldError]:
    return [error for error in errors if not any(name in error.field.split(".") for name in _NOT_ENFORCED)]


def _cannot_handle(kind: Kind, why: str) -> str:
    return f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}'

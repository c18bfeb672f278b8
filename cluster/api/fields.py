"""Field errors: what is wrong with which field, worded as Kubernetes words it (apimachinery `field.Error`).

A validation answers a list of them; `invalid` folds the list into the one 422 Status whose `details.causes` kubectl
prints line by line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from petset.cluster.errors import Invalid

if TYPE_CHECKING:  # kinds.py needs this module for the schemas of custom kinds
    from petset.cluster.api.kinds import Kind


@dataclass(frozen=True)
class FieldError:
    """`reason` is the cause's machine-readable word, `text` the rest of the message after the field's path."""

    reason: str
    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


def required(field: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", field, _with_detail("Required value", detail))


def forbidden(field: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", field, _with_detail("Forbidden", detail))


def wrong(field: str, value: Any, detail: str) -> FieldError:
    """`Invalid value: <value>: <detail>`."""
    return FieldError("FieldValueInvalid", field, _with_detail(f"Invalid value: {_shown(value)}", detail))


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, f"Duplicate value: {_shown(value)}")


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    choices = ", ".join(json.dumps(each) for each in supported)
    return FieldError(
        "FieldValueNotSupported", field, f"Unsupported value: {_shown(value)}: supported values: {choices}"
    )


def invalid(kind: Kind, name: str, errors: list[FieldError]) -> Invalid:
    """The 422 for these errors (at least one)."""
    texts = [str(error) for error in errors]
    summary = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    qualified = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details: dict[str, Any] = {"name": name, "group": kind.group, "kind": kind.kind}
    details["causes"] = [{"reason": e.reason, "message": e.text, "field": e.field} for e in errors]
    return Invalid(f'{qualified} "{name}" is invalid: {summary}', details)


def _with_detail(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text


def _shown(value: Any) -> str:
    """Values as Go prints them: strings quoted, objects as JSON, bounded."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "…"

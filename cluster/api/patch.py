"""The patches of the Kubernetes API: merge patch and JSON patch, and the way to the strategic one.

    merge (RFC 7386)       objects merge, null deletes, everything else replaces
    json (RFC 6902)        a list of operations, all or nothing
    strategic              a merge patch that also merges lists by key: patch_strategic.py

All are pure: inputs are never changed, and a result shares nothing with them, so it may be changed freely. A patch that
makes no sense raises BadRequest (400); one that makes sense but does not fit the object raises Invalid (422).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import jsonpatch
import orjson
from jsonpointer import JsonPointer, JsonPointerException

from petset.cluster.api.objects import Object, fresh_copy
from petset.cluster.api.patch_schema import PatchSchema
from petset.cluster.api.patch_strategic import merge_objects
from petset.cluster.errors import BadRequest, Invalid, TooLarge

MAX_OPERATIONS: Final = 10_000
"""Operations in one JSON patch, as in the API server (handlers/patch.go)."""
MAX_COPIED_BYTES: Final = 3 * 1024 * 1024
"""What the `copy` operations of one JSON patch may add up to: each could double the object."""

_OPERANDS: Final = {
    "add": ("path", "value"),
    "remove": ("path",),
    "replace": ("path", "value"),
    "move": ("path", "from"),
    "copy": ("path", "from"),
    "test": ("path", "value"),
}


def apply_merge_patch(target: Object, patch: Any) -> Object:
    """The object after a JSON merge patch. Raises BadRequest when the patch is no object or is nested too deeply."""
    if not isinstance(patch, dict):
        raise BadRequest("a merge patch must be a JSON object")
    with _bounded_depth():
        return _merged(fresh_copy(target), patch)


def apply_strategic_patch(target: Object, patch: Any, schema: PatchSchema) -> Object:
    """The object after a strategic merge patch; `schema` has the rules of its kind. Raises BadRequest."""
    if not isinstance(patch, dict):
        raise BadRequest("a strategic merge patch must be a JSON object")
    with _bounded_depth():
        return merge_objects(fresh_copy(target), patch, schema)


def apply_json_patch(target: Object, operations: Any) -> Object:
    """The object after a JSON patch. Raises BadRequest (malformed), TooLarge, or Invalid: a test failed, or a path
    does not lead anywhere."""
    if not isinstance(operations, list):
        raise BadRequest("a JSON patch must be a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise TooLarge(f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}")
    for index, operation in enumerate(operations):
        _check_operation(index, operation)
    with _bounded_depth():
        result = _operated(fresh_copy(target), operations)
    if not isinstance(result, dict):
        raise Invalid("the JSON patch leaves no object")
    return result


def _operated(document: Any, operations: list[dict[str, Any]]) -> Any:
    copied_bytes = 0
    for index, operation in enumerate(operations):
        try:
            if operation["op"] == "copy":
                copied_bytes += len(orjson.dumps(JsonPointer(operation["from"]).resolve(document)))
                if copied_bytes > MAX_COPIED_BYTES:
                    raise TooLarge(f"the copy operations of a JSON patch may copy at most {MAX_COPIED_BYTES} bytes")
            # Its own copy of the operation: the value becomes part of the document.
            document = jsonpatch.JsonPatch([fresh_copy(operation)]).apply(document, in_place=True)
        except (jsonpatch.JsonPatchException, JsonPointerException) as error:
            # The library's own text can hold the whole object.
            why = "the test failed" if isinstance(error, jsonpatch.JsonPatchTestFailed) else "there is no such path"
            raise Invalid(
                f"operation {index} of the JSON patch ({operation['op']} {operation['path']}) does not apply: {why}"
            ) from error
    return document


def _merged(target: Any, patch: dict[str, Any]) -> Object:
    result: Object = target if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = _merged(result.get(name), value)
        else:
            result[name] = fresh_copy(value)
    return result


def _check_operation(index: int, operation: Any) -> None:
    if not isinstance(operation, dict):
        raise BadRequest(f"operation {index} of the JSON patch is no object")
    operands = _OPERANDS.get(operation["op"]) if isinstance(operation.get("op"), str) else None
    if operands is None:
        raise BadRequest(f"operation {index} of the JSON patch needs an op out of {', '.join(_OPERANDS)}")
    for name in operands:
        if name not in operation or (name != "value" and not isinstance(operation[name], str)):
            raise BadRequest(f"operation {index} of the JSON patch ({operation['op']}) needs {name!r}")
        if name != "value" and not _is_pointer(operation[name]):
            raise BadRequest(f"operation {index} of the JSON patch: {operation[name]!r} is no JSON pointer")


def _is_pointer(text: str) -> bool:
    try:
        JsonPointer(text)
    except JsonPointerException:
        return False
    return True


@contextmanager
def _bounded_depth() -> Iterator[None]:
    """Recursion follows the nesting of what clients send: too much of it is their mistake."""
    try:
        yield
    except RecursionError as error:
        raise BadRequest("the patch or the object is nested too deeply") from error

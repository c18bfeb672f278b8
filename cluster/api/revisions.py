"""ControllerRevisions: what a StatefulSet's template was, kept as the patch that would bring it back.

    template ──revision_data──▶ {"spec": {"template": {…, "$patch": "replace"}}} ──encode──▶ bytes ──▶ hash, name

Two templates are the same revision exactly if their encoded data are equal bytes: compact JSON with sorted keys and
Go's escapes, without the noise that Go clients send (nulls and empty `creationTimestamp`s). The hash is FNV-1 over
these bytes and the collision count, so a template gets the same name as under Kubernetes 1.34, where the encoding
of `metadata` has no `creationTimestamp` any more.

The stored data is a strategic-merge patch because `kubectl rollout undo` sends it as one. Only data that replaces
the whole template is written here, and read: a patch by hand that names single fields is taken as a whole template.

Rules: pkg/controller/history/controller_history.go and getPatch in stateful_set_utils.go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from petset.cluster.api.objects import Object, name_of

HASH_LABEL = "controller.kubernetes.io/hash"

SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""util/rand's alphabet, to which SafeEncodeString maps each byte of a hash's decimal digits."""

MAX_PREFIX_BYTES = 223
"""A revision's name is `PREFIX-HASH`; a longer prefix is cut, so that the name stays below 253 bytes."""

FNV_OFFSET_BASIS = 2166136261
FNV_PRIME = 16777619

_GO_ESCAPES = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026", "\u2028": r"\u2028", "\u2029": r"\u2029"})


def revision_data(template: Object) -> Object:
    """The `data` of the ControllerRevision that stores this pod template."""
    return {"spec": {"template": {"$patch": "replace"} | _without_noise(template)}}


def encode(data: Object) -> bytes:
    """The bytes by which revision data are compared and hashed (what Go's json.Marshal makes of a map)."""
    text = json.dumps(_without_noise(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.translate(_GO_ESCAPES).encode()


def apply_revision(revision: Object) -> Object:
    """The pod template that a ControllerRevision stores; it shares its parts with the revision."""
    template = revision["data"]["spec"]["template"]
    return {key: value for key, value in template.items() if key != "$patch"}


def hash_of(data: Object, collision_count: int) -> str:
    """The hash label's value: FNV-1 (32 bit, not 1a) of the data, then of the count in decimal; letters, not digits."""
    value = FNV_OFFSET_BASIS
    for byte in encode(data) + str(collision_count).encode():
        value = (value * FNV_PRIME & 0xFFFFFFFF) ^ byte
    return "".join(SAFE_LETTERS[digit % len(SAFE_LETTERS)] for digit in str(value).encode())


def revision_name(prefix: str, hash_value: str) -> str:
    """`PREFIX-HASH`; the prefix is the StatefulSet's name."""
    return f"{prefix[:MAX_PREFIX_BYTES]}-{hash_value}"


def sorted_revisions(revisions: Iterable[Object]) -> list[Object]:
    """Oldest first: by `revision`, ties by creationTimestamp, then by name."""
    return sorted(revisions, key=_order)


def next_number(revisions: list[Object]) -> int:
    """The `revision` of the next one, given sorted ones."""
    return int(revisions[-1]["revision"]) + 1 if revisions else 1


def _order(revision: Object) -> tuple[int, str, str]:
    return int(revision["revision"]), revision["metadata"].get("creationTimestamp") or "", name_of(revision)


def _without_noise(value: Any) -> Any:
    """The same JSON without nulls and empty creationTimestamps, which say nothing and come and go with the client."""
    if isinstance(value, dict):
        return {key: _without_noise(each) for key, each in value.items() if not _is_noise(key, each)}
    if isinstance(value, list):
        return [_without_noise(each) for each in value]
    return value


def _is_noise(key: str, value: Any) -> bool:
    return value is None or (key == "creationTimestamp" and not value)

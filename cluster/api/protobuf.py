"""The Kubernetes protobuf encoding of objects, decoded to the same JSON values that other clients send.

    6b 38 73 00 ("k8s\\0") ─▶ runtime.Unknown {typeMeta {apiVersion, kind}, raw} ─▶ the kind's message ─▶ JSON

kubectl sends it from release 1.32 on wherever it uses a typed client, and does not fall back to JSON (answers may
always be JSON). Which field number means what stands in protobuf_messages.json, made by tools/protobuf_messages.py.

Go writes fields that are not pointers even when they are unset. A `false`, `0` or `""` therefore counts as absent,
as it would be in JSON (`omitempty`), but for the fields named in POINTERS, where Kubernetes tells the two apart.
Unknown field numbers are skipped, as protobuf wants. Whatever cannot be read is a BadRequest; nesting is bounded by
MAX_DEPTH, and no input makes more than a few times its own size. Pure.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import orjson

from petset.cluster.api.objects import Object
from petset.cluster.api.times import format_micro_time, format_time
from petset.cluster.errors import BadRequest

MAGIC: Final = b"k8s\0"
MAX_DEPTH: Final = 100

# fmt: off
POINTERS: Final = frozenset((
    "activeDeadlineSeconds", "allocateLoadBalancerNodePorts", "allowPrivilegeEscalation", "allowVolumeExpansion",
    "attachRequired", "automountServiceAccountToken", "averageUtilization", "backoffLimit", "backoffLimitPerIndex",
    "blockOwnerDeletion", "completions", "controller", "currentReplicas", "defaultMode", "deletionGracePeriodSeconds",
    "enableServiceLinks", "expirationSeconds", "failedJobsHistoryLimit", "fsGroup", "gracePeriodSeconds", "hostUsers",
    "immutable", "leaseDurationSeconds", "leaseTransitions", "manualSelector", "maxFailedIndexes", "minReplicas",
    "mode", "nominalConcurrencyShares", "optional", "orphanDependents", "parallelism", "partition", "podInfoOnMount",
    "port", "priority", "privileged", "progressDeadlineSeconds", "readOnlyRootFilesystem", "ready", "replicas",
    "requiresRepublish", "revisionHistoryLimit", "runAsGroup", "runAsNonRoot", "runAsUser", "seLinuxMount", "serving",
    "setHostnameAsFQDN", "shareProcessNamespace", "stabilizationWindowSeconds", "startingDeadlineSeconds",
    "storageCapacity", "storageClassName", "successfulJobsHistoryLimit", "suspend", "targetCPUUtilizationPercentage",
    "terminating", "terminationGracePeriodSeconds", "timeoutSeconds", "tolerationSeconds", "ttlSecondsAfterFinished",
    "value", "volumeAttributesClassName",
))
"""Optional scalars (Go pointers) and required ones: a zero in them is a value like any other."""
# fmt: on
_ZERO_IS_UNSET: Final = {("k8s.io.api.core.v1.Probe", "timeoutSeconds"), ("k8s.io.api.core.v1.EnvVar", "value")}
"""Fields that share a name with a pointer elsewhere but are none."""

_UNSET: Final = object()


@dataclass(frozen=True)
class Field:
    """One field of a message. `form` is `one`, `list`, `map`, or `inline` (its fields stand in the parent)."""

    name: str
    type: str
    form: str


@dataclass(frozen=True)
class Messages:
    """`roots` maps `group/version/kind` to message names, `fields` message names to fields by number."""

    roots: dict[str, str]
    fields: dict[str, dict[int, Field]]


@lru_cache(maxsize=1)
def load_messages() -> Messages:
    """The table of the stable kinds; read when the first protobuf body comes."""
    table = orjson.loads((files(__package__) / "protobuf_messages.json").read_bytes())
    fields = {
        name: {int(number): Field(*field) for number, field in rows.items()} for name, rows in table["messages"].items()
    }
    return Messages(table["roots"], fields)


def decode_protobuf(raw: bytes) -> Object:
    """The object in a protobuf body, with its apiVersion and kind. Raises BadRequest."""
    if not raw.startswith(MAGIC):
        raise BadRequest("the body is not in the Kubernetes protobuf encoding: it does not begin with k8s\\0")
    envelope = dict(_records(raw[len(MAGIC) :]))
    type_meta = dict(_records(_bytes(envelope.get(1, b""))))
    api_version, kind = (_text(type_meta.get(number, b"")) for number in (1, 2))
    if any(_bytes(envelope.get(number, b"")) for number in (3, 4)):
        raise BadRequest("the protobuf body has a content encoding or type that this server does not know")
    message = _root(api_version, kind)
    obj = _message(message, _bytes(envelope.get(2, b"")), MAX_DEPTH)
    return {"apiVersion": api_version, "kind": kind, **obj}


def _root(api_version: str, kind: str) -> str:
    roots = load_messages().roots
    if kind == "DeleteOptions":  # every group has it, and it is always the same
        return roots["//DeleteOptions"]
    group, _, version = api_version.rpartition("/")
    if found := roots.get(f"{group}/{version}/{kind}"):
        return found
    raise BadRequest(f'no kind "{kind[:80]}" is registered for version "{api_version[:80]}" in the protobuf encoding')


def _message(name: str, raw: bytes, levels: int) -> Object:
    if levels == 0:
        raise BadRequest(f"the protobuf body is nested deeper than {MAX_DEPTH} levels")
    fields = load_messages().fields[name]
    obj: Object = {}
    for number, payload in _records(raw):
        field = fields.get(number)
        if field is None:
            continue
        if field.form == "inline":
            obj |= _message(field.type, _bytes(payload), levels - 1)
        elif field.form == "map":
            key, value = _entry(field, _bytes(payload), levels)
            obj.setdefault(field.name, {})[key] = value
        else:
            _add(obj, name, field, _value(field.type, payload, levels))
    return obj


def _add(obj: Object, message: str, field: Field, value: Any) -> None:
    if value is _UNSET:
        return
    if field.form == "list":
        obj.setdefault(field.name, []).append(value)
    elif value or isinstance(value, (dict, list)) or _is_pointer(message, field.name):
        obj[field.name] = value
    else:
        obj.pop(field.name, None)  # a repeated field: the last one wins


def _is_pointer(message: str, name: str) -> bool:
    return name in POINTERS and (message, name) not in _ZERO_IS_UNSET


def _entry(field: Field, raw: bytes, levels: int) -> tuple[str, Any]:
    entry = dict(_records(raw))
    value = _value(field.type, entry[2], levels) if 2 in entry else _empty(field.type)
    return _text(entry.get(1, b"")), value


def _empty(type_: str) -> Any:
    return {"string": "", "bytes": "", "int": 0, "bool": False, "double": 0.0}.get(type_, {})


def _value(type_: str, payload: bytes | int, levels: int) -> Any:
    if scalar := _SCALARS.get(type_):
        return scalar(payload)
    raw = _bytes(payload)
    if special := _SPECIAL.get(type_.rpartition(".")[2]):
        return special(dict(_records(raw)))
    if type_.endswith((".ExtraValue", ".Verbs")):  # Go's named lists
        return [_text(each) for number, each in _records(raw) if number == 1]
    return _message(type_, raw, levels - 1)


def _records(raw: bytes) -> Iterator[tuple[int, bytes | int]]:
    """(field number, payload) of a message: whole numbers of varints, bytes of everything else."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, at = _varint(raw, at)
            yield number, value
            continue
        if wire_type == 2:
            size, at = _varint(raw, at)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise BadRequest(f"the protobuf body is malformed: wire type {wire_type}")
        if number == 0 or at + size > len(raw):
            raise BadRequest("the protobuf body is malformed or cut short")
        yield number, raw[at : at + size]
        at += size


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """A varint of at most ten bytes, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(raw):
            break
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise BadRequest("the protobuf body is malformed: a number does not end")


def _bytes(payload: bytes | int) -> bytes:
    if isinstance(payload, int):
        raise BadRequest("the protobuf body is malformed: a number stands where a message or text must")
    return payload


def _text(payload: bytes | int) -> str:
    try:
        return _bytes(payload).decode()
    except UnicodeDecodeError as error:
        raise BadRequest("the protobuf body is malformed: a text is not UTF-8") from error


def _int(payload: bytes | int) -> int:
    """Kubernetes' whole numbers are signed: 64 bits, two's complement."""
    if not isinstance(payload, int):
        raise BadRequest("the protobuf body is malformed: no number stands where one must")
    return payload - (1 << 64) if payload >> 63 else payload


def _double(payload: bytes | int) -> float:
    if isinstance(payload, int) or len(payload) != 8:
        raise BadRequest("the protobuf body is malformed: no number stands where one must")
    value: float = struct.unpack("<d", payload)[0]
    if not math.isfinite(value):
        raise BadRequest("the protobuf body has a number that is not finite")
    return value


def _time(fields: dict[int, bytes | int]) -> Any:
    """metav1.Time; an empty message is Go's zero time."""
    seconds = _int(fields.get(1, 0))
    return _moment(format_time, seconds) if fields else _UNSET


def _micro_time(fields: dict[int, bytes | int]) -> Any:
    seconds = _int(fields.get(1, 0)) + _int(fields.get(2, 0)) / 1e9
    return _moment(format_micro_time, seconds) if fields else _UNSET


def _moment(form: Callable[[float], str], seconds: float) -> str:
    try:
        return form(seconds)
    except (ValueError, OverflowError, OSError) as error:
        raise BadRequest("the protobuf body has a time that is out of range") from error


def _int_or_string(fields: dict[int, bytes | int]) -> Any:
    return _text(fields.get(3, b"")) if _int(fields.get(1, 0)) == 1 else _int(fields.get(2, 0))


def _raw_json(fields: dict[int, bytes | int]) -> Any:
    raw = _bytes(fields.get(1, b""))
    try:
        return orjson.loads(raw) if raw else _UNSET
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the protobuf body holds JSON that is not valid: {error}") from error


_SCALARS: Final[dict[str, Callable[[bytes | int], Any]]] = {
    "string": _text,
    "bytes": lambda payload: base64.b64encode(_bytes(payload)).decode(),
    "int": _int,
    "bool": lambda payload: _int(payload) != 0,
    "double": _double,
}
_SPECIAL: Final[dict[str, Callable[[dict[int, bytes | int]], Any]]] = {
    "Quantity": lambda fields: _text(fields.get(1, b"")),
    "IntOrString": _int_or_string,
    "Time": _time,
    "MicroTime": _micro_time,
    "RawExtension": _raw_json,
    "FieldsV1": _raw_json,
}

"""ConfigMaps and Secrets: their keys become file names, their values are bounded (core validation.go).

A Secret whose data is not base64 is refused by Kubernetes while decoding (400); here it is an invalid field (422).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

from petset.cluster.api.fields import FieldError, duplicate, wrong
from petset.cluster.api.objects import Object

MAX_DATA_BYTES = 1024 * 1024

_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  "
    "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


def validate_config_map(config_map: Object) -> list[FieldError]:
    """ValidateConfigMap."""
    texts, binaries = config_map.get("data") or {}, config_map.get("binaryData") or {}
    errors = _key_errors(texts, "data") + _key_errors(binaries, "binaryData")
    errors += [duplicate(f"data[{key}]", key) for key in texts if key in binaries]
    size, bad = _decoded_bytes(binaries, "binaryData")
    size += sum(len((text or "").encode()) for text in texts.values())
    return errors + bad + _size_errors(size, "[]")


def validate_secret(secret: Object) -> list[FieldError]:
    """ValidateSecret, as far as its data goes."""
    data = secret.get("data") or {}
    size, bad = _decoded_bytes(data, "data")
    return _key_errors(data, "data") + bad + _size_errors(size, "data")


def _key_errors(keys: Iterable[str], path: str) -> list[FieldError]:
    errors = []
    for key in keys:
        if len(key) > 253:
            errors.append(wrong(f"{path}[{key}]", key, "must be no more than 253 characters"))
        elif not _KEY.fullmatch(key):
            errors.append(wrong(f"{path}[{key}]", key, _KEY_TEXT))
        elif key == ".":
            errors.append(wrong(f"{path}[{key}]", key, "must not be '.'"))
        elif key.startswith(".."):
            errors.append(wrong(f"{path}[{key}]", key, "must not start with '..'"))
    return errors


def _decoded_bytes(data: Object, path: str) -> tuple[int, list[FieldError]]:
    size, errors = 0, []
    for key, text in data.items():
        try:
            size += len(base64.b64decode((text or "").replace("\n", "").replace("\r", ""), validate=True))
        except (binascii.Error, ValueError):
            errors.append(wrong(f"{path}[{key}]", text, "illegal base64 data"))
    return size, errors


def _size_errors(size: int, path: str) -> list[FieldError]:
    if size <= MAX_DATA_BYTES:
        return []
    return [FieldError("FieldValueTooLong", path, f"Too long: may not be more than {MAX_DATA_BYTES} bytes")]

"""Keys, encodings and sizes of ConfigMaps and Secrets."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from petset.cluster.api.kinds import Registry
from petset.cluster.api.validation import validate
from petset.cluster.api.validation_data import MAX_DATA_BYTES


def errors_of(kind: str, **fields: Any) -> list[str]:
    return [str(error) for error in validate(Registry().of_kind(kind), {"metadata": {"name": "a"}, **fields})]


def encoded(size: int) -> str:
    return base64.b64encode(b"x" * size).decode()


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        pytest.param("Secret", {"data": {"a": "%%%"}}, 'data[a]: Invalid value: "%%%": illegal base64', id="no-base64"),
        pytest.param("Secret", {"data": {"a": encoded(MAX_DATA_BYTES + 1)}}, "data: Too long: may not be more than "
                     "1048576 bytes", id="secret-too-long"),
        pytest.param("ConfigMap", {"data": {"a": "x" * MAX_DATA_BYTES, "b": "y"}}, "[]: Too long: may not be more than "
                     "1048576 bytes", id="all-values-together-too-long"),
        pytest.param("ConfigMap", {"data": {"a/b": ""}},
                     'data[a/b]: Invalid value: "a/b": a valid config key', id="key"),
        pytest.param("ConfigMap", {"data": {"..a": ""}},
                     "data[..a]: Invalid value: \"..a\": must not start", id="dots"),
        pytest.param("ConfigMap", {"data": {"a": ""}, "binaryData": {"a": ""}},
                     'data[a]: Duplicate value: "a"', id="twice"),
    ],
)  # fmt: skip
def test_refused(kind: str, fields: dict[str, Any], text: str) -> None:
    (error,) = errors_of(kind, **fields)
    assert error.startswith(text)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        pytest.param("Secret", {"data": {"tls.crt": encoded(MAX_DATA_BYTES)}}, id="exactly-as-long"),
        pytest.param("Secret", {"data": {"a": "eA==\n"}}, id="a-line's-end"),
        pytest.param("ConfigMap", {"data": {".hidden": "a", "b_C-1": ""}, "binaryData": {"c": "eA=="}}, id="keys"),
        pytest.param("ConfigMap", {}, id="empty"),
    ],
)
def test_accepted(kind: str, fields: dict[str, Any]) -> None:
    assert errors_of(kind, **fields) == []

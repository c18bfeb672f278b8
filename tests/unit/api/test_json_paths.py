"""JSON paths as definitions use them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.cluster.api.json_paths import find, find_all, replaced

OBJECT: dict[str, Any] = {
    "spec": {"size": 3, "off": False, "hosts": [{"name": "a", "on": "yes"}, {"name": "b", "on": "no"}]},
    "metadata": {"annotations": {"a.b/c": "dotted"}},
    "status": {"conditions": [{"type": "Old", "status": "False"}, {"type": "Ready", "status": "True"}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        pytest.param(".spec.size", [3], id="a field"),
        pytest.param("spec.size", [3], id="without the first dot"),
        pytest.param(".spec.off", [False], id="a false value is a value"),
        pytest.param(".spec.none", [], id="an absent field"),
        pytest.param(".spec.size.deeper", [], id="below a scalar"),
        pytest.param(".spec.hosts[1].name", ["b"], id="an index"),
        pytest.param(".spec.hosts[-1].name", ["b"], id="an index from the end"),
        pytest.param(".spec.hosts[7].name", [], id="an index too far"),
        pytest.param(".spec.hosts[*].name", ["a", "b"], id="every element"),
        pytest.param('.status.conditions[?(@.type=="Ready")].status', ["True"], id="a filter"),
        pytest.param(".status.conditions[?(@.type == 'Ready')].status", ["True"], id="a filter with spaces"),
        pytest.param('.status.conditions[?(@.type=="Gone")].status', [], id="a filter that matches nothing"),
        pytest.param(r".metadata.annotations.a\.b/c", ["dotted"], id="an escaped dot"),
        pytest.param(".metadata.annotations['a.b/c']", ["dotted"], id="a quoted key"),
        pytest.param(".spec[", [], id="no path at all"),
        pytest.param(".spec[?(@.x>1)]", [], id="a filter of another kind"),
    ],
)
def test_a_path_finds(path: str, found: list[Any]) -> None:
    assert find_all(OBJECT, path) == found
    assert find(OBJECT, path) == (found[0] if found else None)


def test_a_value_is_replaced_without_changing_the_object() -> None:
    obj: dict[str, Any] = {"spec": {"a": 1}}
    assert replaced(obj, ".spec.size", 5) == {"spec": {"a": 1, "size": 5}}
    assert replaced(obj, ".x.y", 5) == {"spec": {"a": 1}, "x": {"y": 5}}
    assert obj == {"spec": {"a": 1}}


@given(st.text(max_size=20))
def test_any_text_is_a_path_that_finds_something_or_nothing(path: str) -> None:
    find_all(OBJECT, path)

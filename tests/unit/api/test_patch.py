"""Merge patch and JSON patch: tables of rules, and properties over random documents (all three kinds)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petset.cluster.api.patch import apply_json_patch, apply_merge_patch, apply_strategic_patch
from petset.cluster.api.patch_schema import DefinitionsPatchSchema
from petset.cluster.errors import BadRequest, Invalid, TooLarge
from tests.unit.api.purity import untouched


class TestMergePatch:
    @pytest.mark.parametrize(
        ("live", "patch", "expected"),
        [
            pytest.param({"a": 1}, {"b": 2}, {"a": 1, "b": 2}, id="adds"),
            pytest.param({"a": 1}, {"a": 2}, {"a": 2}, id="replaces"),
            pytest.param({"a": 1, "b": 2}, {"a": None}, {"b": 2}, id="null deletes"),
            pytest.param({"a": 1}, {"b": None}, {"a": 1}, id="null of an absent field"),
            pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}}, {"a": {"c": 2, "d": 3}}, id="nested"),
            pytest.param({"a": [1, 2]}, {"a": [3]}, {"a": [3]}, id="lists replace"),
            pytest.param({"a": [1]}, {"a": [None, {"b": None}]}, {"a": [None, {"b": None}]}, id="nulls in lists stay"),
            pytest.param({"a": 1}, {"a": {"b": {"c": None}}}, {"a": {"b": {}}}, id="object over a value: no nulls"),
            pytest.param({"a": {"b": 1}}, {"a": 1}, {"a": 1}, id="value over an object"),
            pytest.param({"a": 1}, {}, {"a": 1}, id="empty"),
        ],
    )
    def test_rules_of_rfc_7386(self, live: Any, patch: Any, expected: Any) -> None:
        assert untouched(live, patch, lambda: apply_merge_patch(live, patch)) == expected

    @pytest.mark.parametrize("patch", [None, 1, "x", [], [{}], True])
    def test_what_is_no_object(self, patch: Any) -> None:
        with pytest.raises(BadRequest, match="JSON object"):
            apply_merge_patch({}, patch)

    def test_nested_too_deeply(self) -> None:
        patch: Any = 1
        for _ in range(5000):
            patch = {"a": patch}
        with pytest.raises(BadRequest, match="too deeply"):
            apply_merge_patch({}, patch)


class TestJsonPatch:
    LIVE: dict[str, Any] = {
        "metadata": {"resourceVersion": "7", "finalizers": ["a", "b"], "labels": {"x/y": "1", "t~": "2"}}
    }

    @pytest.mark.parametrize(
        ("operation", "metadata"),
        [
            pytest.param({"op": "add", "path": "/metadata/name", "value": "n"}, {"name": "n"}, id="add"),
            pytest.param({"op": "add", "path": "/metadata/finalizers/-", "value": "c"},
                         {"finalizers": ["a", "b", "c"]}, id="append"),
            pytest.param({"op": "add", "path": "/metadata/finalizers/1", "value": "c"},
                         {"finalizers": ["a", "c", "b"]}, id="insert"),
            pytest.param({"op": "remove", "path": "/metadata/finalizers/0"}, {"finalizers": ["b"]}, id="remove"),
            pytest.param({"op": "replace", "path": "/metadata/labels", "value": {}}, {"labels": {}}, id="replace"),
            pytest.param({"op": "replace", "path": "/metadata/labels/x~1y", "value": "3"},
                         {"labels": {"x/y": "3", "t~": "2"}}, id="escaped slash"),
            pytest.param({"op": "remove", "path": "/metadata/labels/t~0"},
                         {"labels": {"x/y": "1"}}, id="escaped tilde"),
            pytest.param({"op": "copy", "from": "/metadata/finalizers/0", "path": "/metadata/name"},
                         {"name": "a"}, id="copy"),
            pytest.param({"op": "test", "path": "/metadata/resourceVersion", "value": "7"}, {}, id="test"),
        ],
    )  # fmt: skip
    def test_operations(self, operation: Any, metadata: Any) -> None:
        result = untouched(self.LIVE, [operation], lambda: apply_json_patch(self.LIVE, [operation]))
        assert result == {"metadata": {**self.LIVE["metadata"], **metadata}}

    def test_move(self) -> None:
        operations = [{"op": "move", "from": "/metadata/labels", "path": "/labels"}]
        result = apply_json_patch(self.LIVE, operations)
        assert result["labels"] == self.LIVE["metadata"]["labels"]
        assert "labels" not in result["metadata"]

    @pytest.mark.parametrize(
        ("operation", "text"),
        [
            pytest.param({"op": "test", "path": "/metadata/resourceVersion", "value": "6"},
                         "operation 1 of the JSON patch (test /metadata/resourceVersion) does not apply: "
                         "the test failed", id="failed test"),
            pytest.param({"op": "test", "path": "/spec", "value": 1}, "the test failed", id="test of an absent path"),
            pytest.param({"op": "remove", "path": "/spec"}, "there is no such path", id="remove an absent field"),
            pytest.param({"op": "replace", "path": "/metadata/name", "value": 1}, "no such path", id="replace one"),
            pytest.param({"op": "add", "path": "/spec/replicas", "value": 1}, "no such path", id="add into nothing"),
            pytest.param({"op": "add", "path": "/metadata/finalizers/9", "value": 1}, "no such path", id="index"),
            pytest.param({"op": "remove", "path": "/metadata/finalizers/x"}, "no such path", id="index that is none"),
            pytest.param({"op": "add", "path": "/metadata/resourceVersion/x", "value": 1}, "no such", id="in a value"),
            pytest.param({"op": "remove", "path": ""}, "no such path", id="remove everything"),
            pytest.param({"op": "replace", "path": "", "value": []}, "leaves no object", id="replace everything"),
        ],
    )  # fmt: skip
    def test_invalid_for_this_object(self, operation: Any, text: str) -> None:
        operations = [{"op": "add", "path": "/first", "value": "x" * 1000}, operation]
        with pytest.raises(Invalid) as caught:
            untouched(self.LIVE, operations, lambda: apply_json_patch(self.LIVE, operations))
        assert text in str(caught.value)
        assert len(str(caught.value)) < 150

    @pytest.mark.parametrize(
        "operations",
        [
            pytest.param({"op": "remove", "path": "/a"}, id="no list"),
            pytest.param(["remove"], id="no object"),
            pytest.param([{}], id="no op"),
            pytest.param([{"op": "delete", "path": "/a"}], id="unknown op"),
            pytest.param([{"op": ["add"], "path": "/a"}], id="op that is no text"),
            pytest.param([{"op": "remove"}], id="no path"),
            pytest.param([{"op": "remove", "path": 1}], id="path that is no text"),
            pytest.param([{"op": "remove", "path": "a"}], id="path without a slash"),
            pytest.param([{"op": "remove", "path": "/~2"}], id="bad escape"),
            pytest.param([{"op": "add", "path": "/a"}], id="no value"),
            pytest.param([{"op": "move", "path": "/a"}], id="no from"),
        ],
    )
    def test_malformed(self, operations: Any) -> None:
        with pytest.raises(BadRequest):
            apply_json_patch({"a": 1}, operations)

    def test_too_many_operations(self) -> None:
        with pytest.raises(TooLarge, match="maximum operations in a JSON patch is 10000, got 10001"):
            apply_json_patch({}, [{"op": "add", "path": "/a", "value": 1}] * 10_001)

    def test_copies_that_double_the_object(self) -> None:
        operations = [{"op": "copy", "from": "", "path": f"/{number}"} for number in range(64)]
        with pytest.raises(TooLarge, match="copy"):
            apply_json_patch({"seed": "x" * 1000}, operations)


def documents(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["a", "b", "c", "metadata", "spec", "containers", "finalizers", "name", "labels"])
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4))


def objects(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from("abc"), documents(leaves), max_size=4)


VALUES = st.booleans() | st.integers(0, 2) | st.sampled_from(["", "x"])


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The merge patch from old to new."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(name), dict):
            patch[name] = difference(old[name], value)
        elif name not in old or old[name] != value or isinstance(old[name], bool) != isinstance(value, bool):
            patch[name] = value
    return patch


FEW = settings(max_examples=150)


@FEW
@given(objects(VALUES), objects(VALUES))
def test_merging_a_difference_restores_the_new_state(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert apply_merge_patch(old, difference(old, new)) == new


@FEW
@given(objects(VALUES), objects(VALUES | st.none()))
def test_merging_twice_is_merging_once(live: dict[str, Any], patch: dict[str, Any]) -> None:
    once = apply_merge_patch(live, patch)
    assert apply_merge_patch(once, patch) == once


CONTAINERS = DefinitionsPatchSchema(
    {
        "Spec": {
            "properties": {
                "containers": {"x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name"}
            }
        },
        "Root": {"properties": {"spec": {"$ref": "Spec"}, "a": {"x-kubernetes-patch-strategy": "merge"}}},
    },
    "Root",
)
DIRECTIVES = st.sampled_from(["$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/a"])
GARBAGE = st.recursive(
    VALUES | st.none() | st.sampled_from(["replace", "delete", "merge", "/a/0", "add", "copy"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            DIRECTIVES | st.sampled_from(["a", "name", "spec", "containers", "op", "path", "from", "value"]),
            inner,
            max_size=5,
        )
    ),
)


@settings(max_examples=300)
@given(objects(VALUES), GARBAGE, st.sampled_from(["merge", "json", "strategic"]))
def test_garbage_gives_an_object_or_an_error_of_ours(live: dict[str, Any], patch: Any, kind: str) -> None:
    live = {**live, "spec": {"containers": [{"name": "x"}]}}
    act = {
        "merge": lambda: apply_merge_patch(live, patch),
        "json": lambda: apply_json_patch(live, patch),
        "strategic": lambda: apply_strategic_patch(live, patch, CONTAINERS),
    }[kind]
    with suppress(BadRequest, TooLarge, Invalid):
        assert isinstance(untouched(live, patch, act), dict)


OPERATIONS = st.lists(
    st.fixed_dictionaries(
        {
            "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
            "path": st.lists(st.sampled_from(["", "a", "b", "0", "1", "-", "01", "~0"]), max_size=3).map(
                lambda parts: "".join(f"/{part}" for part in parts)
            ),
            "from": st.sampled_from(["", "/a", "/b/0", "/a/b"]),
            "value": documents(VALUES | st.none()),
        }
    ),
    max_size=4,
)


@settings(max_examples=300)
@given(objects(VALUES), OPERATIONS)
def test_operations_that_do_not_fit_are_invalid(live: dict[str, Any], operations: list[dict[str, Any]]) -> None:
    with suppress(TooLarge, Invalid):
        assert isinstance(untouched(live, operations, lambda: apply_json_patch(live, operations)), dict)

"""Merge and strategic patches against the shortest models of what they mean."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from petset.cluster.api.patch import apply_merge_patch, apply_strategic_patch
from petset.cluster.api.patch_schema import DefinitionsPatchSchema
from petset.cluster.api.schema import load_schemas
from tests.unit.api.purity import untouched

FEW = settings(max_examples=100)
POD = DefinitionsPatchSchema(load_schemas().definitions, "io.k8s.api.core.v1.Pod")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)
WITHOUT_NULLS = JSON.map(lambda value: drop_nulls(value))
OBJECTS = st.dictionaries(st.sampled_from("abc"), WITHOUT_NULLS, max_size=3)
PATCHES = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def drop_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: drop_nulls(each) for name, each in value.items() if each is not None}
    return [drop_nulls(each) for each in value if each is not None] if isinstance(value, list) else value


def rfc7386(target: Any, patch: Any) -> Any:
    """The pseudocode of RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = rfc7386(result.get(name), value)
    return result


@FEW
@given(OBJECTS, PATCHES)
def test_a_merge_patch_is_rfc_7386(live: dict[str, Any], patch: dict[str, Any]) -> None:
    assert untouched(live, patch, lambda: apply_merge_patch(live, patch)) == rfc7386(live, patch)


NAMES = st.sampled_from(["a", "b", "c", "d"])
IMAGES = st.fixed_dictionaries({}, optional={"image": st.sampled_from(["x", "y"]), "tty": st.booleans()})
LIVE = st.dictionaries(NAMES, IMAGES, max_size=4)
CHANGES = st.dictionaries(
    NAMES,
    st.just({"$patch": "delete"})
    | st.fixed_dictionaries({}, optional={"image": st.sampled_from(["x", "z"]) | st.none(), "tty": st.booleans()}),
    max_size=4,
)


def pod(containers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": name, **rest} for name, rest in containers.items()]}}


@FEW
@given(LIVE, CHANGES)
def test_a_strategic_patch_of_a_list_by_key_is_a_merge_of_maps(
    live: dict[str, dict[str, Any]], changes: dict[str, dict[str, Any]]
) -> None:
    """A list with a merge key is a map: that is all, as long as nobody asks for an order."""
    expected = {name: dict(rest) for name, rest in live.items()}
    for name, change in changes.items():
        if "$patch" in change:
            expected.pop(name, None)
        else:
            expected[name] = rfc7386(expected.get(name), change)
    before, patch = pod(live), pod(changes)
    result = untouched(before, patch, lambda: apply_strategic_patch(before, patch, POD))
    found = {each["name"]: each for each in result["spec"]["containers"]}
    assert found == {name: {"name": name, **rest} for name, rest in expected.items()}
    assert len(found) == len(result["spec"]["containers"])


@FEW
@given(LIVE, CHANGES, st.permutations(["a", "b", "c", "d"]))
def test_an_order_is_kept(
    live: dict[str, dict[str, Any]], changes: dict[str, dict[str, Any]], order: list[str]
) -> None:
    patch = pod({name: changes[name] for name in order if name in changes})  # in that order, as kubectl sends them
    patch["spec"]["$setElementOrder/containers"] = [{"name": name} for name in order]
    result = apply_strategic_patch(pod(live), patch, POD)
    names = [each["name"] for each in result["spec"]["containers"]]
    assert names == [name for name in order if name in names]

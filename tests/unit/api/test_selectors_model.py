"""The selector engines against models that are too simple to be wrong: any requirements, any labels, any object."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from petset.cluster.api.selectors import (
    parse_field_selector,
    parse_label_selector,
    selector_of,
)
from petset.cluster.errors import BadRequest

FEW = settings(max_examples=100)
KEYS = st.sampled_from(["a", "app", "example.com/x", "A_b.c-d"])
VALUES = st.sampled_from(["", "1", "2", "10", "web", "Web", "x.y", "7"])
LABELS = st.dictionaries(KEYS, VALUES, max_size=4)
REQUIREMENTS = st.lists(
    st.tuples(
        KEYS,
        st.sampled_from(["=", "==", "!=", "in", "notin", "exists", "absent", ">", "<"]),
        st.lists(VALUES, min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=4,
)
Requirement = tuple[str, str, list[str]]


def text_of(requirement: Requirement) -> str:
    key, operator, values = requirement
    match operator:
        case "exists":
            return key
        case "absent":
            return f"!{key}"
        case "in" | "notin":
            return f"{key} {operator} ({','.join(values)})"
        case ">" | "<":
            return f"{key}{operator}{values[0] if values[0].isdigit() else '5'}"
    return f"{key}{operator}{values[0]}"


def model(requirement: Requirement, labels: dict[str, str]) -> bool:
    """A key that is absent differs from every value, is in no set, and is not to be compared."""
    key, operator, values = requirement
    value = labels.get(key)
    match operator:
        case "exists":
            return value is not None
        case "absent":
            return value is None
        case "=" | "==":
            return value == values[0]
        case "!=":
            return value != values[0]
        case "in":
            return value is not None and value in values
        case "notin":
            return value is None or value not in values
    bound = int(values[0]) if values[0].isdigit() else 5
    if value is None or not value.isdigit():
        return False
    return int(value) > bound if operator == ">" else int(value) < bound


@FEW
@given(REQUIREMENTS, LABELS, st.sampled_from([",", " , ", ",  "]))
def test_a_label_selector_selects_what_the_model_does(
    requirements: list[Requirement], labels: dict[str, str], comma: str
) -> None:
    matcher = parse_label_selector(comma.join(map(text_of, requirements)))
    expected = all(model(each, labels) for each in requirements)
    assert matcher.matches(labels) is expected
    assert parse_label_selector(str(matcher)) == matcher
    assert parse_label_selector(str(matcher)).matches(labels) is expected


EXPRESSIONS = {"in": "In", "notin": "NotIn", "exists": "Exists", "absent": "DoesNotExist"}


@FEW
@given(REQUIREMENTS, LABELS)
def test_a_selector_object_selects_what_the_model_does(requirements: list[Requirement], labels: dict[str, str]) -> None:
    exact = {key: values[0] for key, operator, values in requirements if operator in ("=", "==")}
    sets = [each for each in requirements if each[1] in EXPRESSIONS]
    expressions = [
        {"key": key, "operator": EXPRESSIONS[operator], **({"values": values} if "in" in operator else {})}
        for key, operator, values in sets
    ]
    matcher = selector_of({"matchLabels": exact, "matchExpressions": expressions})
    expected = all(labels.get(key) == value for key, value in exact.items()) and all(
        model(each, labels) for each in sets
    )
    assert matcher.matches(labels) is expected


@FEW
@given(st.text(alphabet="ab,=!()<> innot\\/.-\n\0é", max_size=30))
def test_any_text_is_a_selector_or_a_bad_request(text: str) -> None:
    for parse in (parse_label_selector, parse_field_selector):
        with suppress(BadRequest):
            matcher = parse(text)
            assert str(parse(str(matcher))) == str(matcher)


LEAVES = st.none() | st.booleans() | st.integers(0, 9) | st.text(alphabet="ab,=\\é", max_size=4)
OBJECTS = st.recursive(LEAVES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8)
PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join)
TERMS = st.lists(
    st.tuples(PATHS, st.booleans(), st.sampled_from(["", "true", "a", "7"]) | st.text(alphabet="ab,=\\é", max_size=4)),
    max_size=3,
)


def seen(obj: Any, path: str) -> str:
    """A field as text; whatever is not there is empty."""
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    if isinstance(obj, bool):
        return "true" if obj else "false"
    return "" if obj is None else str(obj)


@FEW
@given(OBJECTS, TERMS)
def test_a_field_selector_selects_what_the_model_does(obj: Any, terms: list[tuple[str, bool, str]]) -> None:
    escaped = [(path, equal, re.sub(r"([\\,=])", r"\\\1", value)) for path, equal, value in terms]
    text = ",".join(f"{path}{'=' if equal else '!='}{value}" for path, equal, value in escaped)
    found = obj if isinstance(obj, dict) else {}
    matcher = parse_field_selector(text)
    assert matcher.matches(found) is all((seen(found, path) == value) is equal for path, equal, value in terms)
    assert parse_field_selector(str(matcher)) == matcher

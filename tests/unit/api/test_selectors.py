from typing import Any

import pytest

from petset.cluster.api.selectors import (
    LabelMatcher,
    forgiving_selector_of,
    node_selector_matches,
    parse_field_selector,
    parse_label_selector,
    requirement_of,
    selector_of,
    selector_of_labels,
)
from petset.cluster.errors import BadRequest

WEB = {"app": "web", "tier": "front", "size": "5"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True), ("  ", True),
        ("app=web", True), ("app==web", True), ("app = web", True), ("app=db", False), ("zone=", False),
        ("app!=web", False), ("app!=db", True), ("zone!=a", True), ("app!=", True),
        ("tier in (front,back)", True), ("tier in ( back )", False), ("zone in (a)", False), ("tier in (,x)", False),
        ("tier notin (back)", True), ("tier notin (front, back)", False), ("zone notin (a)", True),
        ("app", True), ("zone", False), ("!zone", True), ("! app", False),
        ("size>4", True), ("size > 5", False), ("size<6", True), ("app>1", False), ("zone<1", False),
        ("app=web,tier in (front),!zone", True), ("app=web,tier=back", False),
        ("in=web", False), ("notin", False), ("app in (in,web)", True),
    ],
)  # fmt: skip
def test_label_selector(text: str, expected: bool) -> None:
    assert parse_label_selector(text).matches(WEB) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=====b", "unable to parse requirement: found '==', expected: identifier"),
        ("a,", "found '', expected: identifier after ','"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("=b", "found '=', expected: !, identifier, or 'end of string'"),
        ("a IN (b)", "unable to parse requirement: found 'IN', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value "
                "must be an integer"),
    ],
)  # fmt: skip
def test_label_selector_errors(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_label_selector(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["-a=b", "a=b-", "a/b/c=d", "UP.er/a", "a" * 64, "a=" + "b" * 64, "/a"])
def test_keys_and_values_must_be_labels(text: str) -> None:
    with pytest.raises(BadRequest, match="Invalid value"):
        parse_label_selector(text)


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        pytest.param(None, {}, False, id="absent-selects-nothing"),
        pytest.param({}, {}, True, id="empty-selects-everything"),
        pytest.param({"matchLabels": {"app": "web"}}, WEB, True, id="labels"),
        pytest.param({"matchLabels": {"app": "web", "x": "y"}}, WEB, False, id="all-labels-must-match"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "web"]}]}, WEB, True,
                     id="In"),
        pytest.param({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}, WEB, True,
                     id="NotIn-without-the-label"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, WEB, True, id="Exists"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, WEB, False, id="DoesNotExist"),
    ],
)  # fmt: skip
def test_label_selector_objects(selector: dict[str, Any] | None, labels: dict[str, str], expected: bool) -> None:
    assert selector_of(selector).matches(labels) is expected


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param({"key": "a", "operator": "Is", "values": ["b"]}, id="unknown-operator"),
        pytest.param({"key": "a", "operator": "In", "values": []}, id="In-needs-values"),
        pytest.param({"key": "a", "operator": "Exists", "values": ["b"]}, id="Exists-takes-none"),
        pytest.param({"key": "a", "operator": "Gt", "values": ["1", "2"]}, id="Gt-takes-one"),
    ],
)
def test_impossible_expressions(expression: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        requirement_of(expression)


def test_a_service_selector_without_labels_selects_nothing() -> None:
    assert not selector_of_labels(None).matches({})
    assert not selector_of_labels({}).matches({})
    assert selector_of_labels({"app": "web"}).matches(WEB)


@pytest.mark.parametrize(
    ("matcher", "text"),
    [
        (selector_of({"matchLabels": {"b": "2", "a": "1"}}), "a=1,b=2"),
        (parse_label_selector("z,!y,x notin (b,a),w!=v,v>3"), "v>3,w!=v,x notin (a,b),!y,z"),
        (LabelMatcher(), ""),
    ],
)
def test_printed_form(matcher: LabelMatcher, text: str) -> None:
    assert str(matcher) == text
    assert str(parse_label_selector(text)) == text


POD = {"metadata": {"name": "web-0"}, "spec": {"nodeName": "node-1"}, "status": {"phase": "Running"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True), ("spec.nodeName=node-1", True), ("spec.nodeName==node-1", True), ("spec.nodeName!=node-1", False),
        ("status.phase!=Failed,status.phase!=Succeeded", True), ("spec.nodeName=node-1,status.phase=Failed", False),
        ("spec.schedulerName=", True), ("spec.schedulerName!=", False), ("metadata.name.deeper=", True),
        ("spec.unschedulable=false", True), ("spec.unschedulable=true", False), (r"metadata.name=a\,b", False),
    ],
)  # fmt: skip
def test_field_selector(text: str, expected: bool) -> None:
    assert parse_field_selector(text).matches(POD) is expected


def test_booleans_are_words() -> None:
    assert parse_field_selector("spec.unschedulable=true").matches({"spec": {"unschedulable": True}})


def test_escapes() -> None:
    matcher = parse_field_selector(r"reason=a\,b\=c\\d,type=Normal")
    assert matcher.exact("reason") == r"a,b=c\d"
    assert matcher.exact("type") == "Normal"
    assert str(matcher) == r"reason=a\,b\=c\\d,type=Normal"


def test_exact_tells_only_what_must_be_equal() -> None:
    matcher = parse_field_selector("spec.nodeName=,status.phase!=Failed")
    assert matcher.exact("spec.nodeName") == ""
    assert matcher.exact("status.phase") is None
    assert matcher.paths == ("spec.nodeName", "status.phase")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spec.nodeName", "invalid selector: 'spec.nodeName'; can't understand 'spec.nodeName'"),
        ("a=b,c", "invalid selector: 'a=b,c'; can't understand 'c'"),
        (r"a=b\x", r"invalid field selector: invalid escape sequence: \x"),
        ("a=b=c", "invalid field selector: unescaped character in value: b=c"),
    ],
)
def test_field_selector_errors(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_field_selector(text)
    assert str(caught.value) == message


NODE = {"metadata": {"name": "node-1", "labels": {"zone": "a", "cpus": "8"}}}


def term(*expressions: tuple[str, str, list[str]], fields: bool = False) -> dict[str, Any]:
    entries = [{"key": key, "operator": operator, "values": values} for key, operator, values in expressions]
    return {"matchFields" if fields else "matchExpressions": entries}


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        pytest.param([term(("zone", "In", ["a"]))], True, id="label"),
        pytest.param([term(("zone", "In", ["b"])), term(("zone", "In", ["a"]))], True, id="any-term"),
        pytest.param([term(("zone", "In", ["a"]), ("cpus", "Gt", ["8"]))], False, id="every-expression"),
        pytest.param([term(("metadata.name", "In", ["node-1"]), fields=True)], True, id="name"),
        pytest.param([{}], False, id="empty-term"),
        pytest.param([], False, id="no-term"),
        pytest.param([term(("zone", "Near", ["a"]))], False, id="unknown-operator"),
    ],
)
def test_node_selectors(terms: list[dict[str, Any]], expected: bool) -> None:
    assert node_selector_matches({"nodeSelectorTerms": terms}, NODE) is expected


def test_no_node_selector_admits_every_node() -> None:
    assert node_selector_matches(None, NODE)


def test_a_stored_selector_that_cannot_be_evaluated_selects_nothing() -> None:
    assert not forgiving_selector_of({"matchExpressions": [{"key": "a", "operator": "Near"}]}).matches({"a": "b"})

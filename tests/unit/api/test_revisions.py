"""Revision data, hashes and names (cluster/api/revisions.py)."""

from __future__ import annotations

import copy

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.api.revisions import (
    apply_revision,
    encode,
    hash_of,
    next_number,
    revision_data,
    revision_name,
    sorted_revisions,
)

DEFAULTED: Object = {
    "metadata": {"labels": {"app": "foo"}, "annotations": {"test": "value"}},
    "spec": {
        "containers": [
            {
                "name": "test",
                "image": "test",
                "imagePullPolicy": "Always",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    },
}
"""The template for which Kubernetes 1.34 itself made the revision `test-776999688b` (its compatibility test data)."""


def test_a_template_gets_the_name_that_kubernetes_1_34_gives_it() -> None:
    assert revision_name("test", hash_of(revision_data(DEFAULTED), 0)) == "test-776999688b"


def test_data_is_a_patch_that_replaces_the_template() -> None:
    assert revision_data({"spec": {"containers": []}}) == {
        "spec": {"template": {"$patch": "replace", "spec": {"containers": []}}}
    }


def _with(path: list[str], value: object) -> Object:
    template = copy.deepcopy(DEFAULTED)
    target = template
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return template


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(_with(["metadata", "creationTimestamp"], None), id="creationTimestamp-null"),
        pytest.param(_with(["metadata", "creationTimestamp"], ""), id="creationTimestamp-empty"),
        pytest.param(_with(["spec", "hostname"], None), id="null-field"),
        pytest.param(dict(reversed(DEFAULTED.items())), id="key-order"),
    ],
)
def test_go_noise_changes_neither_bytes_nor_hash(template: Object) -> None:
    assert encode(revision_data(template)) == encode(revision_data(DEFAULTED))
    assert hash_of(revision_data(template), 0) == hash_of(revision_data(DEFAULTED), 0)


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(_with(["spec", "terminationGracePeriodSeconds"], 31), id="number"),
        pytest.param(_with(["metadata", "annotations"], {"test": "other"}), id="annotation"),
        pytest.param(_with(["spec", "securityContext"], {"runAsNonRoot": True}), id="nested"),
        pytest.param(_with(["spec", "terminationGracePeriodSeconds"], "30"), id="type"),
    ],
)
def test_any_real_difference_is_another_revision(template: Object) -> None:
    assert encode(revision_data(template)) != encode(revision_data(DEFAULTED))
    assert hash_of(revision_data(template), 0) != hash_of(revision_data(DEFAULTED), 0)


def test_noise_in_stored_data_is_ignored_too() -> None:
    stored = revision_data(DEFAULTED)
    stored["spec"]["template"]["metadata"]["creationTimestamp"] = None
    assert encode(stored) == encode(revision_data(DEFAULTED))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("a && b", rb'{"x":"a \u0026\u0026 b"}', id="ampersand"),
        pytest.param("<ü>", '{"x":"\\u003cü\\u003e"}'.encode(), id="angle-brackets-and-utf-8"),
        pytest.param("a\n\"\\", b'{"x":"a\\n\\"\\\\"}', id="control-and-quote"),
        pytest.param("\u2028", rb'{"x":"\u2028"}', id="line-separator"),
    ],
)  # fmt: skip
def test_strings_are_escaped_as_go_escapes_them(value: str, expected: bytes) -> None:
    assert encode({"x": value}) == expected


def test_the_collision_count_changes_the_hash() -> None:
    data = revision_data(DEFAULTED)
    assert len({hash_of(data, count) for count in range(20)}) == 20


def test_the_prefix_is_cut_at_223_bytes() -> None:
    assert revision_name("n" * 250, "x") == "n" * 223 + "-x"


def test_applying_a_revision_gives_the_template_back() -> None:
    revision = {"data": revision_data(DEFAULTED)}
    assert apply_revision(revision) == DEFAULTED


def _revision(name: str, number: int, created: str = "2026-01-01T00:00:00Z") -> Object:
    return {"metadata": {"name": name, "creationTimestamp": created}, "revision": number}


def test_order_is_number_then_age_then_name() -> None:
    old, twin, late = _revision("b", 1), _revision("a", 2), _revision("a2", 2, "2026-01-02T00:00:00Z")
    same_age = _revision("c", 2)
    assert sorted_revisions([late, same_age, twin, old]) == [old, twin, same_age, late]


def test_numbers_continue_from_the_last() -> None:
    assert next_number([]) == 1
    assert next_number([_revision("a", 3), _revision("b", 7)]) == 8

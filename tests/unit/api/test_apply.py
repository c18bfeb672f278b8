"""Server-side apply: merging, ownership and conflicts, by examples and against a simple model."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petset.cluster.api import field_sets
from petset.cluster.api.apply import Applied, Writer, after_update, apply_configuration, entries, owners_of
from petset.cluster.api.kinds import Registry
from petset.cluster.api.objects import Object
from petset.cluster.api.schema import load_schemas
from petset.cluster.errors import Conflict

NOW = "2026-01-01T00:00:00Z"
DEPLOYMENT = load_schemas().field_node(Registry().of_kind("Deployment"))
CONFIG_MAP = load_schemas().field_node(Registry().of_kind("ConfigMap"))
SERVICE = load_schemas().field_node(Registry().of_kind("Service"))


def writer(manager: str, api_version: str = "apps/v1") -> Writer:
    return Writer(manager, api_version, "", NOW)


def with_owners(applied: Applied) -> Object:
    """The object as it would be stored."""
    obj = copy.deepcopy(applied.object)
    obj["metadata"]["managedFields"] = entries(applied.owners)
    return obj


def applied(live: Object, configuration: Object, manager: str, *, force: bool = False, schema: Any = DEPLOYMENT) -> Any:
    before = copy.deepcopy((live, configuration))
    try:
        return with_owners(apply_configuration(live, configuration, schema, writer(manager), force=force))
    finally:
        assert (live, configuration) == before


def updated(old: Object, new: Object, manager: str, schema: Any = DEPLOYMENT) -> Object:
    result = copy.deepcopy(new)
    result["metadata"]["managedFields"] = entries(after_update(old, new, schema, writer(manager)))
    return result


def deployment(*containers: Object, **spec: Any) -> Object:
    template = {"spec": {"containers": list(containers)}} if containers else None
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {**spec, **({"template": template} if template else {})},
    }  # fmt: skip


EMPTY: Object = {"metadata": {}}


class TestMerging:
    def test_containers_merge_by_name_and_keep_their_place(self) -> None:
        live = deployment({"name": "a", "image": "1"}, {"name": "b", "image": "1"})
        merged = applied(live, deployment({"name": "c"}, {"name": "a", "image": "1", "tty": True}), "m")
        containers = merged["spec"]["template"]["spec"]["containers"]
        assert containers == [
            {"name": "a", "image": "1", "tty": True}, {"name": "b", "image": "1"}, {"name": "c"},
        ]  # fmt: skip

    def test_what_a_manager_no_longer_applies_goes(self) -> None:
        live = applied(EMPTY, deployment({"name": "a", "image": "1"}, {"name": "b"}, replicas=1), "m")
        merged = applied(live, deployment({"name": "a"}), "m")
        assert merged["spec"] == {"template": {"spec": {"containers": [{"name": "a"}]}}}

    def test_what_somebody_else_owns_too_stays(self) -> None:
        live = applied(EMPTY, deployment({"name": "a", "image": "1"}, replicas=1), "m")
        live = applied(live, deployment(replicas=1), "other")
        assert applied(live, deployment({"name": "a"}), "m")["spec"]["replicas"] == 1

    def test_an_element_stays_while_another_manager_owns_part_of_it(self) -> None:
        live = applied(EMPTY, deployment({"name": "a", "image": "1"}, {"name": "b"}), "m")
        changed = copy.deepcopy(live)
        changed["spec"]["template"]["spec"]["containers"][0]["tty"] = True
        live = updated(live, changed, "editor")
        containers = applied(live, deployment({"name": "b"}), "m")["spec"]["template"]["spec"]["containers"]
        assert containers == [{"name": "a", "tty": True}, {"name": "b"}]

    def test_ports_are_known_by_number_and_default_protocol(self) -> None:
        live: Object = {"metadata": {}, "spec": {"ports": [{"port": 80, "protocol": "TCP", "nodePort": 30000}]}}
        merged = applied(live, {"metadata": {}, "spec": {"ports": [{"port": 80, "name": "http"}]}}, "m", schema=SERVICE)
        assert merged["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "nodePort": 30000, "name": "http"}]

    def test_a_selector_is_owned_as_a_whole(self) -> None:
        live = applied(EMPTY, deployment(selector={"matchLabels": {"a": "1", "b": "2"}}), "m")
        merged = applied(live, deployment(selector={"matchLabels": {"a": "1"}}), "m")
        assert merged["spec"]["selector"] == {"matchLabels": {"a": "1"}}

    def test_applying_the_same_again_changes_nothing_not_even_times(self) -> None:
        live = applied(EMPTY, deployment({"name": "a"}, replicas=1), "m")
        later = Writer("m", "apps/v1", "", "2027-01-01T00:00:00Z")
        again = apply_configuration(live, deployment({"name": "a"}, replicas=1), DEPLOYMENT, later, force=False)
        assert with_owners(again) == live


class TestConflicts:
    def test_names_the_manager_and_the_field(self) -> None:
        live = applied(EMPTY, deployment({"name": "a", "image": "1"}), "m")
        with pytest.raises(Conflict) as caught:
            applied(live, deployment({"name": "a", "image": "2"}), "other")
        assert caught.value.details["causes"] == [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "m"',
                "field": '.spec.template.spec.containers[name="a"].image',
            }
        ]
        assert str(caught.value).startswith('Apply failed with 1 conflict: conflict with "m": .spec.template')

    def test_with_an_updater_says_its_version(self) -> None:
        live = applied(EMPTY, deployment(replicas=1), "m")
        live = updated(live, {**live, "spec": {"replicas": 5}}, "kubectl-edit")
        with pytest.raises(Conflict, match='conflict with "kubectl-edit" using apps/v1: .spec.replicas'):
            applied(live, deployment(replicas=1), "m")

    def test_with_several_lists_them(self) -> None:
        live = applied(EMPTY, deployment(replicas=1, paused=True), "m")
        with pytest.raises(Conflict, match=r"Apply failed with 2 conflicts: conflicts with \"m\": \n- .spec"):
            applied(live, deployment(replicas=2, paused=False), "other")

    def test_the_same_value_is_shared(self) -> None:
        live = applied(EMPTY, deployment(replicas=1), "m")
        live = applied(live, deployment(replicas=1), "other")
        assert [each.manager for each in owners_of(live)] == ["m", "other"]

    def test_force_takes_the_field(self) -> None:
        live = applied(EMPTY, deployment(replicas=1, paused=True), "m")
        live = applied(live, deployment(replicas=2), "other", force=True)
        assert {each.manager: each.fields for each in owners_of(live)} == {
            "m": {"f:spec": {"f:paused": {}}},
            "other": {"f:spec": {"f:replicas": {}}},
        }

    def test_an_object_of_before_has_an_owner(self) -> None:
        with pytest.raises(Conflict, match='conflict with "before-first-apply" using apps/v1: .spec.replicas'):
            applied(deployment(replicas=1), deployment(replicas=2), "m")

    def test_kubectl_may_change_what_it_applied_on_the_client_side(self) -> None:
        live = deployment(replicas=1)
        live["metadata"]["annotations"] = {
            "kubectl.kubernetes.io/last-applied-configuration": '{"spec":{"replicas":1}}'
        }
        assert applied(live, deployment(replicas=2), "kubectl")["spec"]["replicas"] == 2
        with pytest.raises(Conflict):
            applied({**live, "spec": {"replicas": 7}}, deployment(replicas=2), "kubectl")
        with pytest.raises(Conflict):
            applied(live, deployment(replicas=2), "m")


class TestUpdates:
    def test_take_over_what_they_change_and_only_that(self) -> None:
        live = applied(EMPTY, deployment(replicas=1, paused=True), "m")
        live = updated(live, {**live, "spec": {"replicas": 5, "paused": True}}, "editor")
        assert {each.manager: each.fields for each in owners_of(live)} == {
            "m": {"f:spec": {"f:paused": {}}},
            "editor": {"f:spec": {"f:replicas": {}}},
        }

    def test_what_they_remove_belongs_to_nobody(self) -> None:
        live = applied(EMPTY, deployment(replicas=1, paused=True), "m")
        live = updated(live, {**live, "spec": {"paused": True}}, "editor")
        assert [each.fields for each in owners_of(live)] == [{"f:spec": {"f:paused": {}}}]

    def test_identity_has_no_owner(self) -> None:
        obj: Object = {"metadata": {"name": "a", "uid": "1", "resourceVersion": "3", "labels": {"a": "b"}}}
        assert field_sets.fields_of_object(obj, DEPLOYMENT) == {"f:metadata": {"f:labels": {"f:a": {}}}}


NAMES = st.sampled_from("abcd")
CONFIGURATIONS = st.dictionaries(NAMES, st.sampled_from("12"), max_size=4)
STEPS = st.lists(
    st.tuples(st.sampled_from(["apply", "force", "update"]), st.sampled_from("mno"), CONFIGURATIONS), max_size=8
)


@given(steps=STEPS)
@settings(max_examples=300)
def test_flat_maps_behave_as_the_model(steps: list[tuple[str, str, dict[str, str]]]) -> None:
    """The model: a value and a set of (manager, operation) for each field."""
    values: dict[str, str] = {}
    owned: dict[str, set[tuple[str, str]]] = {}
    live: Object = {"metadata": {"managedFields": []}}
    for operation, manager, wanted in steps:
        if operation == "update":
            live = updated(live, {"metadata": {}, **({"data": wanted} if wanted else {})}, manager, CONFIG_MAP)
            owned = {
                name: owned[name] if values.get(name) == value else {(manager, "Update")}
                for name, value in wanted.items()
            }
            values = dict(wanted)
        else:
            me = (manager, "Apply")
            changed = {name for name, value in wanted.items() if values.get(name) != value}
            disputed = any(owned.get(name, set()) - {me} for name in changed)
            configuration: Object = {"metadata": {}, **({"data": wanted} if wanted else {})}
            if disputed and operation != "force":
                with pytest.raises(Conflict):
                    applied(live, configuration, manager, schema=CONFIG_MAP)
                continue
            live = applied(live, configuration, manager, force=operation == "force", schema=CONFIG_MAP)
            for name in list(values):
                if name not in wanted and me in owned[name]:
                    owned[name] = owned[name] - {me}
                    if not owned[name]:
                        del owned[name], values[name]
            for name, value in wanted.items():
                owned[name] = {me} if name in changed else owned[name] | {me}
                values[name] = value
        found: dict[str, set[tuple[str, str]]] = {}
        for owner in owners_of(live):
            for path in field_sets.members(owner.fields):
                found.setdefault(path[-1].removeprefix("f:"), set()).add((owner.manager, owner.operation))
        assert (live.get("data") or {}) == values
        assert found == owned

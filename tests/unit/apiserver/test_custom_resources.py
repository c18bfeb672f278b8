"""CustomResourceDefinitions: what they are refused for, what they make, and how they end."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object, condition_is_true
from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.custom_resources import CLEANUP_FINALIZER
from petset.cluster.apiserver.discovery import aggregated, resource_list
from petset.cluster.apiserver.openapi import OpenApi
from petset.cluster.apiserver.options import DeleteOptions, ListOptions, WriteOptions
from petset.cluster.apiserver.rendering import render_list
from petset.cluster.errors import BadRequest, Conflict, Invalid, MethodNotAllowed, NotFound, UnsupportedMediaType
from tests.apis import causes, new_api
from tests.wire.operators.widgets import definition, widget

STRICT = WriteOptions(field_validation="Strict")


async def define(api: Api, crd: Object | None = None) -> Object:
    kind = api.registry.of_kind("CustomResourceDefinition")
    return (await api.verbs.create(kind, "", crd or definition(), STRICT)).object


async def undefine(api: Api) -> Object:
    kind = api.registry.of_kind("CustomResourceDefinition")
    return await api.deletion.delete(kind, "", "widgets.example.com", DeleteOptions())


async def create(api: Api, obj: Object, options: WriteOptions = STRICT) -> Object:
    kind = api.registry.at_path("example.com", obj["apiVersion"].partition("/")[2], "widgets")
    return (await api.verbs.create(kind, "default", obj, options)).object


def widgets(api: Api, version: str = "v1") -> Kind:
    return api.registry.at_path("example.com", version, "widgets")


class TestDefinitions:
    async def test_are_established_and_named_at_once(self) -> None:
        api = await new_api()
        crd = await define(api)
        assert condition_is_true(crd, "Established")
        assert condition_is_true(crd, "NamesAccepted")
        assert crd["status"]["acceptedNames"]["listKind"] == "WidgetList"
        assert crd["status"]["storedVersions"] == ["v1"]
        assert crd["metadata"]["finalizers"] == [CLEANUP_FINALIZER]

    @pytest.mark.parametrize(
        ("change", "field", "text"),
        [
            pytest.param({"metadata": {"name": "x.example.com"}},
                         "metadata.name", "must be spec.names.plural", id="name"),
            pytest.param({"scope": "Everywhere"}, "spec.scope", "Unsupported value", id="scope"),
            pytest.param({"versions": []}, "spec.versions", "exactly one version", id="no storage version"),
            pytest.param({"versions": [{"name": "v1", "served": True, "storage": True}]},
                         "spec.versions[0].schema.openAPIV3Schema", "schemas are required", id="no schema"),
            pytest.param({"versions": [{"name": "v1", "served": True, "storage": True,
                                        "schema": {"openAPIV3Schema": {"type": "string"}}}]},
                         "spec.versions[0].schema.openAPIV3Schema", "must be object", id="not an object"),
            pytest.param({"versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema":
                                        {"type": "object", "properties": {"a": {"type": "string", "pattern": "["}}}}}]},
                         "spec.versions[0].schema.openAPIV3Schema", "not a valid schema", id="a pattern"),
        ],
    )  # fmt: skip
    async def test_are_refused_for(self, change: Object, field: str, text: str) -> None:
        api, crd = await new_api(), definition()
        crd["metadata"] |= change.pop("metadata", {})
        crd["spec"] |= change
        with pytest.raises(Invalid) as caught:
            await define(api, crd)
        found = dict(causes(caught.value.details))
        assert text in found[field]

    async def test_keep_their_scope(self) -> None:
        api = await new_api()
        crd = copy.deepcopy(await define(api))
        crd["spec"]["scope"] = "Cluster"
        kind = api.registry.of_kind("CustomResourceDefinition")
        with pytest.raises(Invalid, match="spec.scope"):
            await api.verbs.update(kind, "", "widgets.example.com", body=crd, options=STRICT)


class TestServing:
    async def test_a_kind_without_definition_is_not_found(self) -> None:
        api = await new_api()
        with pytest.raises(NotFound, match="could not find the requested resource"):
            widgets(api)

    async def test_discovery_and_openapi_follow_the_definition(self) -> None:
        api = await new_api()
        open_api = OpenApi(api.registry, api.schemas)
        before = open_api.index()["paths"]
        await define(api)
        after = open_api.index()["paths"]
        assert set(after) - set(before) == {"apis/example.com/v1"}
        assert after["apis/apps/v1"] == before["apis/apps/v1"]
        schema = orjson.loads(open_api.document("apis/example.com/v1"))["components"]["schemas"][
            "com.example.v1.Widget"
        ]
        assert schema["properties"]["spec"]["properties"]["size"]["maximum"] == 5
        found = resource_list(api.registry, "example.com", "v1")
        assert found is not None
        assert [each["name"] for each in found["resources"]] == ["widgets", "widgets/status", "widgets/scale"]
        assert "example.com" in str(aggregated(api.registry, core=False))
        await undefine(api)
        assert open_api.index()["paths"] == before
        with pytest.raises(NotFound):
            open_api.document("apis/example.com/v1")

    async def test_a_changed_schema_has_another_hash_and_is_in_force(self) -> None:
        api = await new_api()
        crd = copy.deepcopy(await define(api))
        open_api = OpenApi(api.registry, api.schemas)
        before = open_api.index()["paths"]["apis/example.com/v1"]
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        schema["properties"]["spec"]["properties"]["size"]["maximum"] = 50
        kind = api.registry.of_kind("CustomResourceDefinition")
        await api.verbs.update(kind, "", "widgets.example.com", body=crd, options=STRICT)
        assert open_api.index()["paths"]["apis/example.com/v1"] != before
        assert (await create(api, widget(size=40)))["spec"]["size"] == 40

    async def test_another_version_shows_the_same_objects(self) -> None:
        api, crd = await new_api(), definition()
        second = {**copy.deepcopy(crd["spec"]["versions"][0]), "name": "v2", "storage": False}
        crd["spec"]["versions"].append(second)
        await define(api, crd)
        await create(api, widget(size=1))
        shown = api.verbs.get(widgets(api, "v2"), "default", "a")
        assert (shown["apiVersion"], shown["spec"]) == ("example.com/v2", {"size": 1})
        await create(api, {**widget("b", size=1), "apiVersion": "example.com/v2"})
        listed = api.verbs.list(widgets(api), "default", ListOptions())
        assert [(each["metadata"]["name"], each["apiVersion"]) for each in listed["items"]] == [
            ("a", "example.com/v1"), ("b", "example.com/v1"),
        ]  # fmt: skip

    async def test_a_kind_of_a_built_in_name_has_none_of_its_rules(self) -> None:
        api, crd = await new_api(), definition()
        crd["spec"]["names"] |= {"kind": "Service", "plural": "services"}
        crd["metadata"]["name"] = "services.example.com"
        await define(api, crd)
        kind = api.registry.at_path("example.com", "v1", "services")
        body = {"apiVersion": "example.com/v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"size": 1}}
        assert (await api.verbs.create(kind, "default", body, STRICT)).object["spec"] == {"size": 1}

    async def test_columns_are_the_definitions(self) -> None:
        api = await new_api()
        await define(api)
        await create(api, widget(size=3))
        kind = widgets(api)
        listing = api.verbs.list(kind, "default", ListOptions())
        table = render_list(kind, listing, form="table", include="", now=0)
        assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Size", "Ready"]
        assert table["rows"][0]["cells"] == ["a", 3, None]

    async def test_scale_goes_through_the_paths(self) -> None:
        api = await new_api()
        await define(api)
        await create(api, widget(size=3))
        kind = widgets(api)
        body = {"spec": {"replicas": 4}}
        scale = await api.subresources.patch_scale(
            kind, "default", "a", body=body, patch_type="merge", options=WriteOptions()
        )
        assert scale["spec"] == {"replicas": 4}
        assert scale["status"] == {"replicas": 0, "selector": ""}
        assert api.verbs.get(kind, "default", "a")["spec"]["size"] == 4


class TestSchemas:
    async def test_defaults_go_deep(self) -> None:
        api = await new_api()
        await define(api)
        made = await create(api, widget(hosts=[{"name": "x"}]))
        assert made["spec"] == {"size": 2, "hosts": [{"name": "x", "weight": 1}]}

    async def test_unknown_fields_are_pruned_or_refused(self) -> None:
        api = await new_api()
        await define(api)
        made = await create(api, widget(size=1, bogus=1, free={"any": [1]}), WriteOptions())
        assert made["spec"] == {"size": 1, "free": {"any": [1]}}
        with pytest.raises(BadRequest, match=r'strict decoding error: unknown field "spec.bogus"'):
            await create(api, widget("b", size=1, bogus=1))

    @pytest.mark.parametrize(
        ("spec", "field", "text"),
        [
            ({"size": "3"}, "spec.size",
             'Invalid value: "string": spec.size in body must be of type integer: "string"'),
            ({"size": 0}, "spec.size", "Invalid value: 0: spec.size in body should be greater than or equal to 1"),
            ({"size": 9}, "spec.size", "Invalid value: 9: spec.size in body should be less than or equal to 5"),
            ({"mode": "x"}, "spec.mode", 'Unsupported value: "x": supported values: "fast", "slow"'),
            ({"word": "A"}, "spec.word", "Invalid value: \"A\": spec.word in body should match '^[a-z]+$'"),
            ({"word": "abcdef"}, "spec.word",
             'Invalid value: "abcdef": spec.word in body should be at most 5 chars long'),
            ({"hosts": [{}]}, "spec.hosts[0].name", "Required value"),
            ({"word": None}, "spec.word", 'Invalid value: "null": spec.word in body must be of type string: "null"'),
        ],
        ids=["type", "minimum", "maximum", "enum", "pattern", "maxLength", "required", "null"],
    )  # fmt: skip
    async def test_refuse_with_kubernetes_words(self, spec: Any, field: str, text: str) -> None:
        api = await new_api()
        await define(api)
        with pytest.raises(Invalid) as caught:
            await create(api, widget(**spec))
        assert dict(causes(caught.value.details))[field] == text

    @pytest.mark.parametrize("port", [80, "http"])
    async def test_int_or_string_takes_both(self, port: Any) -> None:
        api = await new_api()
        await define(api)
        assert (await create(api, widget(port=port, note=None)))["spec"] == {"size": 2, "port": port, "note": None}

    async def test_a_strategic_patch_is_not_for_them(self) -> None:
        api = await new_api()
        await define(api)
        await create(api, widget())
        with pytest.raises(UnsupportedMediaType):
            await api.verbs.patch(
                widgets(api), "default", "a", body={}, patch_type="strategic", options=WriteOptions()
            )  # fmt: skip

    async def test_server_side_apply_knows_their_lists(self) -> None:
        api = await new_api()
        await define(api)
        first = WriteOptions(manager="a", names_manager=True)
        second = WriteOptions(manager="b", names_manager=True)
        for options, hosts in ((first, [{"name": "x"}]), (second, [{"name": "y", "weight": 3}])):
            await api.verbs.apply(widgets(api), "default", "a", body=widget(hosts=hosts), options=options)
        hosts = api.verbs.get(widgets(api), "default", "a")["spec"]["hosts"]
        assert hosts == [{"name": "x", "weight": 1}, {"name": "y", "weight": 3}]
        with pytest.raises(Conflict, match=r'conflict with "b": .spec.hosts\[name="y"\].weight'):
            await api.verbs.apply(
                widgets(api), "default", "a", body=widget(hosts=[{"name": "y", "weight": 4}]), options=first
            )


class TestTheEnd:
    async def test_a_definition_takes_its_objects_along(self) -> None:
        api = await new_api()
        await define(api)
        await create(api, widget())
        await undefine(api)
        assert api.backend.objects("widgets.example.com") == []
        with pytest.raises(NotFound):
            widgets(api)
        await define(api)
        assert api.verbs.list(widgets(api), "default", ListOptions())["items"] == []

    async def test_a_held_object_holds_its_definition(self) -> None:
        api = await new_api()
        await define(api)
        held = widget()
        held["metadata"]["finalizers"] = ["example.com/hold"]
        await create(api, held)
        going = await undefine(api)
        assert going["metadata"]["deletionTimestamp"]
        with pytest.raises(MethodNotAllowed, match="is terminating"):
            await create(api, widget("b"))
        release = {"metadata": {"finalizers": None}}
        await api.verbs.patch(widgets(api), "default", "a", body=release, patch_type="merge", options=WriteOptions())
        with pytest.raises(NotFound):
            widgets(api)
        assert api.backend.objects("customresourcedefinitions.apiextensions.k8s.io") == []

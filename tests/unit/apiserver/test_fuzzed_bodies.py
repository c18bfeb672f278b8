"""What clients may send, by chance: any bytes as a body, and manifests in which something was replaced by anything.

Whatever it is, the answer is an object or an error of ours; nothing else is ever raised.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.bodies import parse_body, parse_patch
from petset.cluster.apiserver.options import WriteOptions
from petset.cluster.errors import AlreadyExists, BadRequest, Invalid, NotFound, TooLarge, UnsupportedMediaType
from tests.apis import manifest_pod, manifest_service, manifest_stateful_set, new_api
from tests.wire.operators.widgets import definition, widget

CLIENTS_MISTAKES = (AlreadyExists, BadRequest, Invalid, NotFound, TooLarge, UnsupportedMediaType)
TYPES = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf", ""]
PATCHES = ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]
FRAGMENTS = st.sampled_from(
    ['{"', '":', "{", "}", "[", "]", ",", "a", "1", "null", "\n", "- ", ": ", "&a ", "*a", "<<", "!!", "|", ">", "'",
     "k8s\0", "\0", "é", "1e999", "2020-01-01", "~", "%", "---\n", "? ", "\t", "0x1F", ".inf", "y", "'{'"]
)  # fmt: skip


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.lists(FRAGMENTS, max_size=25).map(lambda words: "".join(words).encode()))
@example(b"a: !!binary aGk=\n")
@example(b"? [a]\n: b")
@example(b"\xed\xa0\x80")
def test_any_bytes_are_a_json_value_or_a_clear_error(raw: bytes) -> None:
    for content_type in TYPES:
        with suppress(*CLIENTS_MISTAKES):
            value = parse_body(raw, content_type)
            assert orjson.loads(orjson.dumps(value)) == value
    for content_type in PATCHES:
        with suppress(*CLIENTS_MISTAKES):
            parse_patch(raw, content_type)


def manifests() -> list[Object]:
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": {
        "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/v"}}}  # fmt: skip
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}  # fmt: skip
    probed = manifest_pod("b")
    probed["spec"]["containers"][0] |= {
        "livenessProbe": {"httpGet": {"port": 80}},
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
        "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1"}},
    }  # fmt: skip
    kept = yaml.safe_load_all((Path(__file__).parents[2] / "wire" / "kept_kinds.yaml").read_text())
    return [manifest_pod(), probed, manifest_service(), manifest_stateful_set(), volume, claim, definition(),
            widget("w"), *kept]  # fmt: skip


MANIFESTS = manifests()
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5) | st.sampled_from(["", "0", "-1", "1Gi", "80", "None", "Always", "a" * 300, "é/é"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["name", "spec", "metadata", "port", "", "a/b"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything inside of a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        yield (*path, key)
        yield from places(each, (*path, key))


def replaced(obj: Object, path: tuple[Any, ...], new: Any) -> Object:
    changed = copy.deepcopy(obj)
    holder: Any = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = new
    return changed


@pytest.fixture(scope="module")
def api() -> Api:
    async def make() -> Api:
        api = await new_api()
        await api.verbs.create(api.registry.of_kind("CustomResourceDefinition"), "", definition(), WriteOptions())
        return api

    return asyncio.run(make())


@settings(max_examples=250)
@given(data=st.data(), strict=st.sampled_from(["Strict", "Warn", "Ignore"]))
def test_a_manifest_with_anything_in_it_is_an_object_or_a_clear_error(
    api: Api, data: st.DataObject, strict: str
) -> None:
    manifest = data.draw(st.sampled_from(MANIFESTS))
    where = data.draw(st.sampled_from([*places(manifest)]))
    changed = replaced(manifest, where, data.draw(ANYTHING))
    group, _, version = manifest["apiVersion"].rpartition("/")
    kind = next(
        each for each in api.registry.kinds
        if (each.group, each.version, each.kind) == (group, version, manifest["kind"])
    )  # fmt: skip
    options = WriteOptions(dry_run=True, field_validation=strict, manager="m", names_manager=True)
    namespace = "default" if kind.namespaced else ""
    with suppress(*CLIENTS_MISTAKES):
        made = asyncio.run(api.verbs.create(kind, namespace, changed, options)).object
        assert orjson.loads(orjson.dumps(made)) == made


WRONG = ["x", 7, True, 1.5, ["a"]]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
async def test_structs_that_are_none_in_bodies_without_a_schema(wrong: Any) -> None:
    api = await new_api()
    pods, sets = api.registry.of_kind("Pod"), api.registry.of_kind("StatefulSet")
    await api.verbs.create(pods, "default", manifest_pod(), WriteOptions())
    await api.verbs.create(sets, "default", manifest_stateful_set(), WriteOptions())
    own, options = api.subresources, WriteOptions()
    namespaces = api.registry.of_kind("Namespace")
    attempts = [
        own.bind(pods, "default", "a", {"target": wrong}),
        own.bind(pods, "default", "a", {"target": {"name": wrong if wrong != "x" else None}}),
        own.bind(pods, "default", "a", {"target": {"name": "n"}, "metadata": wrong}),
        own.evict(pods, "default", "a", {"metadata": wrong}),
        own.evict(pods, "default", "a", {"deleteOptions": wrong}),
        own.update_scale(sets, "default", "kubia", body={"spec": wrong}, options=options),
        own.patch_scale(sets, "default", "kubia", body={"metadata": wrong}, patch_type="merge", options=options),
        own.finalize_namespace(namespaces, "default", {"spec": wrong}),
        own.finalize_namespace(namespaces, "default", {"spec": {"finalizers": [7]}}),
    ]
    for attempt in attempts:
        with pytest.raises(BadRequest):
            await attempt


@pytest.mark.parametrize("text", ["a: 18446744073709551616", "a: -9223372036854775809"])
def test_whole_numbers_beyond_those_of_json(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_body(text.encode(), "application/yaml")

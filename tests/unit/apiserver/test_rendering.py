"""Whole, as a Table or as metadata only: what an Accept header chooses, and what the client then gets."""

from __future__ import annotations

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.options import ListOptions
from petset.cluster.apiserver.rendering import Form, form_of, render_event, render_list, render_object
from petset.cluster.control.client import WatchEvent
from tests.apis import create, kind, manifest_pod, new_api

META = "meta.k8s.io/v1"
ACCEPTED: dict[str, tuple[str, Form]] = {
    "nothing said": ("", "whole"),
    "kubectl get": ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "table"),
    "a Table of an older version only": ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", "whole"),
    "the metadata client": ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "metadata"),
    "its lists": ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json", "metadata"),
    "the first one counts": ("application/json,application/json;as=Table;v=v1;g=meta.k8s.io", "whole"),
    "protobuf, and then JSON": ("application/vnd.kubernetes.protobuf,application/json", "whole"),
}


@pytest.mark.parametrize(("accept", "form"), ACCEPTED.values(), ids=ACCEPTED)
def test_forms(accept: str, form: Form) -> None:
    assert form_of(accept) == form


async def test_metadata_alone() -> None:
    api = await new_api()
    pod = await create(api, manifest_pod())
    pods, bare = kind(api, "Pod"), {"kind": "PartialObjectMetadata", "apiVersion": META, "metadata": pod["metadata"]}
    assert render_object(pods, pod, form="metadata", include="", now=0.0) == bare
    listing = api.verbs.list(pods, "default", ListOptions())
    shown = render_list(pods, listing, form="metadata", include="", now=0.0)
    assert (shown["kind"], shown["apiVersion"], shown["items"]) == ("PartialObjectMetadataList", META, [bare])
    assert shown["metadata"] == listing["metadata"]


@pytest.mark.parametrize(
    ("include", "fields"),
    [
        ("", {"kind", "apiVersion", "metadata"}),
        ("Object", {"kind", "apiVersion", "metadata", "spec", "status"}),
        ("None", None),
    ],
    ids=["metadata by default", "the object", "nothing"],
)
async def test_a_row_carries_what_includeobject_says(include: str, fields: set[str] | None) -> None:
    api = await new_api()
    pod = await create(api, manifest_pod())
    table = render_object(kind(api, "Pod"), pod, form="table", include=include, now=0.0)
    [row] = table["rows"]
    assert row["cells"][0] == "a"
    assert (set(row["object"]) if "object" in row else None) == fields


@pytest.mark.parametrize("first", [True, False])
async def test_only_the_first_table_of_a_watch_names_its_columns(first: bool) -> None:
    api = await new_api()
    event = WatchEvent("ADDED", await create(api, manifest_pod()))
    shown: Object = render_event(kind(api, "Pod"), event, form="table", include="", now=0.0, first=first)["object"]
    assert bool(shown["columnDefinitions"]) == first

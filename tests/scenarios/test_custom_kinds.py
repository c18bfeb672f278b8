"""Custom kinds in a whole cluster: their objects are collected, and end with their namespace, like any other."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object, controller_reference
from petset.cluster.errors import ApiError, NotFound
from tests.local import Local, local_cluster
from tests.wire.operators.widgets import definition, widget

pytestmark = pytest.mark.looptime


async def absent(local: Local, kind: str, name: str, namespace: str) -> bool:
    try:
        await local.client.get(kind, name, namespace)
    except NotFound:
        return True
    return False


def owned_map(owner: Object, namespace: str) -> Object:
    meta: dict[str, Any] = {"name": "owned", "namespace": namespace, "ownerReferences": [controller_reference(owner)]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


async def create_widget(local: Local, namespace: str) -> Object:
    obj = widget()
    obj["metadata"]["namespace"] = namespace
    return await local.client.create(obj)


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_what_a_custom_object_owns_goes_with_it(policy: str) -> None:
    async with local_cluster(1) as local:
        await local.client.create(definition())
        owner = await create_widget(local, "default")
        await local.client.create(owned_map(owner, "default"))
        await local.client.delete("Widget", "a", "default", options={"propagationPolicy": policy})
        await local.until("the ConfigMap collected", lambda: absent(local, "ConfigMap", "owned", "default"))
        await local.until("the Widget gone", lambda: absent(local, "Widget", "a", "default"))


async def test_an_orphan_stays() -> None:
    async with local_cluster(1) as local:
        await local.client.create(definition())
        owner = await create_widget(local, "default")
        await local.client.create(owned_map(owner, "default"))
        await local.client.delete("Widget", "a", "default", options={"propagationPolicy": "Orphan"})
        await local.until("the Widget gone", lambda: absent(local, "Widget", "a", "default"))
        left = await local.client.get("ConfigMap", "owned", "default")
        assert "ownerReferences" not in left["metadata"]


async def test_a_namespace_takes_custom_objects_along() -> None:
    async with local_cluster(1) as local:
        await local.client.create(definition())
        await local.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        await create_widget(local, "shop")
        await local.client.delete("Namespace", "shop")
        await local.until("the namespace gone", lambda: absent(local, "Namespace", "shop", ""))
        assert (await local.client.list("Widget", "shop")).items == []


async def test_a_definition_that_goes_stops_nothing() -> None:
    async with local_cluster(1) as local:
        await local.client.create(definition())
        await create_widget(local, "default")
        await local.client.delete("CustomResourceDefinition", "widgets.example.com")

        async def unknown() -> bool:
            try:
                await local.client.list("Widget", "default")
            except ApiError:
                return True
            return False

        await local.until("the kind gone", unknown)
        await local.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        await local.client.delete("Namespace", "shop")
        await local.until("the namespace gone", lambda: absent(local, "Namespace", "shop", ""))

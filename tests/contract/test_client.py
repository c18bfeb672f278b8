"""The `Client` protocol: one suite over the HTTP client (real TLS sockets) and the loopback client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.control.client import Client
from petset.cluster.control.informer import Informer
from petset.cluster.errors import AlreadyExists, BadRequest, Conflict, Expired, Invalid, NotFound
from tests.apis import manifest_pod, manifest_stateful_set, new_api
from tests.wire.serving import serving


@pytest.fixture(params=["loopback", "http"])
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    api = await new_api()
    if request.param == "loopback":
        yield LoopbackClient(api)
    else:
        async with serving(api, tmp_path) as served:
            yield served.client


def pod(name: str = "a", **spec: object) -> dict[str, object]:
    manifest = manifest_pod(name, **spec)
    manifest["metadata"]["namespace"] = "default"
    return manifest


async def test_create_get_list(client: Client) -> None:
    made = await client.create(pod())
    assert await client.get("Pod", "a", "default") == made
    listing = await client.list("Pod")
    assert listing.items == [made]
    assert int(listing.revision) == int(made["metadata"]["resourceVersion"])


async def test_lists_are_selected(client: Client) -> None:
    await client.create(pod("a"))
    await client.create(pod("b", nodeName="node-1"))
    by_label = await client.list("Pod", "default", label_selector="app=a")
    by_field = await client.list("Pod", field_selector="spec.nodeName=node-1")
    assert [each["metadata"]["name"] for each in by_label.items + by_field.items] == ["a", "b"]


async def test_errors_keep_their_kind_and_details(client: Client) -> None:
    with pytest.raises(NotFound, match='pods "x" not found'):
        await client.get("Pod", "x", "default")
    made = await client.create(pod())
    with pytest.raises(AlreadyExists):
        await client.create(pod())
    with pytest.raises(Conflict):
        await client.update({**made, "metadata": {**made["metadata"], "resourceVersion": "1"}})
    with pytest.raises(BadRequest):
        await client.create({**pod("b"), "spec": "nothing"})
    stateful_set = manifest_stateful_set(replicas=-1)
    stateful_set["metadata"]["namespace"] = "default"
    with pytest.raises(Invalid) as caught:
        await client.create(stateful_set)
    assert caught.value.details["causes"][0]["field"] == "spec.replicas"
    assert caught.value.definite


async def test_a_patch_of_scale_changes_the_replicas(client: Client) -> None:
    stateful_set = manifest_stateful_set(replicas=2)
    stateful_set["metadata"]["namespace"] = "default"
    await client.create(stateful_set)
    body = {"spec": {"replicas": 5}}
    scale = await client.patch("StatefulSet", "kubia", "default", body=body, subresource="scale")
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 5)
    stored = await client.get("StatefulSet", "kubia", "default")
    assert (stored["spec"]["replicas"], stored["metadata"]["generation"]) == (5, 2)


async def test_update_and_patch_of_the_status(client: Client) -> None:
    made = await client.create(pod())
    changed = await client.update({**made, "status": {"phase": "Running"}}, subresource="status")
    assert changed["status"] == {"phase": "Running"}
    body = {"status": {"podIP": "127.64.1.2"}}
    patched = await client.patch("Pod", "a", "default", body=body, patch_type="strategic", subresource="status")
    assert patched["status"] == {"phase": "Running", "podIP": "127.64.1.2"}


async def test_binding(client: Client) -> None:
    await client.create(pod())
    body = {"kind": "Binding", "apiVersion": "v1", "metadata": {"namespace": "default"}, "target": {"name": "node-1"}}
    answer = await client.create(body, subresource="binding", name="a")
    bound = await client.get("Pod", "a", "default")
    assert bound["spec"]["nodeName"] == "node-1"
    assert answer["metadata"]["resourceVersion"] == bound["metadata"]["resourceVersion"]


async def test_a_deletion_tells_its_revision_whatever_it_answers(client: Client) -> None:
    for kind, manifest in (("Pod", pod()), ("ConfigMap", {"apiVersion": "v1", "kind": "ConfigMap"})):
        manifest["metadata"] = {"name": "a", "namespace": "default"}
        made = await client.create(manifest)
        answer = await client.delete(kind, "a", "default", options={"preconditions": {"uid": made["metadata"]["uid"]}})
        assert int(answer["metadata"]["resourceVersion"]) == int(made["metadata"]["resourceVersion"]) + 1
        with pytest.raises(NotFound):
            await client.delete(kind, "a", "default")


async def test_a_watch_continues_a_list(client: Client) -> None:
    await client.create(pod("a"))
    listing = await client.list("Pod")
    await client.create(pod("b"))
    await client.delete("Pod", "a", "default")
    async with client.watch("Pod", revision=listing.revision) as events, asyncio.timeout(10):
        seen = [await anext(events) for _ in range(2)]
    assert [(event.type, event.object["metadata"]["name"]) for event in seen] == [("ADDED", "b"), ("DELETED", "a")]


async def test_a_watch_from_nowhere_has_expired(client: Client) -> None:
    with pytest.raises(Expired):
        async with client.watch("Pod", revision="99999") as events, asyncio.timeout(10):
            await anext(events)


async def test_an_informer_follows(client: Client) -> None:
    await client.create(pod("a"))
    informer = Informer(client, "Pod")
    told: list[tuple[bool, bool]] = []
    informer.subscribe(lambda old, new: told.append((old is not None, new is not None)))
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(informer.run())
        await informer.synced.wait()
        await client.create(pod("b"))
        answer = await client.delete("Pod", "a", "default")
        await informer.reached(int(answer["metadata"]["resourceVersion"]))
        running.cancel()
    assert told == [(False, True), (False, True), (True, False)]
    assert [each["metadata"]["name"] for each in informer.index] == ["b"]

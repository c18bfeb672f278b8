"""Operators that know nothing of petset: one written with kopf, one with the official Python client."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.options import WriteOptions
from petset.cluster.clock import SystemClock
from petset.cluster.errors import NotFound
from tests.apis import new_api
from tests.wire.operators.widgets import definition, widget
from tests.wire.serving import Served, serving

PATIENCE_SECONDS = 30.0


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(await new_api(SystemClock()), tmp_path) as it:
        await create(it, definition())
        yield it


async def create(served: Served, obj: Object, namespace: str = "") -> None:
    """Through the API itself: the project's own HTTP client knows the built-in kinds only."""
    kind = served.api.registry.of_kind(obj["kind"])
    await served.api.verbs.create(kind, namespace, obj, WriteOptions())


async def until(what: str, holds: Callable[[], Awaitable[Any]]) -> Any:
    """Ask again and again; the first true answer."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (answer := await holds()):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE_SECONDS} s: {what}") from None
    return answer


async def size_map(served: Served) -> Object | None:
    try:
        return await served.client.get("ConfigMap", "a-size", "default")
    except NotFound:
        return None


@asynccontextmanager
async def running(served: Served, *arguments: str) -> AsyncIterator[None]:
    """A Python program that finds the cluster through KUBECONFIG; it must still run at the end."""
    log = served.settings.folder.root / "operator.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdout=output, stderr=output,
            env={**os.environ, "KUBECONFIG": str(served.settings.folder.kubeconfig)},
        )  # fmt: skip
        try:
            yield
            assert process.returncode is None, log.read_text()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{log.read_text()[-3000:]}") from error
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def test_a_kopf_operator_creates_resizes_reports_and_cleans_up(served: Served) -> None:
    operator = str(Path(__file__).parent / "operators" / "kopf_operator.py")
    widgets = served.api.registry.of_kind("Widget")
    async with running(served, "-m", "kopf", "run", "--standalone", "-n", "default", operator):
        await create(served, widget(size=3), "default")
        made = await until("the ConfigMap of the Widget", lambda: size_map(served))
        assert made["data"] == {"size": "3"}
        assert made["metadata"]["ownerReferences"][0]["kind"] == "Widget"

        async def reported() -> bool:
            obj = served.api.verbs.get(widgets, "default", "a")
            return (obj.get("status") or {}).get("create") == {"size": 3} and bool(obj["metadata"].get("finalizers"))

        await until("the handler's result in the Widget's status", reported)
        await served.kubectl("patch", "widget", "a", "--type=merge", "-p", '{"spec":{"size":4}}')

        async def resized() -> bool:
            status = served.api.verbs.get(widgets, "default", "a").get("status") or {}
            return (await size_map(served) or {}).get("data") == {"size": "4"} and status.get("size") == 4

        await until("the new size in the ConfigMap and in the status", resized)
        deleted = await served.kubectl("delete", "widget", "a", "--timeout=20s")
        assert deleted.code == 0, deleted.err
        assert await size_map(served) is None

        async def posted() -> list[Object]:
            events = (await served.client.list("Event", "default")).items
            return [event for event in events if event["involvedObject"]["kind"] == "Widget"]

        assert await until("the operator's events", posted)


def operate_once(kubeconfig: str) -> list[str]:
    """An operator of the classic form: watch custom objects, write a status, stop after the deletion."""
    from kubernetes import client, config, watch

    seen = []
    configuration = client.Configuration()
    config.load_kube_config(kubeconfig, client_configuration=configuration)
    with client.ApiClient(configuration) as api_client:
        custom, core = client.CustomObjectsApi(api_client), client.CoreV1Api(api_client)
        name = ("example.com", "v1", "default", "widgets")
        custom.create_namespaced_custom_object(*name, widget(size=1))
        stream = watch.Watch()
        for event in stream.stream(custom.list_namespaced_custom_object, *name, timeout_seconds=20):
            obj = event["object"]
            seen.append(event["type"])
            if event["type"] == "ADDED":
                core.create_namespaced_config_map(
                    "default", {"metadata": {"name": "a-size"}, "data": {"size": str(obj["spec"]["size"])}}
                )
                custom.patch_namespaced_custom_object_status(*name, "a", {"status": {"size": obj["spec"]["size"]}})
            elif event["type"] == "MODIFIED":
                assert obj["status"] == {"size": 1}
                assert obj["metadata"]["generation"] == 1
                custom.delete_namespaced_custom_object(*name, "a")
            else:
                stream.stop()
    return seen


async def test_an_operator_with_the_official_client(served: Served) -> None:
    kubeconfig = str(served.settings.folder.kubeconfig)
    seen = await asyncio.to_thread(operate_once, kubeconfig)
    assert seen == ["ADDED", "MODIFIED", "DELETED"]
    assert (await size_map(served) or {})["data"] == {"size": "1"}

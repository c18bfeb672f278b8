"""Clients that misbehave: the answer is a clear Status, nobody else notices, and the server lives on.

One server bears them all, one after the other.
"""

from __future__ import annotations

import asyncio
import gc
import io
import re
import socket
import ssl
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest
import pytest_asyncio
from aiohttp import web
from yarl import URL

from petset.cluster import pki
from petset.cluster.apiserver.bodies import MAX_BODY_BYTES
from petset.cluster.apiserver.options import WatchOptions, WriteOptions
from petset.cluster.apiserver.watch_stream import stream_watch
from petset.cluster.clock import SystemClock
from petset.cluster.store.broadcast import Subscription
from tests.apis import new_api
from tests.wire.serving import Served, serving

MAPS = "/api/v1/namespaces/default/configmaps"
JSON = "application/json"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with serving(await new_api(SystemClock()), tmp_path_factory.mktemp("home")) as it:
        yield it


@pytest_asyncio.fixture(loop_scope="module")
async def session(served: Served) -> AsyncIterator[aiohttp.ClientSession]:
    token = pki.token_of(served.settings.folder, pki.ADMIN)
    connector = aiohttp.TCPConnector(limit=0, ssl=pki.client_context(served.settings.folder))
    async with aiohttp.ClientSession(
        served.settings.server, connector=connector, headers={"Authorization": f"Bearer {token}"}
    ) as it:
        yield it


async def is_well(served: Served) -> bool:
    """The server still does its work."""
    name = await config_map(served)
    await served.client.delete("ConfigMap", name, "default")
    return True


async def config_map(served: Served) -> str:
    """The name of a new one."""
    made = await served.client.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "well-", "namespace": "default"}}
    )
    return str(made["metadata"]["name"])


DEEP = b'{"metadata":{"name":"a"},"data":' + b'{"a":' * 90_000 + b"1" + b"}" * 90_000 + b"}"
BOMB = b"a: &a [x]\n" + b"\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]".encode() for i in range(12)
)
BODIES = [
    pytest.param(b'{"a":', JSON, 400, "BadRequest", id="cut JSON"),
    pytest.param(b"[1]", JSON, 400, "BadRequest", id="a list"),
    pytest.param(b'"a"', JSON, 400, "BadRequest", id="a text"),
    pytest.param(b'{"metadata":[]}', JSON, 400, "BadRequest", id="metadata is a list"),
    pytest.param(b'{"metadata":{"name":7}}', JSON, 400, "BadRequest", id="a name that is a number"),
    pytest.param(b'{"metadata":{"name":"a","labels":[1]}}', JSON, 400, "BadRequest", id="labels are a list"),
    pytest.param(b'{"kind":"Pod"}', JSON, 400, "BadRequest", id="another kind"),
    pytest.param(b'{"kind":["ConfigMap"]}', JSON, 400, "BadRequest", id="a kind that is a list"),
    pytest.param(b'{"metadata":{"name":"a"},"data":{"x":NaN}}', JSON, 400, "BadRequest", id="NaN"),
    pytest.param(b"\xff\xfe", JSON, 400, "BadRequest", id="no UTF-8"),
    pytest.param(DEEP, JSON, 400, "BadRequest", id="deep JSON"),
    pytest.param(b"a: [", "application/yaml", 400, "BadRequest", id="cut YAML"),
    pytest.param(b"[" * 500_000, "application/yaml", 400, "BadRequest", id="deep YAML"),
    pytest.param(BOMB, "application/yaml", 400, "BadRequest", id="a YAML bomb"),
    pytest.param(b"!!python/object/apply:os.getcwd []", "application/yaml", 400, "BadRequest", id="a YAML object"),
    pytest.param(b"k8s\0\xff", "application/vnd.kubernetes.protobuf", 400, "BadRequest", id="cut protobuf"),
    pytest.param(b"{}", "application/vnd.kubernetes.protobuf", 400, "BadRequest", id="protobuf that is JSON"),
    pytest.param(b"{}", "text/plain", 415, "UnsupportedMediaType", id="another type"),
    pytest.param(b" " * (MAX_BODY_BYTES + 1), JSON, 413, "RequestEntityTooLarge", id="too large"),
]


@pytest.mark.parametrize(("body", "content_type", "code", "reason"), BODIES)
async def test_a_bad_body_is_a_clear_status(
    served: Served, session: aiohttp.ClientSession, body: bytes, content_type: str, code: int, reason: str
) -> None:
    async with session.post(MAPS, data=io.BytesIO(body), headers={"Content-Type": content_type}) as response:
        status = await response.json()
    assert (response.status, status["kind"], status["code"], status["reason"]) == (code, "Status", code, reason)
    assert len(status["message"]) < 2000
    assert "Traceback" not in status["message"]
    assert await is_well(served)


@pytest.mark.parametrize(
    "content_type",
    ["json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"],
)
@pytest.mark.parametrize("body", [b"", b"[", b"7", b"null", b'{"metadata":7}', b'[{"op":"x"}]', DEEP])
async def test_a_bad_patch_is_the_clients_mistake(
    served: Served, session: aiohttp.ClientSession, content_type: str, body: bytes
) -> None:
    name = await config_map(served)
    headers = {"Content-Type": f"application/{content_type}"}
    async with session.patch(f"{MAPS}/{name}?fieldManager=m", data=body, headers=headers) as response:
        status = await response.json()
    assert (status["kind"], 400 <= response.status < 500) == ("Status", True), status
    await served.client.delete("ConfigMap", name, "default")


@pytest.mark.parametrize(
    "path",
    [
        "/api", "/api/", "/apis/apps", "/api/v1/none", "/apis/none/v1", "/api/v1/namespaces/default/pods/../secrets",
        "/api/v1/namespaces/%2e%2e/pods", "/api/v1/namespaces/default/pods/%00", "/api/v1/pods/a/b/c/d/e",
        "/api/v1/namespaces/default/pods/" + "a" * 3000, "/%ff", "/api/v1/pods?limit=-1", "/api/v1/pods?limit=x",
        "/api/v1/pods?continue=%%%", "/api/v1/pods?labelSelector=%28", "/api/v1/pods?fieldSelector=a",
        "/api/v1/pods?watch=true&resourceVersion=x", "/api/v1/pods?watch=true&timeoutSeconds=-1",
        "/api/v1/pods?watch=true&timeoutSeconds=1e99",
    ],
)  # fmt: skip
async def test_hostile_paths_and_queries(served: Served, session: aiohttp.ClientSession, path: str) -> None:
    async with session.get(URL(served.settings.server + path, encoded=True)) as response:
        body = await response.read()
    assert response.status in (200, 400, 404), body[:300]
    assert orjson.loads(body)["kind"]


async def test_a_watcher_that_vanishes_is_forgotten(served: Served, session: aiohttp.ClientSession) -> None:
    response = await session.get(f"{MAPS}?watch=true")
    assert watchers("configmaps") == 1
    response.close()
    async with asyncio.timeout(5):
        while watchers("configmaps"):
            await asyncio.sleep(0.01)


def watchers(resource: str) -> int:
    """How many subscriptions of that resource the process holds."""
    return sum(1 for each in gc.get_objects() if isinstance(each, Subscription) and each.resource == resource)


async def test_hundreds_of_idle_watches_delay_nobody(served: Served, session: aiohttp.ClientSession) -> None:
    watches = [await session.get(f"{MAPS}?watch=true") for _ in range(300)]
    try:
        async with asyncio.timeout(20):
            assert await is_well(served)
            lines = await asyncio.gather(*(each.content.readline() for each in watches))
        assert {orjson.loads(line)["type"] for line in lines} == {"ADDED"}
    finally:
        for each in watches:
            each.close()


async def test_a_watcher_that_does_not_read_is_cut_off() -> None:
    """Its buffers fill up, a write waits, the connection ends, and what waited for it is let go."""
    api = await new_api(SystemClock())
    kind = api.registry.of_kind("ConfigMap")

    async def watch(request: web.Request) -> web.StreamResponse:
        return await stream_watch(api, request, kind, "default", options=WatchOptions(), write_seconds=0.3)

    application = web.Application()
    application.router.add_get("/", watch)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        listener = socket.create_server(("127.0.0.1", 0))  # closed by the site
        await web.SockSite(runner, listener).start()
        reader, writer = await asyncio.open_connection(*listener.getsockname(), limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200" in await reader.readline()
        for number in range(60):
            body = {"metadata": {"name": f"m{number}"}, "data": {"x": "y" * 200_000}}
            await api.verbs.create(kind, "default", body, WriteOptions())
        async with asyncio.timeout(10):
            while watchers("configmaps"):
                await asyncio.sleep(0.05)
        writer.close()
    finally:
        await runner.cleanup()


async def test_a_body_that_never_comes_holds_up_nobody(served: Served) -> None:
    address = urlsplit(served.settings.server)
    context: ssl.SSLContext = pki.client_context(served.settings.folder)
    _, writer = await asyncio.open_connection(address.hostname, address.port, ssl=context)
    token = pki.token_of(served.settings.folder, pki.ADMIN)
    writer.write(
        f"POST {MAPS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 100\r\n\r\n{{".encode()
    )
    await writer.drain()
    assert await is_well(served)
    writer.close()


async def test_an_old_revision_is_expired(served: Served, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{MAPS}?watch=true&resourceVersion=999999") as response:
        event = orjson.loads(await response.content.readline())
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert re.search("resource", event["object"]["message"])

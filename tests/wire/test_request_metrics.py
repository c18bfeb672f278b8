"""/metrics of an API server on its real socket, as Prometheus would scrape it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from petset.cluster import pki
from petset.cluster.errors import NotFound
from tests.apis import create, manifest_pod, new_api, patch
from tests.wire.serving import Served, serving

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


async def request_lines(served: Served) -> list[str]:
    text = (await served.client.request_raw("GET", "/metrics")).decode()
    return [line for line in text.splitlines() if line.startswith("apiserver_request_total{")]


async def line_of(served: Served, verb: str) -> str:
    """The line of the one request with that verb; a stream is counted a moment after its client has seen the end."""
    async with asyncio.timeout(10):
        while not (found := [each for each in await request_lines(served) if f'verb="{verb}"' in each]):
            pass
    [line] = found
    return line


async def test_requests_are_counted_with_their_answers(tmp_path: Path) -> None:
    async with serving(await new_api(), tmp_path) as served:
        await served.client.list("Pod", "default")
        with pytest.raises(NotFound):
            await served.client.get("Pod", "absent", "default")
        counted = await request_lines(served)
        for verb, scope, code in (("LIST", "namespace", 200), ("GET", "resource", 404)):
            [line] = [each for each in counted if f'verb="{verb}"' in each and 'resource="pods"' in each]
            assert f'scope="{scope}"' in line
            assert f'code="{code}"' in line
            assert line.endswith(" 1.0")
        tls = aiohttp.TCPConnector(ssl=pki.client_context(served.settings.folder))
        async with (
            aiohttp.ClientSession(connector=tls) as stranger,
            stranger.get(f"{served.settings.server}/metrics") as refused,
        ):
            assert refused.status == 401


async def test_a_connection_that_was_taken_over_is_counted_as_switched(tmp_path: Path) -> None:
    async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING)
        await reader.read()
        writer.close()

    api = await new_api()
    await create(api, manifest_pod("echo"))
    await patch(api, "Pod", "echo", {"status": {"podIP": "127.0.0.1"}}, subresource="status")
    async with await asyncio.start_server(switch, "127.0.0.1", 0) as pod, serving(api, tmp_path) as served:
        folder, port = served.settings.folder, pod.sockets[0].getsockname()[1]
        context = pki.client_context(folder)
        reader, writer = await asyncio.open_connection("127.0.0.1", served.settings.port, ssl=context)
        lines = [
            f"GET /api/v1/namespaces/default/pods/echo:{port}/proxy/ HTTP/1.1", "Host: x", "Connection: Upgrade",
            f"Authorization: Bearer {pki.token_of(folder, pki.ADMIN)}", "Upgrade: echo", "", "",
        ]  # fmt: skip
        writer.write("\r\n".join(lines).encode())
        assert await reader.readuntil(b"\r\n\r\n") == SWITCHING
        writer.close()
        line = await line_of(served, "CONNECT")
        assert 'code="101"' in line
        assert 'subresource="proxy"' in line


async def test_a_watch_that_its_client_leaves_is_counted_as_answered(tmp_path: Path) -> None:
    async with serving(await new_api(), tmp_path) as served:
        tls = aiohttp.TCPConnector(ssl=pki.client_context(served.settings.folder))
        headers = {"Authorization": f"Bearer {pki.token_of(served.settings.folder, pki.ADMIN)}"}
        async with (
            aiohttp.ClientSession(served.settings.server, connector=tls, headers=headers) as client,
            client.get("/api/v1/namespaces", params={"watch": "true"}) as events,
        ):
            for _ in range(4):  # all that there are: the server waits for more then
                assert b"ADDED" in await events.content.readline()
        assert 'code="200"' in await line_of(served, "WATCH")

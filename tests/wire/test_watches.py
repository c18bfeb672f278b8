"""Watches in their thousands, answers that nobody reads, and watches of custom kinds that change: on real sockets."""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import orjson
import psutil
import pytest
from aiohttp import web

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.deliveries import deliver
from petset.cluster.apiserver.options import DeleteOptions, WatchOptions, WriteOptions
from petset.cluster.apiserver.watch_stream import stream_watch
from petset.cluster.clock import SystemClock
from tests.apis import new_api
from tests.wire.operators.widgets import definition, widget

WATCHES = 3000
SLOW = 10
MEMORY_PER_WATCH_BYTES = 64 * 1024
FIRST_LINES = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@asynccontextmanager
async def answering(handler: Any) -> AsyncIterator[tuple[str, int]]:
    """The address of a server without TLS, which would take most of the test's time."""
    application = web.Application()
    application.router.add_get("/", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True, access_log=None)
    await runner.setup()
    try:
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)  # closed by the site
        await web.SockSite(runner, listener, backlog=4096).start()
        yield listener.getsockname()
    finally:
        await runner.cleanup()


def config_map(number: int, size: int = 1) -> Object:
    return {"metadata": {"name": f"m{number}"}, "data": {"x": "y" * size}}


async def create(api: Api, plural: str, body: Object) -> None:
    kind = next(each for each in api.registry.kinds if each.plural == plural)
    await api.verbs.create(kind, "default" if kind.namespaced else "", body, WriteOptions())


@asynccontextmanager
async def many_files() -> AsyncIterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * WATCHES + 1000
    if hard not in (resource.RLIM_INFINITY,) and hard < needed:
        pytest.skip(f"the limit of open files is {hard}; {needed} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_thousands_of_idle_watches_and_slow_readers_cost_little() -> None:
    """Idle ones hold bounded memory; those that never read are cut off; a write meanwhile is answered at once."""
    api = await new_api(SystemClock())
    kind = api.registry.of_kind("ConfigMap")
    present = 0

    async def watch(request: web.Request) -> web.StreamResponse:
        nonlocal present
        present += 1
        try:
            return await stream_watch(api, request, kind, "default", options=WatchOptions(), write_seconds=0.5)
        finally:
            present -= 1

    async def until(number: int) -> None:
        async with asyncio.timeout(60):
            while present != number:
                await asyncio.sleep(0.02)

    async with many_files(), AsyncExitStack() as clients, answering(watch) as address:
        before = psutil.Process().memory_info().rss
        idle = []
        for number in range(WATCHES):
            client = clients.enter_context(socket.create_connection(address))
            client.sendall(FIRST_LINES)
            idle.append(client)
            if number % 100 == 0:
                await asyncio.sleep(0)
        await until(WATCHES)
        per_watch = (psutil.Process().memory_info().rss - before) / WATCHES
        assert per_watch < MEMORY_PER_WATCH_BYTES, f"{per_watch:.0f} bytes per watch"
        started = time.monotonic()
        await create(api, "configmaps", config_map(1))
        assert time.monotonic() - started < 5.0
        for client in idle[SLOW:]:
            client.close()
        await until(SLOW)
        for number in range(2, 80):  # more than the buffers of those that are left
            await create(api, "configmaps", config_map(number, 200_000))
            await asyncio.sleep(0)
        await until(0)


async def test_an_answer_that_nobody_takes_is_dropped() -> None:
    ended = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.Response(body=bytes(32 * 1024 * 1024))
        try:
            await deliver(request, response, seconds=0.2)
        finally:
            ended.set()
        return response

    async with answering(answer) as address:
        with socket.create_connection(address) as client:
            client.sendall(FIRST_LINES)
            async with asyncio.timeout(10):
                await ended.wait()
            came = 0
            while data := await asyncio.to_thread(client.recv, 1024 * 1024):
                came += len(data)
            assert came < 32 * 1024 * 1024


async def test_an_answer_that_is_taken_slowly_arrives() -> None:
    size = 4 * 1024 * 1024

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.Response(body=bytes(size))
        await deliver(request, response, seconds=1.0)
        return response

    async with answering(answer) as address:
        reader, writer = await asyncio.open_connection(*address, limit=64 * 1024)
        writer.write(FIRST_LINES)
        head = await reader.readuntil(b"\r\n\r\n")
        assert str(size).encode() in head
        for _ in range(8):
            await asyncio.sleep(0.2)  # all of it takes longer than the server would wait for nothing
            assert len(await reader.readexactly(size // 8)) == size // 8
        writer.close()


class TestCustomKinds:
    @pytest.fixture
    async def api(self) -> Api:
        api = await new_api(SystemClock())
        await create(api, "customresourcedefinitions", definition())
        await create(api, "widgets", widget("one"))
        return api

    async def _watched(self, api: Api, change: Any) -> list[str]:
        """The types of all events of a watch that `change` ends."""
        kind = next(each for each in api.registry.kinds if each.plural == "widgets")

        async def watch(request: web.Request) -> web.StreamResponse:
            return await stream_watch(api, request, kind, "default", options=WatchOptions(), write_seconds=5.0)

        async with answering(watch) as address, asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            lines = [await reader.readline()]
            await change()
            lines += (await reader.read()).splitlines()
            writer.close()
        return [orjson.loads(line)["type"] for line in lines]

    async def test_a_watch_ends_with_its_definition(self, api: Api) -> None:
        kind = api.registry.of_kind("CustomResourceDefinition")

        async def remove() -> None:
            await api.deletion.delete(kind, "", "widgets.example.com", DeleteOptions())

        assert await self._watched(api, remove) == ["ADDED", "DELETED"]

    async def test_a_watch_ends_when_its_definition_changes(self, api: Api) -> None:
        kind = api.registry.of_kind("CustomResourceDefinition")

        async def patch(body: Object) -> None:
            await api.verbs.patch(
                kind, "", "widgets.example.com", body=body, patch_type="merge", options=WriteOptions()
            )  # fmt: skip

        async def change() -> None:
            await patch({"metadata": {"labels": {"a": "b"}}})  # nothing that concerns a watcher
            await create(api, "widgets", widget("two"))
            await patch({"spec": {"names": {"shortNames": ["gadget"]}}})

        assert await self._watched(api, change) == ["ADDED", "ADDED"]

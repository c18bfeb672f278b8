"""How many connections a component opens to its API server, and that none of them holds up the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from petset.cluster.control import http_client
from petset.cluster.control.http_client import MAX_REQUESTS, HttpClient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def client_of(answer: Handler) -> AsyncIterator[HttpClient]:
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        _, port = runner.addresses[0][:2]
        async with HttpClient(f"http://127.0.0.1:{port}", "", lambda: aiohttp.TCPConnector(limit=0)) as client:
            yield client
    finally:
        await runner.cleanup()


async def test_many_requests_at_once_share_few_connections() -> None:
    connections = set[object]()

    async def answer(request: web.Request) -> web.Response:
        connections.add(request.transport)
        return web.json_response({"metadata": {"name": request.path.rpartition("/")[2]}})

    async with client_of(answer) as client:
        names = [f"pod-{number}" for number in range(100)]
        answers = await asyncio.gather(*(client.get("Pod", name, "default") for name in names))
    assert [each["metadata"]["name"] for each in answers] == names
    assert len(connections) <= MAX_REQUESTS


async def test_requests_without_an_answer_hold_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "TURN_SECONDS", 0.01)
    arrived, enough = asyncio.Semaphore(0), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("mute"):
            arrived.release()
            await enough.wait()
        return web.json_response({})

    async with client_of(answer) as client, asyncio.TaskGroup() as tasks:
        mute = [tasks.create_task(client.get("Pod", "mute", "default")) for _ in range(MAX_REQUESTS)]
        for _ in mute:
            await arrived.acquire()
        assert await client.get("Pod", "heard", "default") == {}
        assert not any(each.done() for each in mute)
        enough.set()

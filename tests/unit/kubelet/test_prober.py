"""The prober over real sockets on 127.0.0.1: the only test of the kubelet that leaves the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from petset.cluster.kubelet.prober import MAX_BODY_BYTES, network_prober
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork
from tests.unit.kubelet.test_grpc_health import DONE, HealthServer, status_message


@asynccontextmanager
async def server() -> AsyncIterator[int]:
    """A server's port: /big answers much, /moved redirects, /agent says who asks, /slow never answers."""

    async def big(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * (MAX_BODY_BYTES * 4))

    async def moved(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/big"})

    async def agent(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["User-Agent"])

    async def slow(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/big", big), web.get("/moved", moved), web.get("/agent", agent), web.get("/slow", slow)])
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_answers_are_read_and_cut_and_redirects_not_followed() -> None:
    async with server() as port, network_prober(LoopbackNetwork(loopback_plan(0), 1)) as prober:
        status, body = await prober.http_get(f"http://127.0.0.1:{port}/big", {}, 5.0)
        assert (status, 0 < len(body) <= MAX_BODY_BYTES) == (200, True)
        assert (await prober.http_get(f"http://127.0.0.1:{port}/moved", {}, 5.0))[0] == 302
        assert await prober.http_get(f"http://127.0.0.1:{port}/agent", {"User-Agent": "me"}, 5.0) == (200, "me")
        await prober.tcp_connect("127.0.0.1", port, 5.0)


async def test_silence_is_a_timeout_and_a_closed_port_a_refusal() -> None:
    async with network_prober(LoopbackNetwork(loopback_plan(0), 1)) as prober:
        async with server() as port:
            with pytest.raises(TimeoutError):
                await prober.http_get(f"http://127.0.0.1:{port}/slow", {}, 0.02)
        with pytest.raises(ConnectionRefusedError):
            await prober.http_get(f"http://127.0.0.1:{port}/agent", {}, 5.0)
        with pytest.raises(ConnectionRefusedError):
            await prober.tcp_connect("127.0.0.1", port, 5.0)


async def test_a_header_that_cannot_be_sent_is_a_failure_like_any_other() -> None:
    async with server() as port, network_prober(LoopbackNetwork(loopback_plan(0), 1)) as prober:
        with pytest.raises(OSError):
            await prober.http_get(f"http://127.0.0.1:{port}/agent", {"User-Agent": "two\nlines"}, 5.0)


async def test_a_name_that_is_none_is_a_failure_like_any_other() -> None:
    async with network_prober(LoopbackNetwork(loopback_plan(0), 1)) as prober:
        with pytest.raises(OSError):
            await prober.tcp_connect("x" * 64, 1, 5.0)
        with pytest.raises(OSError):
            await prober.http_get(f"http://{'x' * 64}:1/", {}, 5.0)


async def test_grpc_health_over_a_socket() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        health = HealthServer(message=status_message(1), trailers=DONE)
        while data := await reader.read(65536):
            health.receive(data)
            writer.write(health.data_to_send())
        writer.close()

    async with network_prober(LoopbackNetwork(loopback_plan(0), 1)) as prober:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            assert await prober.grpc_health("127.0.0.1", port, "", 5.0) == (0, "SERVING")
        with pytest.raises(ConnectionRefusedError):
            await prober.grpc_health("127.0.0.1", port, "", 5.0)

"""One GET that gathers the data of 3, 50 and 200 peers, found through the real cluster DNS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.control.client import Client, Listing
from petset.dns.agent import DnsAgent
from petset.petapp import dns_exchange
from petset.petapp.peers import PEERS_AT_ONCE, cluster_lines
from petset.petapp.resolver import ResolvConf, Resolver
from tests.unit.dns.objects import endpoint, endpoint_slice, namespace, service

HOST = "127.0.0.1"
PORT = 18081
KUBIA = "kubia.default.svc.cluster.local"
MAX_ENDPOINTS = 100
"""In one slice, as the controller fills them."""


class StandingClient:
    """As much of a `Client` as informers use, over objects that never change."""

    def __init__(self, objects: list[Object]) -> None:
        self._objects = objects

    async def list(self, kind: str, namespace: str = "", **selectors: str) -> Listing:
        return Listing([obj for obj in self._objects if obj["kind"] == kind], "1")

    @asynccontextmanager
    async def watch(self, kind: str, namespace: str = "", **options: str) -> AsyncIterator[AsyncIterator[Any]]:
        async def nothing() -> AsyncIterator[Any]:
            await asyncio.Event().wait()
            yield None

        yield nothing()


def address(number: int, of: int) -> str:
    """Each number of peers has its own network: some are asked side by side."""
    return f"127.64.{of}.{number + 1}"


@asynccontextmanager
async def cluster_dns(peer_count: int) -> AsyncIterator[Resolver]:
    """The resolver of a guest beside `peer_count` peers."""
    pods = [endpoint(address(number, peer_count), hostname=f"kubia-{number}") for number in range(peer_count)]
    slices = [
        endpoint_slice("kubia", *pods[start : start + MAX_ENDPOINTS], suffix=f"{start}")
        for start in range(0, peer_count, MAX_ENDPOINTS)
    ]
    client = StandingClient([namespace("default"), service("kubia", "None"), *slices])
    agent = DnsAgent(cast(Client, client), addresses=["10.96.0.10"], host=HOST, port=0)
    task = asyncio.create_task(agent.run())
    try:
        await agent.synced.wait()
        port = await agent.listening()
        conf = ResolvConf(nameservers=(HOST,), search=("default.svc.cluster.local",), ndots=5, port=port)
        yield Resolver(conf, Random(1))
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@dataclass
class Peers:
    """HTTP servers on the peers' addresses. `slow` ones never answer, `dead` ones do not listen."""

    slow: frozenset[int]
    open_now: int = 0
    most_open: int = 0
    asked: set[str] = field(default_factory=set)

    async def serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.add(next(line for line in request.splitlines() if line.startswith("Host: ")))
            if number in self.slow:
                await reader.read()
            body = f"data of {number}".encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
        self.open_now -= 1
        writer.close()


@asynccontextmanager
async def peers(count: int, *, slow: frozenset[int], dead: frozenset[int]) -> AsyncIterator[Peers]:
    made = Peers(slow)

    def handler(number: int) -> Any:
        return lambda reader, writer: made.serve(number, reader, writer)

    async with AsyncExitStack() as stack:
        for number in sorted(set(range(count)) - dead):
            server = await asyncio.start_server(handler(number), address(number, count), PORT)
            stack.callback(server.close)
        yield made


NOBODY: frozenset[int] = frozenset()
PATIENCE_SECONDS = 3.0
"""For the slow ones; long enough that 200 healthy peers in one process answer within it on a busy machine."""


COUNTS = (3, 50, 200)


async def ask_all(count: int, *, slow: frozenset[int], dead: frozenset[int]) -> None:
    async with cluster_dns(count) as resolver, peers(count, slow=slow, dead=dead) as made:
        started = time.monotonic()
        lines = await cluster_lines(resolver, "kubia", PORT, timeout_seconds=PATIENCE_SECONDS if slow else 30.0)
        took_seconds = time.monotonic() - started
    expected = {f"kubia-{number}.{KUBIA}": f"data of {number}" for number in range(count)}
    expected |= {f"kubia-{number}.{KUBIA}": f"Error: no answer within {PATIENCE_SECONDS:g} s" for number in slow}
    expected |= {f"kubia-{number}.{KUBIA}": "Error: Connection refused" for number in dead}
    assert lines == [f"- {host}: {text}\n".encode() for host, text in sorted(expected.items())]
    assert made.asked == {f"Host: {host}:{PORT}" for host, text in expected.items() if "refused" not in text}
    # The slow are waited for at the same time: together they cost one timeout.
    assert len(slow) <= made.most_open <= PEERS_AT_ONCE
    # The rest of this bound is for a busy machine.
    assert took_seconds < (PATIENCE_SECONDS if slow else 0) + 10


@pytest.mark.parametrize("count", COUNTS)
async def test_every_peer_is_asked_at_once_and_answers(count: int) -> None:
    await ask_all(count, slow=NOBODY, dead=NOBODY)


async def test_half_of_them_slow_and_one_dead_are_named_and_cost_one_timeout() -> None:
    """All numbers side by side: each would wait as long alone."""
    await asyncio.gather(
        *(ask_all(count, slow=frozenset(range(count // 2)), dead=frozenset({count - 1})) for count in COUNTS)
    )


async def test_two_hundred_peers_do_not_fit_a_datagram(monkeypatch: pytest.MonkeyPatch) -> None:
    by_tcp: list[str] = []
    open_connection = asyncio.open_connection

    async def noted(host: str, port: int, **options: Any) -> Any:
        by_tcp.append(host)
        return await open_connection(host, port, **options)

    monkeypatch.setattr(dns_exchange.asyncio, "open_connection", noted)
    async with cluster_dns(200) as resolver:
        records = await resolver.services("kubia")
    assert by_tcp == [HOST], "one answer, cut short by UDP, came whole by TCP"
    assert {record.target for record in records} == {f"kubia-{number}.{KUBIA}" for number in range(200)}
    assert all(len(record.addresses) == 1 for record in records)
    async with cluster_dns(3) as resolver:
        await resolver.services("kubia")
    assert by_tcp == [HOST], "three peers fit"

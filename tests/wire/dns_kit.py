"""A cluster DNS on real loopback sockets for tests, and how to ask it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, cast

import dnslib
import pytest
from dnslib import DNSRecord

from petset.cluster.api.objects import Object
from petset.cluster.control.client import Client, Listing, WatchEvent
from petset.dns.agent import DnsAgent
from petset.dns.batches import answer_in_batches, has_batches
from petset.dns.datagrams import Source, answer_one_by_one
from petset.dns.server import Respond, bind, serve
from tests.unit.dns.objects import endpoint, endpoint_slice, namespace, service

HOST = "127.0.0.1"
Z = "svc.cluster.local"
TIMEOUT_SECONDS = 10.0

Change = Literal["ADDED", "MODIFIED", "DELETED"]


class ScriptedClient:
    """As much of a `Client` as informers use: each list waits for `release`, each watch for `tell`."""

    def __init__(self, objects: list[Object]) -> None:
        self._objects = objects
        self._released = asyncio.Event()
        self._events: dict[str, asyncio.Queue[WatchEvent]] = {
            kind: asyncio.Queue() for kind in ("Namespace", "Service", "EndpointSlice")
        }

    def release(self) -> None:
        """Let the EndpointSlices be listed; the other kinds are at once."""
        self._released.set()

    async def tell(self, type_: Change, obj: Object, revision: int) -> None:
        """Send one event and wait until the watcher asks for the next: by then it has dealt with this one."""
        meta = obj["metadata"] | {"resourceVersion": str(revision)}
        self._events[obj["kind"]].put_nowait(WatchEvent(type_, obj | {"metadata": meta}))
        await self._events[obj["kind"]].join()

    async def list(
        self, kind: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        if kind == "EndpointSlice":
            await self._released.wait()
        # As in a Kubernetes list, the items do not say their kind.
        items = [{key: obj[key] for key in obj if key != "kind"} for obj in self._objects if obj["kind"] == kind]
        return Listing(items, "1")

    @asynccontextmanager
    async def watch(
        self, kind: str, namespace: str = "", *, revision: str, field_selector: str = ""
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        async def follow() -> AsyncIterator[WatchEvent]:
            while True:
                yield await self._events[kind].get()
                self._events[kind].task_done()

        yield follow()


def kubia(count: int) -> Object:
    pods = [endpoint(f"10.244.{number}.2", hostname=f"kubia-{number}") for number in range(count)]
    return endpoint_slice("kubia", *pods)


CLUSTER = [namespace("default"), service("kubia", "None"), service("web", "10.96.0.7"), kubia(3)]


@asynccontextmanager
async def running(task: asyncio.Task[None]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def agent(client: ScriptedClient, **options: Any) -> AsyncIterator[tuple[DnsAgent, int]]:
    made = DnsAgent(cast(Client, client), addresses=["10.96.0.10"], host=HOST, port=0, **options)
    async with running(asyncio.create_task(made.run())), asyncio.timeout(TIMEOUT_SECONDS):
        yield made, await made.listening()


Echo = Callable[[bytes], bytes | None]


def ways_in(respond: Echo) -> tuple[Source, Respond]:
    """One function for datagrams and streams."""

    async def stream(packet: bytes) -> bytes | None:
        return respond(packet)

    return Source({}, lambda packet, client: respond(packet)), stream


@asynccontextmanager
async def server(respond: Echo, host: str = HOST, **limits: Any) -> AsyncIterator[int]:
    """A server without a cache that answers datagrams and streams by one function."""
    with bind(host, 0) as sockets:
        task = asyncio.create_task(serve(sockets, *ways_in(respond), **limits))
        async with running(task), asyncio.timeout(TIMEOUT_SECONDS):
            yield sockets.port


async def ask(port: int, name: str, type_: str = "A", *, tcp: bool = False, edns: int = 0) -> DNSRecord:
    query = DNSRecord.question(name, type_)
    if edns:
        query.add_ar(dnslib.EDNS0(udp_len=edns))
    packet = await asyncio.to_thread(query.send, HOST, port, tcp=tcp, timeout=TIMEOUT_SECONDS)
    response = DNSRecord.parse(packet)
    assert response.header.id == query.header.id
    return response


async def resolve(port: int, name: str, type_: str = "A") -> DNSRecord:
    """As a resolver does it: UDP, and TCP when the response was cut."""
    response = await ask(port, name, type_)
    return await ask(port, name, type_, tcp=True) if response.header.tc else response


def rcode(response: DNSRecord) -> str:
    return str(dnslib.RCODE[response.header.rcode])


def echo(packet: bytes) -> bytes:
    return b"echo:" + packet


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, packet: bytes) -> bytes:
    writer.write(len(packet).to_bytes(2, "big") + packet)
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


LOOPS = [
    pytest.param(answer_one_by_one, id="one by one"),
    pytest.param(
        answer_in_batches, id="batches", marks=pytest.mark.skipif(not has_batches(), reason="no recvmmsg here")
    ),
]

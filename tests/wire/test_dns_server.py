"""Cluster DNS over real loopback sockets, asked by dnslib's client."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, cast

import dnslib
import pytest
from dnslib import DNSRecord

from petset.cluster.api.objects import Object
from petset.cluster.control.client import Client, Listing, WatchEvent
from petset.dns.agent import DnsAgent
from petset.dns.responder import Transport
from petset.dns.server import Respond, bind, make_host_socket, serve
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


@asynccontextmanager
async def server(respond: Respond, host: str = HOST, **limits: Any) -> AsyncIterator[int]:
    with bind(host, 0) as sockets:
        task = asyncio.create_task(serve(sockets, respond, **limits))
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


def echo(packet: bytes, transport: Transport) -> bytes:
    return transport.name.encode() + b":" + packet


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, packet: bytes) -> bytes:
    writer.write(len(packet).to_bytes(2, "big") + packet)
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
async def test_peers_are_found(tcp: bool) -> None:
    client = ScriptedClient(CLUSTER)
    client.release()
    async with agent(client) as (dns, port):
        await dns.synced.wait()
        response = await ask(port, f"_http._tcp.kubia.default.{Z}", "SRV", tcp=tcp, edns=1232)
        assert sorted(str(each.rdata.target) for each in response.rr) == [
            f"kubia-{number}.kubia.default.{Z}." for number in range(3)
        ]
        addresses = sorted(str(each.rdata) for each in response.ar if each.rtype == dnslib.QTYPE.A)
        assert addresses == ["10.244.0.2", "10.244.1.2", "10.244.2.2"]
        assert rcode(await ask(port, f"missing.default.{Z}", tcp=tcp)) == "NXDOMAIN"


async def test_until_synced_the_unknown_is_a_failure() -> None:
    client = ScriptedClient(CLUSTER)
    async with agent(client) as (dns, port):
        assert rcode(await ask(port, f"kubia-0.kubia.default.{Z}")) == "SERVFAIL"
        assert not dns.synced.is_set()
        client.release()
        await dns.synced.wait()
        assert rcode(await ask(port, f"kubia-0.kubia.default.{Z}")) == "NOERROR"
        assert rcode(await ask(port, f"kubia-9.kubia.default.{Z}")) == "NXDOMAIN"


async def test_changes_are_followed() -> None:
    client = ScriptedClient(CLUSTER)
    client.release()
    async with agent(client) as (dns, port):
        await dns.synced.wait()
        changes: list[tuple[Change, Object, str]] = [
            ("MODIFIED", kubia(2), "NXDOMAIN"),
            ("MODIFIED", kubia(3), "NOERROR"),
            ("DELETED", kubia(3), "NXDOMAIN"),
            ("ADDED", kubia(4), "NOERROR"),
        ]
        for revision, (type_, obj, expected) in enumerate(changes, start=2):
            await client.tell(type_, obj, revision)
            assert rcode(await ask(port, f"kubia-2.kubia.default.{Z}")) == expected


async def test_a_cut_response_is_whole_by_tcp() -> None:
    client = ScriptedClient([*CLUSTER[:-1], kubia(60)])
    client.release()
    async with agent(client) as (dns, port):
        await dns.synced.wait()
        cut = await ask(port, f"kubia.default.{Z}", "SRV")
        assert cut.header.tc == 1
        assert 0 < len(cut.rr) < 60
        whole = await resolve(port, f"kubia.default.{Z}", "SRV")
        assert (whole.header.tc, len(whole.rr), len(whole.ar)) == (0, 60, 60)


async def test_the_agents_options_decide() -> None:
    client = ScriptedClient(CLUSTER)
    client.release()
    made: list[socket.SocketKind] = []

    def make_socket(host: str, *, kind: socket.SocketKind) -> socket.socket:
        made.append(kind)
        return make_host_socket(host, kind=kind)

    async with agent(client, domain="pets.test", ttl_seconds=5, make_socket=make_socket) as (dns, port):
        await dns.synced.wait()
        response = await ask(port, "web.default.svc.pets.test")
        assert [(each.ttl, str(each.rdata)) for each in response.rr] == [(5, "10.96.0.7")]
        assert rcode(await ask(port, f"web.default.{Z}")) == "REFUSED"
    assert made == [socket.SOCK_DGRAM, socket.SOCK_STREAM]


@pytest.mark.parametrize("ttl_seconds", [-1, 3601])
def test_a_time_to_live_that_cannot_work_is_refused(ttl_seconds: int) -> None:
    with pytest.raises(ValueError, match="time to live"):
        DnsAgent(cast(Client, ScriptedClient([])), addresses=[HOST], host=HOST, port=0, ttl_seconds=ttl_seconds)


async def test_a_taken_address_is_the_callers_error() -> None:
    with bind(HOST, 0) as sockets:
        dns = DnsAgent(cast(Client, ScriptedClient([])), addresses=[HOST], host=HOST, port=sockets.port)
        with pytest.raises(OSError, match="in use") as caught:
            await dns.run()
        assert caught.value.errno == errno.EADDRINUSE


async def test_several_queries_share_a_connection() -> None:
    async with server(echo) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        for packet in (b"first", b"second" * 100, b"x" * 65_000):
            assert await exchange(reader, writer, packet) == b"TCP:" + packet
        writer.write(b"\0\1a\0\1b")
        assert await reader.readexactly(14) == b"\0\5TCP:a\0\5TCP:b"
        writer.close()


async def test_silence_ends_a_connection_but_not_the_server() -> None:
    async with server(lambda packet, transport: packet if packet == b"good" else None) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"\0\3bad")
        assert await reader.read() == b""
        writer.close()
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await exchange(reader, writer, b"good") == b"good"
        writer.close()


@pytest.mark.parametrize(
    "sent", [b"", b"\0", b"\1\0", b"\0\5abc"], ids=["nothing", "half a length", "no query", "half"]
)
async def test_an_idle_connection_is_closed(sent: bytes) -> None:
    async with server(echo, idle_seconds=0.05) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(sent)
        assert await reader.read() == b""
        writer.close()


async def test_connections_are_bounded() -> None:
    async with server(echo, max_connections=2) as port:
        first, second = [await asyncio.open_connection(HOST, port) for _ in range(2)]
        for reader, writer in (first, second):
            assert await exchange(reader, writer, b"x") == b"TCP:x"
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await reader.read() == b"", "one too many is closed at once"
        writer.close()
        first[1].close()
        await first[1].wait_closed()
        assert await exchange(*second, b"y") == b"TCP:y"
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await exchange(reader, writer, b"z") == b"TCP:z"
        writer.close()
        second[1].close()


async def test_a_failing_responder_does_not_end_the_server(caplog: pytest.LogCaptureFixture) -> None:
    def respond(packet: bytes, transport: Transport) -> bytes:
        if packet == b"bad":
            raise ZeroDivisionError
        return echo(packet, transport)

    async with server(respond) as port:
        with make_host_socket(HOST, kind=socket.SOCK_DGRAM) as client:
            client.connect((HOST, port))
            for packet in (b"bad", b"", b"good"):
                client.send(packet)
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(client, 100) == b"UDP:"
            assert await loop.sock_recv(client, 100) == b"UDP:good"
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"\0\3bad")
        assert await reader.read() == b""
        writer.close()
    assert "no response to a DNS packet of 3 bytes by UDP" in caplog.text


async def test_a_cancelled_server_closes_its_connections_and_frees_its_port() -> None:
    async with server(echo) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await exchange(reader, writer, b"x") == b"TCP:x"
    assert await reader.read() == b""
    writer.close()
    with bind(HOST, port) as again:
        assert again.port == port


async def test_queries_that_came_before_serving_are_answered() -> None:
    loop = asyncio.get_running_loop()
    with bind(HOST, 0) as sockets, make_host_socket(HOST, kind=socket.SOCK_DGRAM) as client:
        client.connect((HOST, sockets.port))
        client.send(b"early")
        async with running(asyncio.create_task(serve(sockets, echo))), asyncio.timeout(TIMEOUT_SECONDS):
            assert await loop.sock_recv(client, 100) == b"UDP:early"


def has_ipv6_loopback() -> bool:
    with suppress(OSError), bind("::1", 0):
        return True
    return False


@pytest.mark.skipif(not has_ipv6_loopback(), reason="this machine has no ::1")
async def test_ipv6() -> None:
    async with server(echo, host="::1") as port:
        reader, writer = await asyncio.open_connection("::1", port)
        assert await exchange(reader, writer, b"x") == b"TCP:x"
        writer.close()

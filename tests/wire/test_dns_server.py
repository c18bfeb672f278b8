"""Cluster DNS over real loopback sockets, asked by dnslib's client."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from contextlib import suppress
from random import Random
from typing import cast

import dnslib
import pytest
from dnslib import DNSRecord

from petset.cluster.api.objects import Object
from petset.cluster.control.client import Client
from petset.dns.agent import DnsAgent
from petset.dns.datagrams import Loop, Source
from petset.dns.server import bind, make_host_socket, serve
from tests.wire.dns_kit import (
    CLUSTER,
    HOST,
    LOOPS,
    TIMEOUT_SECONDS,
    Change,
    ScriptedClient,
    Z,
    agent,
    ask,
    echo,
    exchange,
    kubia,
    rcode,
    resolve,
    running,
    server,
    ways_in,
)


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


@pytest.mark.parametrize("loop", LOOPS)
async def test_changes_are_followed_by_what_was_cached(loop: Loop) -> None:
    """The very next query after a change was told sees it, although the same one was answered before."""
    client = ScriptedClient(CLUSTER)
    client.release()
    async with agent(client, loop=loop) as (dns, port):
        await dns.synced.wait()
        changes: list[tuple[Change, Object, str]] = [
            ("MODIFIED", kubia(2), "NXDOMAIN"),
            ("MODIFIED", kubia(3), "NOERROR"),
            ("DELETED", kubia(3), "NXDOMAIN"),
            ("ADDED", kubia(4), "NOERROR"),
        ]
        for revision, (type_, obj, expected) in enumerate(changes, start=2):
            await client.tell(type_, obj, revision)
            for _ in range(2):
                assert rcode(await ask(port, f"kubia-2.kubia.default.{Z}")) == expected


@pytest.mark.parametrize("loop", LOOPS)
async def test_a_flood_of_nonsense_does_no_harm(loop: Loop) -> None:
    chance = Random(6)
    query = bytes(DNSRecord.question(f"kubia.default.{Z}", "SRV").pack())
    client = ScriptedClient(CLUSTER)
    client.release()
    async with agent(client, loop=loop) as (dns, port):
        await dns.synced.wait()
        with make_host_socket(HOST, kind=socket.SOCK_DGRAM) as sender:
            sender.connect((HOST, port))
            for _ in range(3000):
                packet = bytearray(query if chance.random() < 0.8 else chance.randbytes(chance.randrange(600)))
                for _ in range(chance.randrange(4)):
                    if packet:
                        packet[chance.randrange(len(packet))] = chance.randrange(256)
                with suppress(BlockingIOError):
                    sender.send(bytes(packet[: chance.randrange(len(packet) + 1)] if chance.random() < 0.2 else packet))
                # No amplification beyond what the server says that it sends.
                with suppress(BlockingIOError):
                    assert len(sender.recv(70_000)) <= 1232
        assert rcode(await ask(port, f"kubia-2.kubia.default.{Z}")) == "NOERROR"


async def test_the_start_up_race_of_a_cluster_whose_dns_caches() -> None:
    """A peer that was asked for too early stays missing for the negative time to live, and then is there."""
    client = ScriptedClient(CLUSTER)
    client.release()
    async with agent(client, ttl_seconds=0, negative_ttl_seconds=1, cache_seconds=30) as (dns, port):
        await dns.synced.wait()
        late = f"kubia-3.kubia.default.{Z}"
        assert rcode(await ask(port, late)) == "NXDOMAIN"
        await client.tell("MODIFIED", kubia(4), 2)
        assert rcode(await ask(port, late)) == "NXDOMAIN"
        assert rcode(await ask(port, f"kubia-3.kubia.default.{Z}", tcp=True)) == "NOERROR", "by TCP nothing is kept"
        while rcode(await ask(port, late)) == "NXDOMAIN":
            await asyncio.sleep(0.05)


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
    # Where a port is free for one kind alone, both are bound again.
    assert made[-2:] == [socket.SOCK_DGRAM, socket.SOCK_STREAM]


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
            assert await exchange(reader, writer, packet) == b"echo:" + packet
        writer.write(b"\0\1a\0\1b")
        assert await reader.readexactly(16) == b"\0\6echo:a\0\6echo:b"
        writer.close()


async def test_silence_ends_a_connection_but_not_the_server() -> None:
    async with server(lambda packet: packet if packet == b"good" else None) as port:
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


async def test_a_client_that_sends_byte_by_byte_gets_no_more_time_and_keeps_nobody_waiting() -> None:
    async with server(echo, idle_seconds=0.2) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"\0\x40")
        ended = asyncio.create_task(reader.read())
        sent = 0
        while not ended.done():
            with suppress(ConnectionError):
                writer.write(b"x")
                sent += 1
                await writer.drain()
            other_reader, other_writer = await asyncio.open_connection(HOST, port)
            assert await exchange(other_reader, other_writer, b"quick") == b"echo:quick"
            other_writer.close()
            await asyncio.sleep(0.01)
        # A byte that comes after the end turns it into a reset.
        with suppress(ConnectionError):
            assert await ended == b""
        assert sent < 0x40, "the time ran out before the query was whole"
        writer.close()


async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    loop = asyncio.get_running_loop()
    async with server(lambda packet: packet * 2, idle_seconds=0.2) as port:
        with make_host_socket(HOST, kind=socket.SOCK_STREAM) as client:
            await loop.sock_connect(client, (HOST, port))
            query = (30_000).to_bytes(2, "big") + bytes(30_000)
            with pytest.raises(ConnectionError):
                await loop.sock_sendall(client, query * 2000)


async def test_connections_are_bounded() -> None:
    async with server(echo, max_connections=2) as port:
        first, second = [await asyncio.open_connection(HOST, port) for _ in range(2)]
        for reader, writer in (first, second):
            assert await exchange(reader, writer, b"x") == b"echo:x"
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await reader.read() == b"", "one too many is closed at once"
        writer.close()
        first[1].close()
        await first[1].wait_closed()
        assert await exchange(*second, b"y") == b"echo:y"
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await exchange(reader, writer, b"z") == b"echo:z"
        writer.close()
        second[1].close()


async def test_a_failing_responder_does_not_end_the_server(caplog: pytest.LogCaptureFixture) -> None:
    def respond(packet: bytes) -> bytes:
        if packet == b"a bad packet":
            raise ZeroDivisionError
        return echo(packet)

    async with server(respond) as port:
        with make_host_socket(HOST, kind=socket.SOCK_DGRAM) as client:
            client.connect((HOST, port))
            for packet in (b"a bad packet", b"", b"a good packet"):
                client.send(packet)
            assert await asyncio.get_running_loop().sock_recv(client, 100) == b"echo:a good packet"
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"\0\x0ca bad packet")
        assert await reader.read() == b""
        writer.close()
    for transport in ("UDP", "TCP"):
        assert f"no response to a DNS packet of 12 bytes by {transport}" in caplog.text


async def test_a_loop_that_fails_fails_the_server() -> None:
    def broken(bound: socket.socket, source: Source, stop: threading.Event) -> None:
        raise OSError(errno.ENOSYS, "no such call")

    with bind(HOST, 0) as sockets, pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await serve(sockets, *ways_in(echo), loop=broken)
    assert [str(each) for each in caught.value.exceptions] == [f"[Errno {errno.ENOSYS}] no such call"]


async def test_a_cancelled_server_closes_its_connections_and_frees_its_port() -> None:
    async with server(echo) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await exchange(reader, writer, b"x") == b"echo:x"
    assert await reader.read() == b""
    writer.close()
    with bind(HOST, port) as again:
        assert again.port == port


async def test_queries_that_came_before_serving_are_answered() -> None:
    loop = asyncio.get_running_loop()
    with bind(HOST, 0) as sockets, make_host_socket(HOST, kind=socket.SOCK_DGRAM) as client:
        client.connect((HOST, sockets.port))
        client.send(b"an early bird")
        async with (
            running(asyncio.create_task(serve(sockets, *ways_in(echo)))),
            asyncio.timeout(TIMEOUT_SECONDS),
        ):
            assert await loop.sock_recv(client, 100) == b"echo:an early bird"


def has_ipv6_loopback() -> bool:
    with suppress(OSError), bind("::1", 0):
        return True
    return False


@pytest.mark.skipif(not has_ipv6_loopback(), reason="this machine has no ::1")
async def test_ipv6() -> None:
    async with server(echo, host="::1") as port:
        reader, writer = await asyncio.open_connection("::1", port)
        assert await exchange(reader, writer, b"x") == b"echo:x"
        writer.close()

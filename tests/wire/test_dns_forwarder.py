"""Names outside of the cluster, asked of somebody else over real sockets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, cast

import dnslib
import pytest
from dnslib import DNSRecord

from petset.cluster.network.upstreams import Upstream as NameServer
from petset.cluster.network.upstreams import configured_upstreams
from petset.dns import forwarder
from petset.dns import server as server_module
from petset.dns.datagrams import Loop
from petset.dns.responder import Transport
from petset.dns.server import bind, make_host_socket
from tests.unit.dns.objects import external
from tests.wire.dns_kit import (
    CLUSTER,
    HOST,
    LOOPS,
    ScriptedClient,
    Z,
    agent,
    ask,
    rcode,
)


class Upstream(asyncio.DatagramProtocol):
    """A name server of the outside: answers every question with `reply`, and notes what it was asked."""

    def __init__(self, reply: Callable[[DNSRecord], list[bytes]]) -> None:
        self.asked: list[DNSRecord] = []
        self._reply = reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = DNSRecord.parse(data)
        self.asked.append(query)
        for packet in self._reply(query):
            self.transport.sendto(packet, addr)


@asynccontextmanager
async def upstream(reply: Callable[[DNSRecord], list[bytes]]) -> AsyncIterator[tuple[Upstream, NameServer]]:
    """It serves UDP and, by the same rules, TCP."""
    made = Upstream(reply)

    async def stream(packet: bytes) -> bytes | None:
        return made._reply(DNSRecord.parse(packet))[-1]

    with bind(HOST, 0) as sockets:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: made, sock=sockets.datagrams)
        connections = server_module._Connections
        async with asyncio.TaskGroup() as tasks:
            accept = connections(stream, tasks, max_connections=9, idle_seconds=9.0).accept
            listening = await asyncio.start_server(accept, sock=sockets.connections)
            try:
                yield made, NameServer(HOST, sockets.port)
            finally:
                listening.close()
                transport.close()


def outside(query: DNSRecord) -> list[bytes]:
    """A wrong id, another question, and then the answer."""
    reply = query.reply(ra=1, aa=0)
    reply.add_answer(dnslib.RR(query.q.qname, rdata=dnslib.A("192.0.2.80"), ttl=77))
    wrong, other = DNSRecord.parse(reply.pack()), DNSRecord.question("evil.example").reply()
    wrong.header.id ^= 1
    other.header.id = query.header.id
    return [bytes(each.pack()) for each in (wrong, other, reply)]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
async def test_other_names_are_forwarded_when_there_is_somebody_to_ask(loop: Loop, tcp: bool) -> None:
    client = ScriptedClient(CLUSTER)
    client.release()
    silent = NameServer(HOST, 9)
    async with upstream(outside) as (asked, there), agent(client, loop=loop, upstreams=[silent, there]) as (dns, port):
        await dns.synced.wait()
        for _ in range(2):
            response = await ask(port, "www.Example.com", tcp=tcp)
            assert [(each.ttl, str(each.rdata)) for each in response.rr] == [(77, "192.0.2.80")]
            assert (response.header.ra, response.header.aa) == (1, 0)
        assert rcode(await ask(port, f"missing.default.{Z}", tcp=tcp)) == "NXDOMAIN"
        if not tcp:
            assert [str(each.q.qname) for each in asked.asked] == ["www.Example.com."] * 2


def behind_the_alias(query: DNSRecord) -> list[bytes]:
    """`www.example.com` is another name of `edge.example.net`, which has an address; nothing else exists."""
    reply = query.reply(ra=1, aa=0)
    if str(query.q.qname).lower() != "www.example.com.":
        reply.header.rcode = dnslib.RCODE.NXDOMAIN
    elif query.q.qtype == dnslib.QTYPE.A:
        reply.add_answer(dnslib.RR(query.q.qname, dnslib.QTYPE.CNAME, rdata=dnslib.CNAME("edge.example.net"), ttl=9))
        reply.add_answer(dnslib.RR("edge.example.net", rdata=dnslib.A("192.0.2.80"), ttl=77))
    return [bytes(reply.pack())]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize(
    ("name", "type_", "outcome"),
    [
        ("away", "A", ["away 5 CNAME www", "www 9 CNAME edge", "edge 77 A 192.0.2.80"]),
        ("twice", "A", ["twice 5 CNAME away", "away 5 CNAME www", "www 9 CNAME edge", "edge 77 A 192.0.2.80"]),
        ("away", "AAAA", ["away 5 CNAME www"]),
        ("away", "CNAME", ["away 5 CNAME www"]),
        ("away", "SRV", []),
        ("nowhere", "A", []),
    ],
)
async def test_an_external_name_leads_out_of_the_cluster(
    loop: Loop, tcp: bool, name: str, type_: str, outcome: list[str]
) -> None:
    aliases = {"away": "www.example.com", "twice": f"away.default.{Z}", "nowhere": "missing.example.com"}
    client = ScriptedClient([*CLUSTER, *(external(each, target) for each, target in aliases.items())])
    client.release()
    async with upstream(behind_the_alias) as (_, there), agent(client, loop=loop, upstreams=[there]) as (dns, port):
        await dns.synced.wait()
        for _ in range(2):
            response = await ask(port, f"{name}.default.{Z}", type_, tcp=tcp)
            found = [f"{each.rname} {each.ttl} {dnslib.QTYPE[each.rtype]} {each.rdata}" for each in response.rr]
            assert [re.sub(r"\.(default|example)\S*", "", each) for each in found] == outcome
            assert (rcode(response), response.header.aa) == ("NOERROR", 1)
            assert bool(response.auth) == (not outcome), "NODATA says for how long"


async def test_upstreams_that_do_not_answer_are_a_failure() -> None:
    client = ScriptedClient([*CLUSTER, external("away", "www.example.com")])
    client.release()
    async with agent(client, upstreams=[NameServer(HOST, 9)]) as (dns, port):
        await dns.synced.wait()
        response = await ask(port, f"away.default.{Z}")
        assert (rcode(response), response.rr, len(response.auth)) == ("NOERROR", [], 1)
        assert rcode(await ask(port, "www.example.com")) == "SERVFAIL"
        assert rcode(await ask(port, "www.example.com", tcp=True)) == "SERVFAIL"


async def test_pending_questions_are_bounded() -> None:
    made = forwarder.Forwarder(
        [NameServer(HOST, 9)], zone=("z",), make_socket=make_host_socket, chance=Random(1), max_pending=0
    )
    packet = bytes(DNSRecord.question("www.example.com").pack())
    assert made.takes(packet)
    assert rcode(DNSRecord.parse(await made.answer(packet, Transport.UDP))) == "SERVFAIL"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("192.0.2.1", [("192.0.2.1", 53)]),
        ("192.0.2.1:5353,fd00::1", [("192.0.2.1", 5353), ("fd00::1", 53)]),
        ("host", [("192.0.2.7", 53), ("fd00::7", 53)]),
    ],
)
def test_upstreams_are_configured_by_address_or_from_the_host(
    text: str, found: list[tuple[str, int]], tmp_path: Path
) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("search x\n# nameserver 192.0.2.9\nnameserver 192.0.2.7\n  nameserver fd00::7 \n")
    upstreams = configured_upstreams(text, resolv_conf)
    assert [(each.address, each.port) for each in upstreams] == found


@pytest.mark.parametrize("text", ["example.com", "192.0.2.1:x", "192.0.2.1:1:2"])
def test_what_is_no_upstream_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give an address"):
        configured_upstreams(text, Path("/nonexistent"))

"""The guests' resolver against a DNS server made with dnslib: names, failures, forged and short answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

import pytest
from dnslib import CNAME, QTYPE, RCODE, RR, DNSQuestion, DNSRecord

from petset.petapp.dns_exchange import LookupFailure
from petset.petapp.resolver import ResolvConf, Resolver, ServiceRecord
from tests.wire.fake_dns import KUBIA, Answer, address, fake_dns, free_port, srv, zone

SEARCH = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")


def record(target: str, *addresses: str) -> ServiceRecord:
    return ServiceRecord(target=target, port=8080, priority=0, weight=50, addresses=addresses)


def resolver(port: int, **settings: object) -> Resolver:
    conf = {"search": SEARCH, "ndots": 5, "timeout_seconds": 10.0, "attempts": 1, "port": port} | settings
    return Resolver(ResolvConf(**conf), Random(1))  # type: ignore[arg-type]  # a table of settings


TWO_PEERS = (
    srv(KUBIA, f"kubia-0.{KUBIA}"),
    srv(KUBIA, f"kubia-1.{KUBIA}"),
    address(f"kubia-0.{KUBIA}", "127.0.0.11"),
    address(f"kubia-1.{KUBIA}", "fd00::11"),
)
TWO_RECORDS = [record(f"kubia-0.{KUBIA}", "127.0.0.11"), record(f"kubia-1.{KUBIA}", "fd00::11")]


@pytest.mark.parametrize(
    ("name", "records", "found", "asked"),
    [
        pytest.param(f"{KUBIA}.", TWO_PEERS, TWO_RECORDS, [KUBIA], id="absolute name, addresses of both families"),
        pytest.param("kubia", TWO_PEERS, TWO_RECORDS, [KUBIA], id="short name, first search domain"),
        pytest.param(
            "kubia.default",
            TWO_PEERS,
            TWO_RECORDS,
            ["kubia.default.default.svc.cluster.local", KUBIA],
            id="name and namespace, second search domain",
        ),
        pytest.param(
            KUBIA,
            TWO_PEERS,
            TWO_RECORDS,
            [f"{KUBIA}.{domain}" for domain in SEARCH] + [KUBIA],
            id="four dots are fewer than ndots, the whole list first",
        ),
        pytest.param(
            "kubia.",
            (srv("kubia.", "a.b"), address("c.d", "127.0.0.1")),
            [record("a.b")],
            ["kubia"],
            id="addresses of other names are not taken",
        ),
        pytest.param(
            "old.",
            (RR("old.", QTYPE.CNAME, rdata=CNAME("kubia.")), srv("kubia.", "a.b"), address("a.b", "127.0.0.1")),
            [record("a.b", "127.0.0.1")],
            ["old"],
            id="aliases are followed",
        ),
        pytest.param(
            "kubia.",
            (srv("kubia.", "a/b"), srv("kubia.", "."), srv("kubia.", "a.b")),
            [record("a.b")],
            ["kubia"],
            id="targets that are no host names are left out",
        ),
    ],
)
async def test_services_are_found(
    name: str, records: tuple[RR, ...], found: list[ServiceRecord], asked: list[str]
) -> None:
    async with fake_dns(zone(*records)) as server:
        assert await resolver(server.port).services(name) == found
    assert server.asked == [("udp", f"{one}.", "SRV") for one in asked]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(zone(), "kubia.default: no such name", id="NXDOMAIN of every candidate"),
        pytest.param(zone(existing=(KUBIA,)), f"{KUBIA} has no SRV records", id="the name exists"),
        pytest.param(lambda query: None, "no answer from 127.0.0.1 within 0.2 s", id="silence"),
        pytest.param(lambda query: b"no packet", "no answer from 127.0.0.1 within 0.2 s", id="garbage"),
        pytest.param(
            lambda query: DNSRecord(query.header, query.questions),
            "no answer from 127.0.0.1",
            id="an echo is no answer",
        ),
    ],
)
async def test_a_failed_lookup_says_why(answer: Answer, words: str) -> None:
    seconds = 0.2 if "no answer" in words else 10.0
    async with fake_dns(answer) as server:
        with pytest.raises(LookupFailure, match=f"^{re.escape(words)}"):
            await resolver(server.port, timeout_seconds=seconds).services("kubia.default")


def servfail(query: DNSRecord) -> DNSRecord:
    reply = query.reply()
    reply.header.rcode = RCODE.SERVFAIL
    return reply


async def test_a_failing_server_is_asked_as_often_as_the_options_say() -> None:
    async with fake_dns(servfail) as server:
        with pytest.raises(LookupFailure, match=r"127\.0\.0\.1 answered SERVFAIL for kubia"):
            await resolver(server.port, search=(), attempts=3).services("kubia")
    assert len(server.asked) == 3


async def test_a_refused_port_is_told_at_once() -> None:
    with pytest.raises(LookupFailure, match=r"127\.0\.0\.1 port \d+: Connection refused"):
        await resolver(free_port("127.0.0.1")).services("kubia")


async def test_the_next_server_is_asked_when_the_first_is_dead() -> None:
    async with fake_dns(zone(*TWO_PEERS)) as server:
        names = resolver(server.port, nameservers=("127.0.0.99", "127.0.0.1"))
        assert await names.services("kubia") == TWO_RECORDS


def cut_short(query: DNSRecord) -> bytes:
    """TC, and a packet that ends in the middle of its first record."""
    reply = zone(*TWO_PEERS)(query)
    assert isinstance(reply, DNSRecord)
    reply.header.tc = 1
    return bytes(reply.pack())[:60]


async def test_an_answer_that_was_cut_short_is_asked_again_by_tcp() -> None:
    peers = [srv(KUBIA, f"kubia-{number}.{KUBIA}") for number in range(200)]
    async with fake_dns(cut_short, tcp=zone(*peers)) as server:
        found = await resolver(server.port).services(f"{KUBIA}.")
    assert [one.target for one in found] == [f"kubia-{number}.{KUBIA}" for number in range(200)]
    assert [transport for transport, _, _ in server.asked] == ["udp", "tcp"]


async def test_an_answer_by_tcp_to_another_question_is_an_error() -> None:
    def other(query: DNSRecord) -> DNSRecord:
        reply = zone(*TWO_PEERS)(query)
        assert isinstance(reply, DNSRecord)
        reply.header.id ^= 1
        return reply

    async with fake_dns(cut_short, tcp=other) as server:
        with pytest.raises(LookupFailure, match="no answer to the question"):
            await resolver(server.port).services(f"{KUBIA}.")


def _with_other_id(reply: DNSRecord) -> None:
    reply.header.id ^= 1


def _with_other_question(reply: DNSRecord) -> None:
    reply.questions = [DNSQuestion("evil.example", QTYPE.SRV)]


def _with_other_type(reply: DNSRecord) -> None:
    reply.questions = [DNSQuestion(reply.q.qname, QTYPE.A)]


@pytest.mark.parametrize("spoil", [_with_other_id, _with_other_question, _with_other_type])
async def test_a_packet_that_answers_something_else_is_ignored(spoil: Callable[[DNSRecord], None]) -> None:
    def forged_then_true(query: DNSRecord) -> bytes:
        forged = zone(srv(KUBIA, "evil.example"))(query)
        true = zone(*TWO_PEERS)(query)
        assert isinstance(forged, DNSRecord)
        assert isinstance(true, DNSRecord)
        spoil(forged)
        return bytes(forged.pack()) + b"<next packet>" + bytes(true.pack())

    async with fake_dns(forged_then_true) as server:
        assert await resolver(server.port).services(f"{KUBIA}.") == TWO_RECORDS


async def test_the_question_may_come_back_in_other_letter_case() -> None:
    def loud(query: DNSRecord) -> DNSRecord:
        reply = zone(*TWO_PEERS)(query)
        assert isinstance(reply, DNSRecord)
        reply.q.qname = KUBIA.upper()
        return reply

    async with fake_dns(loud) as server:
        assert await resolver(server.port).services(f"{KUBIA}.") == TWO_RECORDS


async def test_a_name_that_no_packet_can_carry() -> None:
    with pytest.raises(LookupFailure, match="is not a DNS name"):
        await resolver(53).services("x" * 64)

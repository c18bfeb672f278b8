"""From packet to packet: message-level rules, and that no packet whatever does harm."""

from __future__ import annotations

import dnslib
import pytest
from dnslib import DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from petset.dns.answers import Answers, Authority
from petset.dns.responder import Responder, Transport
from tests.unit.dns.objects import directory_of, endpoint, endpoint_slice, external, namespace, service

Z = "svc.cluster.local"
CLUSTER = [
    namespace("default"),
    service("web", "10.96.0.7"),
    external("alias", f"many.default.{Z}"),
    service("many", "None"),
    endpoint_slice("many", *[endpoint(f"10.244.1.{number}", hostname=f"many-{number}") for number in range(40)]),
    service("pair", "None"),
    endpoint_slice("pair", endpoint("10.244.2.1", hostname="pair-0"), endpoint("10.244.2.2", hostname="pair-1")),
]


def make_responder() -> Responder:
    authority = Authority(("cluster", "local"), ("10.96.0.10",), 30, 30)
    return Responder(Answers(directory_of(CLUSTER), authority).answer)


def query(name: str = f"web.default.{Z}", type_: str = "A", *, edns: int | None = None, version: int = 0) -> DNSRecord:
    record = DNSRecord.question(name, type_)
    if edns is not None:
        record.add_ar(dnslib.EDNS0(udp_len=edns, version=version))
    return record


def ask(record: DNSRecord, transport: Transport = Transport.UDP, responder: Responder | None = None) -> DNSRecord:
    response = (responder or make_responder())(bytes(record.pack()), transport)
    assert response is not None
    parsed = DNSRecord.parse(response)
    assert parsed.header.id == record.header.id
    assert parsed.header.qr == 1
    assert parsed.header.ra == 0
    return parsed


def test_a_query_is_answered() -> None:
    response = ask(query())
    assert dnslib.RCODE[response.header.rcode] == "NOERROR"
    assert (response.header.aa, response.header.tc, response.header.rd) == (1, 0, 1)
    assert [str(each.rdata) for each in response.rr] == ["10.96.0.7"]
    assert response.ar == []


def opcode(number: int) -> DNSRecord:
    record = query()
    record.header.opcode = number
    return record


def of_class(number: int) -> DNSRecord:
    record = query()
    record.q.qclass = number
    return record


def questions(*names: str) -> DNSRecord:
    return DNSRecord(dnslib.DNSHeader(id=7), questions=[dnslib.DNSQuestion(name) for name in names])


@pytest.mark.parametrize(
    ("record", "rcode", "question_count"),
    [
        (opcode(1), "NOTIMP", 0),
        (opcode(2), "NOTIMP", 0),
        (opcode(5), "NOTIMP", 0),
        (opcode(4), "REFUSED", 1),
        (of_class(3), "REFUSED", 1),
        (of_class(255), "REFUSED", 1),
        (query("cluster.local", "AXFR"), "REFUSED", 1),
        (query("cluster.local", "IXFR"), "REFUSED", 1),
        (query("www.example.com"), "REFUSED", 1),
        (query(f"missing.default.{Z}"), "NXDOMAIN", 1),
        (questions(), "FORMERR", 0),
        (questions(f"web.default.{Z}", f"web.default.{Z}"), "FORMERR", 0),
    ],
    ids=[
        "inverse query", "status", "update", "notify", "class CH", "class ANY", "AXFR", "IXFR", "other zone",
        "no such name", "no question", "two questions",
    ],
)  # fmt: skip
def test_refusals(record: DNSRecord, rcode: str, question_count: int) -> None:
    response = ask(record)
    assert dnslib.RCODE[response.header.rcode] == rcode
    assert (len(response.questions), response.rr) == (question_count, [])
    assert response.header.aa == (rcode == "NXDOMAIN")
    assert response.header.opcode == record.header.opcode


@pytest.mark.parametrize("packet", [b"", b"\0" * 11, bytes(query().reply().pack())], ids=["empty", "short", "answer"])
def test_silence(packet: bytes) -> None:
    assert make_responder()(packet, Transport.UDP) is None


def test_unknown_edns_version() -> None:
    response = ask(query(edns=1232, version=1))
    [opt] = response.ar
    assert (response.header.rcode, opt.edns_rcode, opt.edns_ver) == (0, 1, 0)
    assert response.rr == []


def test_unknown_edns_options_are_ignored() -> None:
    record = query()
    cookie = dnslib.EDNSOption(10, bytes(8))
    record.add_ar(dnslib.EDNS0(udp_len=1232, opts=[cookie]))
    response = ask(record)
    [opt] = response.ar
    assert (len(response.rr), opt.rdata) == (1, [])


@pytest.mark.parametrize(
    ("edns", "transport", "limit", "truncated"),
    [
        (None, Transport.UDP, 512, True),
        (100, Transport.UDP, 512, True),
        (512, Transport.UDP, 512, True),
        (600, Transport.UDP, 600, True),
        (4096, Transport.UDP, 1232, True),
        (None, Transport.TCP, 65_535, False),
        (512, Transport.TCP, 65_535, False),
    ],
)
def test_size_limits(edns: int | None, transport: Transport, limit: int, truncated: bool) -> None:
    response = make_responder()(bytes(query(f"many.default.{Z}", "SRV", edns=edns).pack()), transport)
    assert response is not None
    assert len(response) <= limit
    assert bool(DNSRecord.parse(response).header.tc) is truncated


def test_address_lists_take_turns() -> None:
    responder = make_responder()
    firsts = [str(ask(query(f"pair.default.{Z}"), responder=responder).rr[0].rdata) for _ in range(4)]
    assert firsts == ["10.244.2.1", "10.244.2.2"] * 2


def test_srv_records_keep_their_order() -> None:
    responder = make_responder()
    targets = [
        [str(each.rdata.target) for each in ask(query(f"pair.default.{Z}", "SRV"), responder=responder).rr]
        for _ in range(2)
    ]
    assert targets[0] == targets[1] == [f"pair-0.pair.default.{Z}.", f"pair-1.pair.default.{Z}."]


def test_a_cname_stays_first() -> None:
    responder = make_responder()
    for _ in range(3):
        response = ask(query(f"alias.default.{Z}"), Transport.TCP, responder)
        assert [each.rtype for each in response.rr] == [dnslib.QTYPE.CNAME] + [dnslib.QTYPE.A] * 40


NAMES = [
    f"web.default.{Z}", f"many.default.{Z}", f"_http._tcp.many.default.{Z}", f"many-3.many.default.{Z}",
    f"alias.default.{Z}", "10-244-1-2.default.pod.cluster.local", "cluster.local", "dns-version.cluster.local",
    "7.0.96.10.in-addr.arpa", "www.example.com", f"missing.default.{Z}",
]  # fmt: skip
RESPONDER = make_responder()


def check(packet: bytes, transport: Transport) -> None:
    """What holds for the response to any bytes whatever."""
    response = RESPONDER(packet, transport)
    if len(packet) < 12 or packet[2] & 0x80:
        assert response is None, "never answer an answer"
        return
    assert response is not None
    assert response[:2] == packet[:2]
    assert response[2] & 0x80
    assert len(response) <= (1232 if transport is Transport.UDP else 65_535)
    assert RESPONDER(response, transport) is None


transports = st.sampled_from(Transport)
FUZZ = settings(max_examples=200)


@FUZZ
@given(st.binary(max_size=600), transports)
def test_random_bytes_do_no_harm(packet: bytes, transport: Transport) -> None:
    check(packet, transport)


@FUZZ
@given(st.binary(max_size=300), transports)
def test_random_bytes_behind_a_query_header_do_no_harm(tail: bytes, transport: Transport) -> None:
    check(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01" + tail, transport)


@FUZZ
@given(
    st.sampled_from(NAMES),
    st.one_of(st.sampled_from([1, 2, 5, 6, 12, 16, 28, 33, 41, 255]), st.integers(0, 0xFFFF)),
    st.sampled_from([None, 0, 512, 1232, 65_535]),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    st.integers(0, 120),
    transports,
)
def test_mutated_queries_do_no_harm(
    name: str, type_: int, edns: int | None, changes: list[tuple[int, int]], cut: int, transport: Transport
) -> None:
    record = DNSRecord(questions=[dnslib.DNSQuestion(name, type_)])
    if edns is not None:
        record.add_ar(dnslib.EDNS0(udp_len=edns))
    packet = bytearray(record.pack())
    for position, value in changes:
        packet[position % len(packet)] = value
    check(bytes(packet[: len(packet) - cut] if cut < 20 else packet), transport)


@FUZZ
@given(st.sampled_from(NAMES), st.integers(0, 0xFFFF), st.sampled_from([None, 512, 4096]), transports)
def test_every_response_to_a_proper_query_can_be_read(
    name: str, type_: int, edns: int | None, transport: Transport
) -> None:
    record = DNSRecord(questions=[dnslib.DNSQuestion(name, type_)])
    if edns is not None:
        record.add_ar(dnslib.EDNS0(udp_len=edns))
    response = RESPONDER(bytes(record.pack()), transport)
    assert response is not None
    parsed = DNSRecord.parse(response)
    assert parsed.q == record.q
    assert len([each for each in parsed.ar if each.rtype == dnslib.QTYPE.OPT]) == (edns is not None)

"""Bytes: dnslib reads what we write, sizes are those of other servers, cuts fall between records."""

from __future__ import annotations

import struct

import dnslib
import pytest
from dnslib import DNSRecord

from petset.dns.names import Name
from petset.dns.records import AAAA, CNAME, NS, PTR, SOA, SRV, TXT, A, Answer, Data, Rcode, Record
from petset.dns.wire import MalformedQuery, Query, read_header, read_query, write_error, write_response
from tests.unit.dns.objects import labels_of_text, line

KUBIA = labels_of_text("kubia.default.svc.cluster.local")
HTTP = ("_http", "_tcp", *KUBIA)


def question(name: str = "kubia.default.svc.cluster.local", type_: str = "A", *, edns: int = 0) -> bytes:
    record = DNSRecord.question(name, type_)
    record.header.id = 0x1234
    if edns:
        record.add_ar(dnslib.EDNS0(udp_len=edns))
    return bytes(record.pack())


def read(packet: bytes) -> Query:
    header = read_header(packet)
    assert header is not None
    return read_query(packet, header)


def peers(count: int) -> Answer:
    """`_http._tcp` SRV records of this many pods, with an A record each."""
    targets = [(f"kubia-{number}", *KUBIA) for number in range(count)]
    return Answer(
        Rcode.NOERROR,
        answer=tuple(Record(HTTP, 30, SRV(0, 1, 8080, target)) for target in targets),
        additional=tuple(
            Record(target, 30, A(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"))
            for number, target in enumerate(targets)
        ),
    )


def addresses(count: int) -> Answer:
    return Answer(Rcode.NOERROR, tuple(Record(KUBIA, 30, A(f"10.0.{n >> 8}.{n & 255}")) for n in range(count)))


def as_lines(records: list[dnslib.RR]) -> list[str]:
    return [f"{each.rname} {each.ttl} {dnslib.QTYPE[each.rtype]} {each.rdata}" for each in records]


@pytest.mark.parametrize(
    "data",
    [
        A("10.244.1.2"),
        AAAA("fd00:244::a"),
        SRV(0, 33, 8080, ("kubia-0", *KUBIA)),
        PTR(("kubia-0", *KUBIA)),
        CNAME(labels_of_text("db.example.com")),
        NS(labels_of_text("kube-dns.kube-system.svc.cluster.local")),
        TXT("1.1.0"),
    ],
    ids=lambda data: data.type.name,
)
def test_dnslib_reads_each_type(data: Data) -> None:
    record = Record(KUBIA, 30, data)
    parsed = DNSRecord.parse(write_response(read(question()), Answer(Rcode.NOERROR, (record,)), limit_bytes=512))
    assert as_lines(parsed.rr) == [line(record)]


def test_dnslib_reads_a_start_of_authority() -> None:
    zone: Name = ("cluster", "local")
    soa = Record(zone, 30, SOA(("ns", "dns", *zone), ("hostmaster", *zone), 7, 7200, 1800, 86400, 30))
    parsed = DNSRecord.parse(
        write_response(read(question()), Answer(Rcode.NXDOMAIN, authority=(soa,)), limit_bytes=512)
    )
    [found] = parsed.auth
    assert (str(found.rname), found.ttl, found.rdata.times) == ("cluster.local.", 30, (7, 7200, 1800, 86400, 30))
    assert (str(found.rdata.mname), str(found.rdata.rname)) == ("ns.dns.cluster.local.", "hostmaster.cluster.local.")


@pytest.mark.parametrize(("count", "size"), [(1, 135), (2, 210), (3, 285), (6, 510)])
def test_sizes_of_compressed_peers(count: int, size: int) -> None:
    """As knotd: owners are pointers, also into SRV targets, which are written out."""
    query = read(question("_http._tcp.kubia.default.svc.cluster.local", "SRV"))
    response = write_response(query, peers(count), limit_bytes=512)
    assert len(response) == size
    parsed = DNSRecord.parse(response)
    assert as_lines(parsed.rr) == [line(each) for each in peers(count).answer]
    assert as_lines(parsed.ar) == [line(each) for each in peers(count).additional]


@pytest.mark.parametrize(
    ("answer", "edns", "limit", "counts"),
    [
        (peers(6), 0, 512, (6, 6, False)),
        (peers(7), 0, 512, (7, 2, True)),
        (peers(30), 0, 512, (7, 0, True)),
        (peers(15), 1232, 1232, (15, 15, False)),
        (peers(16), 1232, 1232, (16, 13, True)),
        (addresses(28), 0, 512, (28, 0, False)),
        (addresses(29), 0, 512, (28, 0, True)),
        (addresses(73), 1232, 1232, (73, 0, False)),
        (addresses(74), 1232, 1232, (73, 0, True)),
    ],
    ids=[
        "6 peers fit 512", "7 do not", "answers are kept first", "15 peers fit 1232", "16 do not",
        "28 addresses fit 512", "29 do not", "73 addresses fit 1232", "74 do not",
    ],
)  # fmt: skip
def test_what_does_not_fit_is_cut_between_records(
    answer: Answer, edns: int, limit: int, counts: tuple[int, int, bool]
) -> None:
    name = ".".join(answer.answer[0].name)
    packet = question(name, answer.answer[0].data.type.name, edns=edns)
    response = write_response(read(packet), answer, limit_bytes=limit)
    assert len(response) <= limit
    parsed = DNSRecord.parse(response)
    opts = [each for each in parsed.ar if each.rtype == dnslib.QTYPE.OPT]
    assert (len(parsed.rr), len(parsed.ar) - len(opts), bool(parsed.header.tc)) == counts
    assert len(opts) == bool(edns), "the OPT record is never cut"
    assert response[12:].startswith(packet[12 : len(packet) - (11 if edns else 0)]), "nor is the question"


def test_no_pointer_leads_past_16_kib() -> None:
    """400 peers are some 40 KB; dnslib, which fails on its own message of this length, reads ours."""
    query = read(question("_http._tcp.kubia.default.svc.cluster.local", "SRV"))
    response = write_response(query, peers(400), limit_bytes=65_535)
    assert len(response) > 0x4000
    parsed = DNSRecord.parse(response)
    assert as_lines(parsed.rr) == [line(each) for each in peers(400).answer]
    assert as_lines(parsed.ar) == [line(each) for each in peers(400).additional]


def test_a_stream_message_is_cut_at_64_kib() -> None:
    query = read(question("_http._tcp.kubia.default.svc.cluster.local", "SRV"))
    response = write_response(query, peers(1000), limit_bytes=65_535)
    parsed = DNSRecord.parse(response)
    assert 65_535 - 100 < len(response) <= 65_535
    assert parsed.header.tc
    assert len(parsed.rr) == 1000


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(0x0100, 0x8100), (0x0000, 0x8000), (0x0010, 0x8010), (0x0020, 0x8000), (0x0080, 0x8000), (0x2000, 0xA000)],
    ids=["RD is copied", "no RD", "CD is copied", "AD is not", "RA is never set", "opcode is copied"],
)
def test_flags_of_a_response(sent: int, kept: int) -> None:
    packet = bytearray(question())
    packet[2:4] = struct.pack("!H", sent)
    header = read_header(bytes(packet))
    assert header is not None
    response = write_response(read_query(bytes(packet), header), Answer(Rcode.NOERROR), limit_bytes=512)
    assert struct.unpack_from("!HH", response) == (0x1234, kept | 0x0400)
    assert struct.unpack("!HHHHHH", write_error(header, Rcode.NOTIMP)) == (0x1234, kept | 4, 0, 0, 0, 0)


def test_extended_rcode_is_split_between_header_and_opt() -> None:
    response = write_response(read(question(edns=4096)), Answer(Rcode.BADVERS, authoritative=False), limit_bytes=512)
    parsed = DNSRecord.parse(response)
    [opt] = parsed.ar
    assert (parsed.header.rcode, opt.edns_rcode, opt.edns_ver, opt.edns_len) == (0, 1, 0, 1232)


@pytest.mark.parametrize("flags", ["do", ""])
def test_dnssec_ok_is_copied(flags: str) -> None:
    record = DNSRecord.question("kubia.default.svc.cluster.local")
    record.add_ar(dnslib.EDNS0(udp_len=1232, flags=flags))
    [opt] = DNSRecord.parse(write_response(read(bytes(record.pack())), Answer(Rcode.NOERROR), limit_bytes=512)).ar
    assert opt.edns_do == bool(flags)


def test_question_returns_with_its_letters() -> None:
    packet = question("KuBiA.dEfault.SVC.clUster.LOcal")
    query = read(packet)
    assert query.name == KUBIA
    response = write_response(query, addresses(1), limit_bytes=512)
    assert response[12 : len(packet)] == packet[12:]
    assert str(DNSRecord.parse(response).rr[0].rname) == "KuBiA.dEfault.SVC.clUster.LOcal."


HEAD = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
ROOT_A = b"\0\0\1\0\1"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def with_records(count: int, records: bytes) -> bytes:
    return HEAD[:10] + bytes([0, count]) + ROOT_A + records


@pytest.mark.parametrize(
    "packet",
    [
        HEAD,
        HEAD[:5] + b"\0" + HEAD[6:] + ROOT_A,
        HEAD[:5] + b"\2" + HEAD[6:] + ROOT_A * 2,
        HEAD + b"\x05kub",
        HEAD + b"\x05kubia",
        HEAD + b"\x05kubia\0\0\1",
        HEAD + b"\xc0\x0c\0\1\0\1",
        HEAD + b"\x03www\xc0\x0c\0\1\0\1",
        HEAD + b"\x40" + b"a" * 64 + ROOT_A,
        HEAD + (b"\x3f" + b"a" * 63) * 4 + ROOT_A,
        with_records(1, b""),
        with_records(1, OPT[:-1]),
        with_records(1, OPT[:-1] + b"\1"),
        with_records(2, OPT + OPT),
        with_records(1, b"\1x" + OPT),
        with_records(1, b"\x80" + OPT),
    ],
    ids=[
        "no question", "QDCOUNT 0", "QDCOUNT 2", "label cut short", "name without end", "class cut short",
        "pointer to itself", "pointer in the name", "label of 64", "name of 257 bytes", "record missing",
        "record cut short", "data cut short", "two OPT", "OPT with a name", "reserved label type",
    ],
)  # fmt: skip
def test_malformed_queries(packet: bytes) -> None:
    with pytest.raises(MalformedQuery):
        read(packet)


@pytest.mark.parametrize(
    ("packet", "name"),
    [
        (HEAD + b"\x02\xff\xfe" + ROOT_A, ("\xff\xfe",)),
        (HEAD + b"\x02a." + ROOT_A, ("a.",)),
        (HEAD + b"\x02\xc4\xb0" + ROOT_A, ("\xc4\xb0",)),
        (HEAD + (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + ROOT_A, ("a" * 63,) * 3 + ("a" * 61,)),
        (HEAD + ROOT_A + b"trailing", ()),
    ],
    ids=["not UTF-8", "dot in a label", "only ASCII has case", "255 bytes", "bytes behind the message"],
)
def test_odd_but_well_formed_queries(packet: bytes, name: Name) -> None:
    query = read(packet)
    assert query.name == name
    assert write_response(query, Answer(Rcode.REFUSED), limit_bytes=512)[12:] == query.question


def test_other_records_may_surround_the_opt() -> None:
    txt = b"\xc0\x0c\0\x10\0\1\0\0\0\0\0\2\1x"
    query = read(with_records(3, txt + OPT + txt))
    assert query.edns is not None
    assert (query.edns.payload_bytes, query.edns.version) == (1232, 0)


def test_crossed_pointers_are_not_followed() -> None:
    """Two names that point into each other send a following reader round for ever (dnslib: RecursionError)."""
    filler = (b"\x3f" + b"a" * 63) * 10
    start = len(HEAD) + len(filler)
    crossed = bytes([3, 6]) + b"aa" + struct.pack("!H", 0xC000 | start + 1) + b"aa" + struct.pack("!H", 0xC000 | start)
    packet = HEAD + filler + crossed + b"\0\1\0\1"
    with pytest.raises(RecursionError):
        DNSRecord.parse(packet)
    with pytest.raises(MalformedQuery):
        read(packet)


def test_too_short_for_a_header() -> None:
    assert read_header(HEAD[:11]) is None

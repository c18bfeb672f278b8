"""The wire cache: every response is the responder's, and none outlives what it was made from."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator

import dnslib
import pytest
from dnslib import DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from petset.cluster.api.objects import Object
from petset.dns import wire
from petset.dns.answers import Answers, Authority
from petset.dns.cache import MAX_PACKETS, MAX_TURNS, WireCache
from petset.dns.directory import Directory, Reader
from petset.dns.responder import Responder, Transport, count_turns, next_response
from tests.unit.dns.objects import directory_of, endpoint, endpoint_slice, external, namespace, service

Z = "svc.cluster.local"
AUTHORITY = Authority(("cluster", "local"), ("10.96.0.10",), 5, 5)


def pods(name: str, count: int, *, first: int = 0) -> Object:
    numbers = range(first, first + count)
    return endpoint_slice(name, *[endpoint(f"10.244.1.{each + 1}", hostname=f"{name}-{each}") for each in numbers])


CLUSTER = [
    namespace("default"),
    namespace("other"),
    service("web", "10.96.0.7"),
    service("kubia", "None"),
    pods("kubia", 3),
    service("many", "None"),
    pods("many", 20, first=100),
    service("crowd", "None"),
    pods("crowd", 40, first=150),
    external("alias", f"many.default.{Z}"),
    external("dangling", f"nobody.default.{Z}"),
    external("away", "www.example.com"),
    service("kube-dns", "10.96.0.10", namespace="kube-system"),
]
NAMES = [
    "cluster.local", "dns-version.cluster.local", "ns.dns.cluster.local", "svc.cluster.local", f"default.{Z}",
    f"nowhere.{Z}", f"web.default.{Z}", f"kubia.default.{Z}", f"kubia-1.kubia.default.{Z}", f"_tcp.kubia.default.{Z}",
    f"_http._tcp.kubia.default.{Z}", f"_http._udp.kubia.default.{Z}", f"many.default.{Z}", f"crowd.default.{Z}",
    f"alias.default.{Z}", f"dangling.default.{Z}", f"away.default.{Z}", f"missing.default.{Z}",
    f"web.default.{Z}.default.{Z}",
    "10-244-1-2.default.pod.cluster.local", "7.0.96.10.in-addr.arpa", "1.1.244.10.in-addr.arpa",
    "9.9.9.9.in-addr.arpa", "www.example.com", "",
]  # fmt: skip
TYPES = ["A", "AAAA", "SRV", "CNAME", "PTR", "TXT", "SOA", "NS", "ANY", "HTTPS", "AXFR"]


def cache_of(directory: Directory, *, max_packets: int = MAX_PACKETS) -> WireCache:
    reader = Reader(directory)
    return WireCache(Responder(Answers(reader, AUTHORITY).answer), reader, max_packets=max_packets)


def responder_of(directory: Directory) -> Responder:
    return Responder(Answers(directory, AUTHORITY).answer)


def asked(cache: WireCache, packet: bytes) -> bytes | None:
    """As a UDP loop asks."""
    found = cache.hot.get(packet[2:])
    return packet[:2] + next_response(found) if found is not None else cache.answer(packet)


def query(name: str = f"web.default.{Z}", type_: str | int = "A", *, edns: dnslib.EDNS0 | None = None) -> bytes:
    number = type_ if isinstance(type_, int) else getattr(dnslib.QTYPE, type_)
    record = DNSRecord(dnslib.DNSHeader(id=0x1234, rd=1), questions=[dnslib.DNSQuestion(name, number)])
    if edns is not None:
        record.add_ar(edns)
    return bytes(record.pack())


def with_edns(packet: bytes, *, size: int, options: bytes = b"", do: bool = False, version: int = 0) -> bytes:
    opt = struct.pack("!BHHBBHH", 0, 41, size, 0, version, 0x8000 if do else 0, len(options)) + options
    return packet[:11] + b"\1" + packet[12:] + opt


def in_odd_case(packet: bytes) -> bytes:
    end = packet.index(0, 12)
    mixed = bytes(byte - 32 if 97 <= byte <= 122 and at % 2 else byte for at, byte in enumerate(packet[12:end]))
    return packet[:12] + mixed + packet[end:]


COOKIE = bytes([0, 10, 0, 8]) + bytes(8)
VARIANTS: dict[str, Callable[[bytes], bytes]] = {
    "no EDNS": lambda packet: packet,
    "RD off, CD and AD on": lambda packet: packet[:2] + b"\0\x30" + packet[4:],
    "0x20": in_odd_case,
    "EDNS 1232": lambda packet: with_edns(packet, size=1232),
    "EDNS 4096": lambda packet: with_edns(packet, size=4096),
    "EDNS 100": lambda packet: with_edns(packet, size=100),
    "EDNS 900": lambda packet: with_edns(packet, size=900),
    "DNSSEC OK": lambda packet: with_edns(packet, size=1232, do=True),
    "cookie": lambda packet: with_edns(packet, size=1232, options=COOKIE),
    "0x20 and cookie": lambda packet: with_edns(in_odd_case(packet), size=1200, options=COOKIE),
    "EDNS version 1": lambda packet: with_edns(packet, size=1232, version=1),
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_response_is_the_responders(variant: Callable[[bytes], bytes]) -> None:
    directory = directory_of(CLUSTER)
    cache, responder = cache_of(directory), responder_of(directory)
    for name in NAMES:
        for type_ in TYPES:
            packet = variant(query(name, type_))
            header = wire.read_header(packet)
            assert header is not None
            turns = count_turns(responder.answer(wire.read_query(packet, header)))
            every = {responder(packet, Transport.UDP) for _ in range(turns)}
            got = [asked(cache, packet) for _ in range(2 * turns)]
            assert set(got) == every, (name, type_)
            assert got[:turns] == got[turns:], "every order has its turn"


def test_what_was_seen_is_hot_and_only_the_usual_is() -> None:
    cache = cache_of(directory_of(CLUSTER))
    plain = query()
    for packet in (plain, with_edns(plain, size=1232)):
        cache.answer(packet)
        assert packet[2:] in cache.hot
    for packet in (in_odd_case(plain), with_edns(plain, size=1232, options=COOKIE), with_edns(plain, size=900)):
        cache.answer(packet)
        assert packet[2:] not in cache.hot
    assert len(cache.hot) == 2


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(b"", id="empty"),
        pytest.param(query()[:11], id="half a header"),
        pytest.param(query()[:-3], id="question cut short"),
        pytest.param(query() + b"\0", id="more than a query"),
        pytest.param(query()[:4] + b"\0\2" + query()[6:], id="two questions"),
        pytest.param(query()[:2] + b"\x80" + query()[3:], id="an answer"),
        pytest.param(query()[:2] + b"\x10" + query()[3:], id="another opcode"),
        pytest.param(query()[:12] + b"\xc0\x0c\0\1\0\1\0", id="a pointer to itself"),
        pytest.param(query()[:12] + b"\3a\0b\1c\0\0\1\0\1", id="a zero byte in a label"),
        pytest.param(query()[:12] + b"\5a\0\0\1\0\1", id="a label that reaches into the type"),
        pytest.param(with_edns(query(), size=1232, options=b"\0\1") + b"\0", id="behind the OPT"),
    ],
)
def test_an_odd_packet_is_the_responders_and_leaves_no_trace(packet: bytes) -> None:
    directory = directory_of(CLUSTER)
    cache = cache_of(directory)
    assert asked(cache, packet) == responder_of(directory)(packet, Transport.UDP)
    assert (len(cache), cache.hot) == (0, {})


def test_nothing_is_kept_before_everything_is_known() -> None:
    directory = directory_of(CLUSTER, synced=False)
    cache = cache_of(directory)
    missing = query(f"missing.default.{Z}")
    response = asked(cache, missing)
    assert response is not None
    assert DNSRecord.parse(response).header.rcode == dnslib.RCODE.SERVFAIL
    directory.synced = True
    response = asked(cache, missing)
    assert response is not None
    assert DNSRecord.parse(response).header.rcode == dnslib.RCODE.NXDOMAIN


def every_packet() -> Iterator[bytes]:
    for name in NAMES:
        if name.startswith("crowd"):
            continue  # Cut short: which addresses are left changes with each turn.
        for type_ in ("A", "SRV", "PTR", "NS", "TXT"):
            yield query(name, type_)
            yield with_edns(in_odd_case(query(name, type_)), size=1232, options=COOKIE)


def without_serials(response: bytes | None) -> object:
    """A response without the SOA serial, which numbers the state that it was made from."""
    assert response is not None
    parsed = DNSRecord.parse(response)
    for record in (*parsed.rr, *parsed.auth):
        if record.rtype == dnslib.QTYPE.SOA:
            record.rdata.times = (0, *record.rdata.times[1:])
    return [*map(str, (parsed.header, *parsed.questions)), *sorted(map(str, (*parsed.rr, *parsed.auth, *parsed.ar)))]


CHANGES: dict[str, tuple[list[Object], list[Object]]] = {
    "an endpoint leaves": ([pods("kubia", 2)], []),
    "an endpoint comes": ([pods("kubia", 4)], []),
    "an endpoint changes its address": ([pods("kubia", 3, first=7)], []),
    "a second slice": ([endpoint_slice("kubia", endpoint("10.244.9.9"), suffix="zzzzz")], []),
    "a slice goes": ([], [pods("kubia", 3)]),
    "a service goes": ([], [service("web", "10.96.0.7")]),
    "a missing service comes": ([service("missing", "10.96.0.99")], []),
    "a service becomes headless": ([service("web", "None")], []),
    "a service takes an endpoint's address": ([service("web", "10.244.1.1")], []),
    "a port gets another name": ([service("web", "10.96.0.7", ports=[{"name": "x", "port": 1}])], []),
    "the end of an alias changes": ([pods("many", 2)], []),
    "an alias leads elsewhere": ([external("alias", f"kubia.default.{Z}")], []),
    "a dangling alias finds its target": ([service("nobody", "10.96.0.98")], []),
    "a namespace comes": ([namespace("nowhere")], []),
    "a namespace goes": ([], [namespace("default")]),
    "the server's own service goes": ([], [service("kube-dns", "10.96.0.10", namespace="kube-system")]),
    "an address gets a name": ([service("nine", "9.9.9.9")], []),
}


def fill(cache: WireCache) -> None:
    for packet in every_packet():
        asked(cache, packet)


def apply(directory: Directory, cache: WireCache, put: Iterable[Object], discard: Iterable[Object]) -> None:
    for obj in put:
        cache.forget(directory.put(obj))
    for obj in discard:
        cache.forget(directory.discard(obj))


@pytest.mark.parametrize(("put", "discard"), CHANGES.values(), ids=CHANGES.keys())
def test_no_answer_outlives_its_change(put: list[Object], discard: list[Object]) -> None:
    directory = directory_of(CLUSTER)
    cache, responder = cache_of(directory), responder_of(directory)
    fill(cache)
    before = len(cache)
    apply(directory, cache, put, discard)
    assert 0 < len(cache) < before, "some answers are dropped, and only some"
    for packet in every_packet():
        assert without_serials(asked(cache, packet)) == without_serials(responder(packet, Transport.UDP))


def test_a_change_that_no_query_sees_drops_nothing() -> None:
    directory = directory_of(CLUSTER)
    cache = cache_of(directory)
    fill(cache)
    before = len(cache)
    labelled = service("web", "10.96.0.7")
    labelled["metadata"]["labels"] = {"new": "label"}
    apply(directory, cache, [labelled, pods("kubia", 3)], [])
    assert len(cache) == before


def test_everything_dropped_leaves_nothing_behind() -> None:
    directory = directory_of(CLUSTER)
    cache = cache_of(directory)
    for _ in range(3):
        fill(cache)
        apply(directory, cache, [], CLUSTER)
        apply(directory, cache, CLUSTER, [])
    cache.forget(topic for topic in list(cache._keys_of))
    independent = {key for key in cache._entries if not cache._entries[key].topics}
    assert set(cache._entries) == independent
    assert cache._keys_of == {}
    assert len(cache) == len(independent) + len(cache.hot)


def test_the_cache_is_bounded_under_names_without_end() -> None:
    cache = cache_of(directory_of(CLUSTER), max_packets=50)
    for number in range(500):
        packet = query(f"name-{number}.default.{Z}")
        response = asked(cache, packet)
        assert response is not None
        assert response[3] & 0xF == dnslib.RCODE.NXDOMAIN
        assert len(cache) <= 50
        assert len(cache.hot) + len(cache._entries) == len(cache) >= len(cache._keys_of)


def test_large_answers_keep_a_bounded_number_of_orders() -> None:
    objects = [namespace("default"), service("huge", "None")]
    addresses = [endpoint(f"10.244.{number // 250}.{number % 250 + 1}") for number in range(300)]
    cache = cache_of(directory_of([*objects, endpoint_slice("huge", *addresses)]))
    packet = query(f"huge.default.{Z}")
    responses = [asked(cache, packet) for _ in range(300)]
    assert len(set(responses)) == MAX_TURNS
    assert len(cache) == MAX_TURNS + 1


FUZZ = settings(max_examples=300)
FUZZED_DIRECTORY = directory_of(CLUSTER)
FUZZED = cache_of(FUZZED_DIRECTORY)


@FUZZ
@given(
    st.sampled_from(NAMES),
    st.integers(0, 0xFFFF),
    st.sampled_from(list(VARIANTS.values())),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    st.integers(0, 120),
)
def test_mutated_queries_get_what_the_responder_says(
    name: str, type_: int, variant: Callable[[bytes], bytes], changes: list[tuple[int, int]], cut: int
) -> None:
    packet = bytearray(variant(query(name, type_)))
    for position, value in changes:
        packet[position % len(packet)] = value
    mutated = bytes(packet[: len(packet) - cut] if cut < 20 else packet)
    got, expected = asked(FUZZED, mutated), responder_of(FUZZED_DIRECTORY)(mutated, Transport.UDP)
    if got != expected and not (got and got[2] & 0x02):
        assert without_serials(got) == without_serials(expected), "another order of the same records"

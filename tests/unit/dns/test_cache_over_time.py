"""The wire cache while the cluster changes: no answer outlives its change, or it does for exactly as long as told."""

from __future__ import annotations

import pytest
from dnslib import DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from petset.cluster.api.objects import Object
from petset.dns.answers import Answers, Authority
from petset.dns.cache import WireCache
from petset.dns.directory import Directory, Reader
from petset.dns.responder import Responder, Transport
from tests.unit.dns.objects import directory_of, endpoint, endpoint_slice
from tests.unit.dns.test_cache import (
    CHANGES,
    CLUSTER,
    Z,
    asked,
    cache_of,
    every_packet,
    query,
    responder_of,
    without_serials,
)

PACKETS = list(every_packet())
SEVERAL_PACKETS = st.lists(st.sampled_from(PACKETS), min_size=8, max_size=16)
SEVERAL_CHANGES = st.lists(st.sampled_from([*CHANGES, "back to the beginning"]), min_size=1, max_size=8)
TTL_SECONDS, NEGATIVE_TTL_SECONDS = 5, 30
LATE = f"kubia-9.kubia.default.{Z}"
LATE_POD = endpoint_slice("kubia", endpoint("10.244.9.9", hostname="kubia-9"), suffix="late")


def change(directory: Directory, cache: WireCache, put: list[Object], discard: list[Object]) -> None:
    for obj in put:
        cache.forget(directory.put(obj))
    for obj in discard:
        cache.forget(directory.discard(obj))


@settings(max_examples=60)
@given(SEVERAL_PACKETS, SEVERAL_CHANGES)
def test_whatever_was_asked_before_an_answer_is_of_the_present(packets: list[bytes], changes: list[str]) -> None:
    directory = directory_of(CLUSTER)
    cache, responder = cache_of(directory), responder_of(directory)
    for each in changes:
        for packet in packets:
            got, expected = asked(cache, packet), responder(packet, Transport.UDP)
            assert without_serials(got) == without_serials(expected)
        change(directory, cache, *CHANGES.get(each, (CLUSTER, [])))


class Kept:
    """A cache that keeps answers, at a time that the test sets."""

    def __init__(self, keep_seconds: int) -> None:
        self.time = 1000.0
        self.directory = directory_of(CLUSTER)
        reader = Reader(self.directory)
        authority = Authority(("cluster", "local"), ("10.96.0.10",), TTL_SECONDS, NEGATIVE_TTL_SECONDS)
        responder = Responder(Answers(reader, authority).answer)
        self.cache = WireCache(responder, reader, keep_seconds=keep_seconds, now=lambda: self.time)

    def addresses(self, name: str) -> list[str]:
        response = asked(self.cache, query(name))
        assert response is not None
        return [str(each.rdata) for each in DNSRecord.parse(response).rr]

    def let_pass(self, seconds: float) -> float | None:
        self.time += seconds
        return self.cache.forget_overdue()


@pytest.mark.parametrize(
    ("keep_seconds", "kept_seconds"),
    [(0, 0), (3, 3), (30, 30), (60, NEGATIVE_TTL_SECONDS)],
    ids=["not at all", "a while", "as real clusters do", "no longer than its time to live"],
)
def test_a_peer_that_was_asked_for_too_early_does_not_exist_for_a_while(keep_seconds: int, kept_seconds: int) -> None:
    kept = Kept(keep_seconds)
    assert kept.addresses(LATE) == []
    change(kept.directory, kept.cache, [LATE_POD], [])
    if kept_seconds:
        assert kept.addresses(LATE) == []
        assert kept.let_pass(kept_seconds - 0.1) == pytest.approx(1000.0 + kept_seconds)
        assert kept.addresses(LATE) == []
    assert kept.let_pass(0.1) is None
    assert kept.addresses(LATE) == ["10.244.9.9"]


def test_an_address_that_is_gone_is_kept_for_its_own_time_to_live() -> None:
    kept = Kept(keep_seconds=60)
    assert kept.addresses(f"web.default.{Z}") == ["10.96.0.7"]
    change(kept.directory, kept.cache, *CHANGES["a service goes"])
    kept.let_pass(TTL_SECONDS - 0.1)
    assert kept.addresses(f"web.default.{Z}") == ["10.96.0.7"]
    kept.let_pass(0.1)
    assert kept.addresses(f"web.default.{Z}") == []


def test_what_was_not_asked_before_its_change_is_answered_as_it_is() -> None:
    kept = Kept(keep_seconds=60)
    change(kept.directory, kept.cache, [LATE_POD], [])
    assert kept.addresses(LATE) == ["10.244.9.9"]

"""What benchmarks/dns_latency.py makes of its measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks import dns_latency
from benchmarks.dns_latency import Estimate, Spread, ask_at_pace


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([3.0, 1.0, 2.0], Estimate(2.0, 1.0, 3.0), id="of few, all there is"),
        # Of six coins all fall alike in 1 of 32 cases, 3.1 %.
        pytest.param(range(6), Estimate(2.5, 0, 5), id="of six, the outermost"),
        # Tables of the sign test: the 40th and the 61st of 100.
        pytest.param(range(1, 101), Estimate(50.5, 40, 61), id="of a hundred, as in the tables"),
    ],
)
def test_the_interval_of_a_median(values: Sequence[float], expected: Estimate) -> None:
    assert Estimate.of(values) == expected


def test_a_spread_names_the_slowest_percent_and_permille() -> None:
    assert Spread.of([float(number) for number in range(1000)][::-1]) == Spread(500.0, 900.0, 990.0, 999.0)


class Echo:
    """A socket whose server answers at once, last come first served, and never to some."""

    def __init__(self, *, silent_to: set[int]) -> None:
        self._silent_to = silent_to
        self._queries: list[bytes] = []

    def send(self, query: bytes) -> None:
        if int.from_bytes(query[:2], "big") not in self._silent_to:
            self._queries.append(query)

    def recv_into(self, response: bytearray) -> None:
        if not self._queries:
            raise BlockingIOError
        response[:2] = self._queries.pop()[:2]


def test_every_query_has_a_latency_and_a_lost_one_took_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_latency, "GIVE_UP_NANOSECONDS", 0)
    monkeypatch.setattr(dns_latency, "BLIND_NANOSECONDS", 10**12)
    asker: Any = Echo(silent_to={7})
    latencies = ask_at_pace(asker, [b"question"] * 300, rate=1_000_000)
    assert len(latencies) == 300
    assert [number for number, latency in enumerate(latencies) if not 0 < latency < math.inf] == [7]


def test_what_was_under_way_while_the_client_did_not_look_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_latency, "GIVE_UP_NANOSECONDS", 0)
    monkeypatch.setattr(dns_latency, "BLIND_NANOSECONDS", -1)
    asker: Any = Echo(silent_to={3})
    assert math.inf not in ask_at_pace(asker, [b"question"] * 5, rate=1_000_000)

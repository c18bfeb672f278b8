"""How long single DNS queries take: a client that keeps its pace, and what its rounds say of two servers.

    due ─▶ send ───────────▶ server          every `1 / rate` seconds one query, on one socket
             │  looks for responses all
             ▼  the time, never sleeps
    got ◀─ receive ◀──────── server          latency: from the call that sends to the call that has received

dnsperf's own latencies hold more of dnsperf than of the server: it paces itself by sleeping, so queries leave in twos
and threes, and its receiver has to wake up, on the core on which its sender is at work. A client that never sleeps
knows, besides, when its core was taken away: what was under way for BLIND_NANOSECONDS without a look is left out, for
nobody knows when its response came; and it does not catch up with what fell due meanwhile, but goes on from there.

What is left is the server's, and the moments in which the machine gave the server no core. Those meet all servers
alike: a ratio within a short round, in which each has its turn, and the median of many such ratios, take them out.

The interval of a median is the one between two order statistics (the sign test's): it supposes nothing of how the
values are distributed, and needs no chance.
"""

from __future__ import annotations

import gc
import math
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import median
from typing import Self

MAX_QUERIES = 2**16
"""Of one go: a query is known by its id."""
GIVE_UP_NANOSECONDS = 1_000_000_000
BLIND_NANOSECONDS = 20_000
"""Three times of what one look takes, with a query sent."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """How the latencies of one round are spread, in microseconds."""

    p50: float
    p90: float
    p99: float
    p999: float

    @classmethod
    def of(cls, latencies: Sequence[float]) -> Self:
        """From at least one latency, in any order."""
        ordered = sorted(latencies)
        return cls(*(ordered[int(share * len(ordered))] for share in (0.5, 0.9, 0.99, 0.999)))


@dataclass(frozen=True)
class Estimate:
    """A median, and between what its true value is, with CONFIDENCE."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """From at least one value; of fewer than six the interval is all there is."""
        ordered, count = sorted(values), len(values)
        outside, below = 0, 0.0
        # The true median is below the k-th value as rarely as fewer than k of `count` coins fall heads.
        while (below := below + math.comb(count, outside) / 2**count) <= (1 - CONFIDENCE) / 2:
            outside += 1
        first = max(outside - 1, 0)
        return cls(median(ordered), ordered[first], ordered[count - 1 - first])

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


@contextmanager
def undisturbed(core: int) -> Iterator[None]:
    """This process has this core, goes before all else on it where that is allowed, and collects no garbage."""
    cores, policy, priority = os.sched_getaffinity(0), os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setaffinity(0, [core])
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        os.sched_setscheduler(0, policy, priority)
        os.sched_setaffinity(0, cores)


def ask_at_pace(asker: socket.socket, questions: Sequence[bytes], *, rate: int) -> list[float]:
    """Latencies in microseconds of queries sent `rate` times a second on a connected socket that does not block.

    `questions` are packets without their ids, at most MAX_QUERIES. A response that does not come took for ever.
    """
    clock, send, receive = time.perf_counter_ns, asker.send, asker.recv_into
    packets = [number.to_bytes(2, "big") + question for number, question in enumerate(questions)]
    count, gap = len(packets), 1_000_000_000 // rate
    sent, got = [0] * count, [math.inf] * count
    waiting, unseen = set[int](), set[int]()
    response = bytearray(4096)
    asked, answered = 0, 0
    due = looked = clock()
    while answered < count:
        now = clock()
        if now - looked > BLIND_NANOSECONDS:
            unseen |= waiting
        looked = now
        if now >= due and asked < count:
            waiting.add(asked)
            sent[asked] = clock()
            send(packets[asked])
            asked, due = asked + 1, (due if now < due + gap else now) + gap
        try:
            receive(response)
        except BlockingIOError:
            if asked == count and now > due + GIVE_UP_NANOSECONDS:
                break
            continue
        end, number = clock(), response[0] << 8 | response[1]
        got[number] = end
        waiting.discard(number)
        answered += 1
    return [(got[number] - sent[number]) / 1000 for number in range(count) if number not in unseen]

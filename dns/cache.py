"""Answers as wire bytes: what was asked before is answered without parsing, and dropped with what it was made from.

    packet after its id ──hot──▶ response after its id                    no parsing at all
             │ not there
             ▼
    (question in lower case, flags, EDNS) ──entries──▶ response           the client's own letters are put back in
             │ not there                                                  (0x20), EDNS options are ignored (cookies)
             ▼
    Responder ──▶ answer, and the topics that it read in the directory    topic changed ──forget──▶ entry and hot keys

Guarantees: a response from here is one that the Responder gives for the same packet (only an SOA's serial may be of
the older state that the answer was made from), and nothing is answered from an entry once `forget` was told of a
change that it depends on, unless it is to be kept. Packets that are not plain queries go to the Responder each time.

With `keep_seconds`, an answer once given stays for that long, but not longer than its own time to live, whatever
changes: what CoreDNS' cache plugin does in real clusters, where a peer that was asked for too early does not exist for
a while. `forget_overdue` drops it then.

Addresses take turns: an entry holds up to MAX_TURNS orders of an answer, each written when its turn first comes.

Bound: MAX_PACKETS kept in all, then everything is forgotten; names that do not exist are made up without end by
search lists, and what is asked often is back at its next question. Not thread-safe, apart from reading `hot`.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import NamedTuple

from petset.dns import wire
from petset.dns.directory import Reader, Topic
from petset.dns.records import Answer, Type
from petset.dns.responder import Responder, Responses, Transport, count_turns, next_response, rotated

MAX_PACKETS = 32_768
MAX_TURNS = 64
USUAL_LIMITS_BYTES = (512, 1200, 1232)
"""Response sizes that are kept: of clients without EDNS, of glibc, and of everyone who takes what this server sends."""

_ID_BYTES = 2
_QUERY_BITS = 0xF8
"""QR and opcode in the third byte: 0 for a query."""
_ONE_QUESTION = bytes([0, 1, 0, 0, 0, 0])
_OPT = struct.Struct("!BHHBBHH")
_DNSSEC_OK = 0x8000
_QUESTION_END_BYTES = 5
"""Behind the last label: the root, type and class."""

Key = tuple[bytes, int, int, int]
"""Question in lower case, RD, CD, and what EDNS asks for."""


class _Plain(NamedTuple):
    """A packet that is, byte for byte, nothing but a query for one question."""

    key: Key
    question: bytes
    limit_bytes: int
    is_usual: bool
    """All lower case, no EDNS options: the same bytes will come again."""


@dataclass(slots=True)
class _Entry:
    """`packets` gives the response after its id, with the question in lower case, in one order after the other."""

    packets: Responses
    topics: frozenset[Topic]
    weight: int
    keep_until: float = 0.0
    hot_keys: list[bytes] = field(default_factory=list)


class WireCache:
    """Responses over UDP. `responder` answers from `reader`, or as the reader does; `now` is in seconds."""

    def __init__(
        self, responder: Responder, reader: Reader, *, max_packets: int = MAX_PACKETS,
        keep_seconds: float = 0.0, now: Callable[[], float] = lambda: 0.0,
    ) -> None:  # fmt: skip
        self.hot: dict[bytes, Responses] = {}
        """`packet[2:]` to every `response[2:]` for it: always this one object, for loops that keep it."""
        self._responder = responder
        self._reader = reader
        self._max_packets = max_packets
        self._entries: dict[Key, _Entry] = {}
        self._keys_of: dict[Topic, set[Key]] = {}
        self._packet_count = 0
        self._keep_seconds = keep_seconds
        self._now = now
        self._overdue: list[tuple[float, Key]] = []
        """When to drop what a change has made wrong, the earliest first."""

    def __len__(self) -> int:
        """Packets kept."""
        return self._packet_count

    def answer(self, packet: bytes) -> bytes | None:
        """The response to a packet that is not in `hot`; None where silence is the answer."""
        plain = _read_plain(packet)
        if plain is None:
            return self._unkept(packet)
        entry = self._entries.get(plain.key)
        if entry is None:
            if not self._reader.synced:
                return self._unkept(packet)  # It may be a SERVFAIL that the next moment makes wrong.
            entry = self._make(packet, plain)
            if entry is None:
                return self._unkept(packet)
        if plain.is_usual:
            self._make_room(1)
            if plain.key in self._entries:
                self.hot[packet[_ID_BYTES:]] = entry.packets
                entry.hot_keys.append(packet[_ID_BYTES:])
                self._packet_count += 1
        response = next_response(entry.packets)
        start = wire.HEADER_BYTES - _ID_BYTES
        return b"".join((packet[:_ID_BYTES], response[:start], plain.question, response[start + len(plain.question) :]))

    def forget(self, topics: Iterable[Topic]) -> None:
        """Drop every answer that read one of these, at once or when it has been kept for long enough."""
        now = self._now()
        for topic in topics:
            for key in self._keys_of.pop(topic, ()):
                entry = self._entries.get(key)
                if entry is not None and entry.keep_until > now:
                    heapq.heappush(self._overdue, (entry.keep_until, key))
                else:
                    self._drop(key)

    def forget_overdue(self) -> float | None:
        """Drop what was kept for long enough; when to call this again, None for not before the next `forget`."""
        now = self._now()
        while self._overdue and self._overdue[0][0] <= now:
            self._drop(heapq.heappop(self._overdue)[1])
        return self._overdue[0][0] if self._overdue else None

    def clear(self) -> None:
        self._overdue.clear()
        self.hot.clear()
        self._entries.clear()
        self._keys_of.clear()
        self._packet_count = 0

    def _unkept(self, packet: bytes) -> bytes | None:
        response = self._responder(packet, Transport.UDP)
        self._reader.take()
        return response

    def _make(self, packet: bytes, plain: _Plain) -> _Entry | None:
        """The entry of a question that is new; None when it is not as plain as it looked."""
        header = wire.read_header(packet)
        if header is None:
            return None
        try:
            query = wire.read_query(packet, header)
        except wire.MalformedQuery:
            return None
        # Another question, if a label has a zero byte.
        if query.question != plain.question:
            return None
        answer = self._responder.answer(query)
        entry = _entry(
            replace(query, question=plain.key[0]), answer, limit_bytes=plain.limit_bytes, topics=self._reader.take()
        )
        if self._keep_seconds:
            entry.keep_until = self._now() + min(self._keep_seconds, _life_seconds(answer))
        self._make_room(entry.weight)
        self._entries[plain.key] = entry
        self._packet_count += entry.weight
        for topic in entry.topics:
            self._keys_of.setdefault(topic, set()).add(plain.key)
        return entry

    def _make_room(self, weight: int) -> None:
        if self._packet_count + weight > self._max_packets:
            self.clear()

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._packet_count -= entry.weight + len(entry.hot_keys)
        for hot_key in entry.hot_keys:
            self.hot.pop(hot_key, None)
        for topic in entry.topics:
            keys = self._keys_of.get(topic)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._keys_of[topic]


def _read_plain(packet: bytes) -> _Plain | None:
    """The packet as a plain query; None when it has to be looked at more closely. Does not check the name."""
    end = packet.find(0, wire.HEADER_BYTES) + _QUESTION_END_BYTES
    if end <= wire.HEADER_BYTES or packet[2] & _QUERY_BITS or packet[4:10] != _ONE_QUESTION or len(packet) < end:
        return None
    additional_count, option_bytes, edns = packet[10] << 8 | packet[11], len(packet) - end, 0
    limit_bytes = wire.MIN_PAYLOAD_BYTES
    if additional_count:
        option_bytes -= _OPT.size
        if additional_count > 1 or option_bytes < 0:
            return None
        root, type_, payload_bytes, _, version, flags, length = _OPT.unpack_from(packet, end)
        if root or type_ != Type.OPT or version or length != option_bytes:
            return None
        limit_bytes = wire.datagram_limit_bytes(payload_bytes)
        edns = limit_bytes << 1 | bool(flags & _DNSSEC_OK)
    elif option_bytes:
        return None
    if limit_bytes not in USUAL_LIMITS_BYTES:
        return None
    question = packet[wire.HEADER_BYTES : end]
    lower = question[:-4].lower() + question[-4:]
    key = lower, packet[2] & 0x01, packet[3] & 0x10, edns
    return _Plain(key, question, limit_bytes, is_usual=lower == question and option_bytes == 0)


def _entry(query: wire.Query, answer: Answer, *, limit_bytes: int, topics: frozenset[Topic]) -> _Entry:
    def write(turn: int) -> bytes:
        return wire.write_response(query, rotated(answer, turn), limit_bytes=limit_bytes)[_ID_BYTES:]

    turns = count_turns(answer)
    if turns == 1:
        return _Entry(write(0), topics, weight=1)
    kept = min(turns, MAX_TURNS)
    # Written one by one, and kept by `cycle`: most answers are forgotten before every order was asked for.
    return _Entry(cycle(write(step * turns // kept) for step in range(kept)), topics, weight=kept)


def _life_seconds(answer: Answer) -> int:
    """For how long the answer may be kept (RFC 2308: a negative one for as long as its SOA)."""
    return min((record.ttl_seconds for record in answer.answer + answer.authority), default=0)

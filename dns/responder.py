"""From packet to packet: the rules of a DNS message around the answer itself (CoreDNS 1.14, RFC 1035, 6891).

packet ─▶ header ─▶ an answer, or no header?   silence (never answer an answer: two servers would do so for ever)
             │      opcode not QUERY, NOTIFY   NOTIMP
             ▼
           query ─▶ cannot be read             FORMERR, header alone
             │      EDNS version above 0       BADVERS
             │      NOTIFY, class not IN,      REFUSED
             ▼      zone transfer
          answers ─▶ address lists rotated by one step per response, as CoreDNS shuffles them: clients that take
             │       the first address spread over all. SRV records keep their order.
             ▼
          response ─▶ at most 512 bytes by UDP, or the client's EDNS size up to 1232; 65 535 by TCP
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum
from itertools import count

from petset.dns import wire
from petset.dns.names import Name
from petset.dns.records import Answer, Rcode, Record, Type

Resolve = Callable[[Name, int], Answer]
"""(lower-case name, type) -> the answer."""

Responses = bytes | Iterator[bytes]
"""To one packet, after its id: the only one, or each order of its addresses in turn, without end."""


class Transport(Enum):
    """How a query came, which decides how long its response may be."""

    UDP = "udp"
    TCP = "tcp"


class Responder:
    """Answers packets by `resolve`; called with a packet and its transport. Never raises for any packet."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._turns = count()

    def __call__(self, packet: bytes, transport: Transport) -> bytes | None:
        """The response, or None where silence is the answer."""
        header = wire.read_header(packet)
        if header is None or header.is_response:
            return None
        if header.opcode not in (wire.OPCODE_QUERY, wire.OPCODE_NOTIFY):
            return wire.write_error(header, Rcode.NOTIMP)
        try:
            query = wire.read_query(packet, header)
        except wire.MalformedQuery:
            return wire.write_error(header, Rcode.FORMERR)
        answer = rotated(self.answer(query), next(self._turns))
        return wire.write_response(query, answer, limit_bytes=limit_bytes(query, transport))

    def answer(self, query: wire.Query) -> Answer:
        """The answer to a well-formed query, its records in their first order."""
        if query.edns and query.edns.version > 0:
            return Answer(Rcode.BADVERS, authoritative=False)
        if (
            query.header.opcode != wire.OPCODE_QUERY
            or query.class_ != wire.CLASS_IN
            or query.type in (Type.AXFR, Type.IXFR)
        ):
            return Answer(Rcode.REFUSED, authoritative=False)
        return self._resolve(query.name, query.type)


def next_response(responses: Responses) -> bytes:
    """The one whose turn it is."""
    return responses if isinstance(responses, bytes) else next(responses)


def count_turns(answer: Answer) -> int:
    """How many different orders `rotated` makes of this answer; at least 1."""
    return max(1, *(len(_addresses(section)) for section in (answer.answer, answer.additional)))


def rotated(answer: Answer, turn: int) -> Answer:
    """The answer with its addresses turned by `turn` places."""
    if count_turns(answer) == 1:
        return answer
    return replace(answer, answer=_turned(answer.answer, turn), additional=_turned(answer.additional, turn))


def limit_bytes(query: wire.Query, transport: Transport) -> int:
    """How long the response may be."""
    if transport is Transport.TCP:
        return wire.MAX_STREAM_BYTES
    return wire.datagram_limit_bytes(query.edns.payload_bytes if query.edns else 0)


def _addresses(records: tuple[Record, ...]) -> list[Record]:
    return [record for record in records if record.data.type in (Type.A, Type.AAAA)]


def _turned(records: tuple[Record, ...], turn: int) -> tuple[Record, ...]:
    """Address records turned by `turn` places; all others keep theirs, before the addresses (a CNAME comes first)."""
    addresses = _addresses(records)
    if len(addresses) < 2:
        return records
    first = turn % len(addresses)
    others = (record for record in records if record.data.type not in (Type.A, Type.AAAA))
    return (*others, *addresses[first:], *addresses[:first])

"""DNS messages as bytes (RFC 1035, 2782, 6891): queries are read, responses are written. Pure.

    0             12                      question's end
    ┌─ header ────┬─ question ───────────┬─ answer ─┬─ authority ─┬─ additional ─┬─ OPT ─┐
    │ id flags n… │ name, type, class    │ whole records, as many as fit         │ EDNS  │
    └─────────────┴──────────────────────┴───────────────────────────────────────┴───────┘

- The question travels back byte for byte, letter case included (clients check it), and owner names point at it.
- Names are compressed, never with a pointer past 0x3FFF, and never inside an SRV record (RFC 2782).
- What does not fit is cut at a record's border, with TC set; question and OPT always stay.

Reading follows no compression pointer: a question cannot need one, and other owners are only skipped. So no packet
can send the reader in circles, and its work is linear in the packet's length. A label may hold any byte.

Own code instead of dnslib, which is the tests' oracle: its compression breaks past 16 KiB, its truncation drops
question and OPT, its parser refuses labels that are not UTF-8 and recurses without bound on crossed pointers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from petset.dns.names import MAX_LABEL_BYTES, MAX_NAME_BYTES, Name
from petset.dns.records import AAAA, CNAME, NS, PTR, SOA, SRV, TXT, A, Answer, Rcode, Record, Type

HEADER_BYTES = 12
CLASS_IN = 1
OPCODE_QUERY = 0
OPCODE_NOTIFY = 4
MIN_PAYLOAD_BYTES = 512
"""What every client takes by UDP; a smaller EDNS size counts as this."""
MAX_PAYLOAD_BYTES = 1232
"""The most this server sends by UDP, and the size its OPT tells: no fragments on any usual path (DNS flag day 2020)."""
MAX_STREAM_BYTES = 65_535

_QR, _AA, _TC, _RD, _CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0010
_OPCODE_SHIFT, _OPCODE_MASK = 11, 0x7800
_DNSSEC_OK = 0x8000
_OPT_BYTES = 11
_MAX_POINTER = 0x3FFF

_HEADER = struct.Struct("!HHHHHH")
_FIXED = struct.Struct("!HHIH")
_SOA_NUMBERS = struct.Struct("!IIIII")
_SRV_NUMBERS = struct.Struct("!HHH")


class MalformedQuery(ValueError):
    """The bytes after the header are no query: FORMERR."""


@dataclass(frozen=True, slots=True)
class Header:
    identifier: int
    flags: int
    question_count: int
    record_count: int
    """Answer, authority and additional records together."""

    @property
    def is_response(self) -> bool:
        return bool(self.flags & _QR)

    @property
    def is_cut(self) -> bool:
        return bool(self.flags & _TC)

    @property
    def opcode(self) -> int:
        return (self.flags & _OPCODE_MASK) >> _OPCODE_SHIFT


@dataclass(frozen=True, slots=True)
class Edns:
    """A query's OPT record; unknown options are ignored."""

    payload_bytes: int
    version: int
    dnssec_ok: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A well-formed query. `question` is the raw question; `name` its labels in lower case."""

    header: Header
    question: bytes
    name: Name
    type: int
    class_: int
    edns: Edns | None


def read_header(packet: bytes) -> Header | None:
    """The header; None when the packet is too short to have one."""
    if len(packet) < HEADER_BYTES:
        return None
    identifier, flags, questions, *records = _HEADER.unpack_from(packet)
    return Header(identifier, flags, questions, sum(records))


def read_query(packet: bytes, header: Header) -> Query:
    """The query behind this header. Raises MalformedQuery."""
    if header.question_count != 1:
        raise MalformedQuery(f"{header.question_count} questions")
    name, offset = _read_name(packet, HEADER_BYTES)
    end = offset + 4
    if end > len(packet):
        raise MalformedQuery("question cut short")
    type_, class_ = struct.unpack_from("!HH", packet, offset)
    edns = _read_edns(packet, end, count=header.record_count)
    return Query(header, packet[HEADER_BYTES:end], name, type_, class_, edns)


def write_response(query: Query, answer: Answer, *, limit_bytes: int) -> bytes:
    """The whole response, at most `limit_bytes` long (512 or more)."""
    message = _Message(query.question, query.name)
    room_bytes = limit_bytes - (_OPT_BYTES if query.edns else 0)
    flags = _AA if answer.authoritative else 0
    counts = [0, 0, 0]
    try:
        for section, records in enumerate((answer.answer, answer.authority, answer.additional)):
            for record in records:
                message.add(record, room_bytes)
                counts[section] += 1
    except _Full:
        flags |= _TC
    if query.edns:
        message.add_opt(answer.rcode, dnssec_ok=query.edns.dnssec_ok)
        counts[2] += 1
    return message.finish(query.header, flags | answer.rcode & 0xF, counts)


def datagram_limit_bytes(payload_bytes: int) -> int:
    """How long a response by UDP may be to a client that takes `payload_bytes` (0: it did not say)."""
    return min(max(payload_bytes, MIN_PAYLOAD_BYTES), MAX_PAYLOAD_BYTES)


def write_error(header: Header, rcode: Rcode) -> bytes:
    """A response of a header alone, for a query whose question could not be read."""
    return _HEADER.pack(header.identifier, _response_flags(header, rcode), 0, 0, 0, 0)


def _response_flags(header: Header, flags: int) -> int:
    """QR, and opcode, RD and CD as the client sent them. RA and AD stay clear: there is no recursion here."""
    return _QR | header.flags & (_OPCODE_MASK | _RD | _CD) | flags


def _read_name(packet: bytes, offset: int) -> tuple[Name, int]:
    """The uncompressed name at `offset`, in lower case, and where it ends."""
    labels: list[str] = []
    start = offset
    while offset < len(packet):
        length = packet[offset]
        offset += 1
        if length == 0:
            return tuple(labels), offset
        if length > MAX_LABEL_BYTES:
            raise MalformedQuery("a pointer, or no label, in the question")
        if offset + length - start >= MAX_NAME_BYTES:
            raise MalformedQuery("name too long")
        # Lower-case the bytes: only ASCII letters have no case in DNS (RFC 4343).
        labels.append(packet[offset : offset + length].lower().decode("latin-1"))
        offset += length
    raise MalformedQuery("name cut short")


def _skip_name(packet: bytes, offset: int) -> int:
    """Where the name at `offset` ends, which a pointer does too."""
    while offset < len(packet):
        length = packet[offset]
        if length == 0:
            return offset + 1
        if length >= 0xC0:
            return offset + 2
        if length > MAX_LABEL_BYTES:
            break
        offset += 1 + length
    raise MalformedQuery("name cut short, or no label")


def _read_edns(packet: bytes, offset: int, *, count: int) -> Edns | None:
    """Walk over all records behind the question; answers the one OPT among them."""
    edns = None
    for _ in range(count):
        start, offset = offset, _skip_name(packet, offset)
        if offset + _FIXED.size > len(packet):
            raise MalformedQuery("record cut short")
        type_, class_, ttl, length = _FIXED.unpack_from(packet, offset)
        offset += _FIXED.size + length
        if offset > len(packet):
            raise MalformedQuery("record data cut short")
        if type_ != Type.OPT:
            continue
        if edns is not None or packet[start] != 0:
            raise MalformedQuery("a second OPT, or one with a name")  # RFC 6891 section 6.1.1
        edns = Edns(payload_bytes=class_, version=ttl >> 16 & 0xFF, dnssec_ok=bool(ttl & _DNSSEC_OK))
    return edns


class _Full(Exception):
    """The next record does not fit."""


class _Message:
    """A response being written: bytes so far, and where names can be pointed at."""

    def __init__(self, question: bytes, name: Name) -> None:
        self._data = bytearray(HEADER_BYTES) + question
        self._offsets: dict[Name, int] = {}
        offset = HEADER_BYTES
        for index, label in enumerate(name):
            self._offsets[name[index:]] = offset
            offset += 1 + len(label)

    def add(self, record: Record, room_bytes: int) -> None:
        """Append one record. Raises _Full, the message unchanged, when it would be longer than `room_bytes`."""
        start = len(self._data)
        self._add_name(record.name)
        fixed = len(self._data)
        self._data += bytes(_FIXED.size)
        self._add_data(record)
        length = len(self._data) - fixed - _FIXED.size
        _FIXED.pack_into(self._data, fixed, record.data.type, CLASS_IN, record.ttl_seconds, length)
        if len(self._data) > room_bytes:
            # Names noted in the part cut off stay noted: nothing but the nameless OPT can follow.
            del self._data[start:]
            raise _Full

    def add_opt(self, rcode: Rcode, *, dnssec_ok: bool) -> None:
        ttl = rcode >> 4 << 24 | (_DNSSEC_OK if dnssec_ok else 0)
        self._data += b"\0" + _FIXED.pack(Type.OPT, MAX_PAYLOAD_BYTES, ttl, 0)

    def finish(self, header: Header, flags: int, counts: list[int]) -> bytes:
        _HEADER.pack_into(self._data, 0, header.identifier, _response_flags(header, flags), 1, *counts)
        return bytes(self._data)

    def _add_name(self, name: Name, *, compress: bool = True) -> None:
        for index, label in enumerate(name):
            known = self._offsets.get(name[index:])
            if known is not None and compress:
                self._data += (0xC000 | known).to_bytes(2, "big")
                return
            if known is None and len(self._data) <= _MAX_POINTER:
                self._offsets[name[index:]] = len(self._data)
            self._data.append(len(label))
            self._data += label.encode("latin-1")
        self._data.append(0)

    def _add_data(self, record: Record) -> None:
        match record.data:
            case A(address) | AAAA(address):
                self._data += _packed(address)
            case SRV() as srv:
                self._data += _SRV_NUMBERS.pack(srv.priority, srv.weight, srv.port)
                self._add_name(srv.target, compress=False)
            case CNAME(target) | NS(target) | PTR(target):
                self._add_name(target)
            case TXT(text):
                self._data.append(len(text))
                self._data += text.encode("latin-1")
            case SOA() as soa:
                self._add_name(soa.name_server)
                self._add_name(soa.mailbox)
                self._data += _SOA_NUMBERS.pack(
                    soa.serial, soa.refresh_seconds, soa.retry_seconds, soa.expire_seconds, soa.minimum_seconds
                )


@lru_cache(maxsize=16_384)
def _packed(address: str) -> bytes:
    """The address's bytes; the most recent ones are remembered, parsing costs more than the rest of a record."""
    return ip_address(address).packed

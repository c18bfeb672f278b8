"""ExternalNames that lead out of the cluster: the CNAMEs are ours, what lies behind them an upstream's.

    query web.default.svc… A ──▶ CNAME www.example.com ──▶ forwarder: www.example.com A ──▶ CNAME + the addresses

As CoreDNS: upstream's times to live are kept; upstream's NODATA is the CNAME alone; when upstream fails, or says that
there is no such name, the CNAME is dropped and the answer is the cluster's own, NODATA. Nothing of it is cached.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dnslib import DNSError, DNSRecord

from petset.dns import wire
from petset.dns.answers import Answers
from petset.dns.forwarder import Forwarder
from petset.dns.names import Name
from petset.dns.records import AAAA, CNAME, A, Answer, Rcode, Record, Type
from petset.dns.responder import Transport, limit_bytes


@dataclass(frozen=True)
class OutwardQuestion:
    """A client's query whose answer begins with these aliases and goes on elsewhere."""

    query: wire.Query
    aliases: tuple[Record, ...]
    target: Name
    forwarder: Forwarder

    async def answer(self, transport: Transport) -> bytes | None:
        """The response; None when upstream has no answer to it."""
        asked = bytes(DNSRecord.question(".".join(self.target), Type(self.query.type).name).pack())
        for each in (Transport.UDP, Transport.TCP):
            response = await self.forwarder.answer(asked, each)
            header = wire.read_header(response)
            if header is None or not header.is_cut:
                break
        try:
            found = DNSRecord.parse(response)
            records = tuple(_records(found))
        except (DNSError, ValueError, RecursionError):  # dnslib on labels that are no UTF-8, and on crossed pointers
            return None
        if found.header.rcode != Rcode.NOERROR:
            return None
        answer = Answer(Rcode.NOERROR, (*self.aliases, *records))
        return wire.write_response(self.query, answer, limit_bytes=limit_bytes(self.query, transport))


class OutwardNames:
    """Which questions are such."""

    def __init__(self, answers: Answers, forwarder: Forwarder) -> None:
        self._answers = answers
        self._forwarder = forwarder

    def read(self, packet: bytes) -> OutwardQuestion | None:
        """The packet as such a question; None for every other one."""
        header = wire.read_header(packet)
        if header is None or header.is_response or header.opcode != wire.OPCODE_QUERY:
            return None
        try:
            query = wire.read_query(packet, header)
        except wire.MalformedQuery:
            return None
        if query.class_ != wire.CLASS_IN or query.type not in (Type.A, Type.AAAA):
            return None
        if query.edns and query.edns.version > 0:
            return None
        aliases = self._answers.outward(query.name)
        if not aliases:
            return None
        last = aliases[-1].data
        assert isinstance(last, CNAME)
        return OutwardQuestion(query, aliases, last.target, self._forwarder)


def _records(response: DNSRecord) -> Iterator[Record]:
    """Addresses and CNAMEs of an upstream's answer."""
    for each in response.rr:
        name = _name(each.rname.label)
        match each.rtype:
            case Type.A:
                yield Record(name, each.ttl, A(str(each.rdata)))
            case Type.AAAA:
                yield Record(name, each.ttl, AAAA(str(each.rdata)))
            case Type.CNAME:
                yield Record(name, each.ttl, CNAME(_name(each.rdata.label.label)))


def _name(labels: tuple[bytes, ...]) -> Name:
    return tuple(label.decode("latin-1").lower() for label in labels)

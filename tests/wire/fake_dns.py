"""A DNS server made with dnslib, for guests that look names up, and the records that it may hold."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from dnslib import AAAA, QTYPE, RCODE, RR, SRV, A, DNSRecord

KUBIA = "kubia.default.svc.cluster.local"

Answer = Callable[[DNSRecord], "DNSRecord | bytes | None"]
"""What a fake DNS server sends for a query; None: nothing."""


class FakeDns:
    """A DNS server on 127.0.0.1, UDP and TCP on one port. It answers from functions and notes what it was asked."""

    def __init__(self, udp: Answer, tcp: Answer) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.port = 0
        self._answers = {"udp": udp, "tcp": tcp}

    def packets(self, wire: bytes, transport: str) -> list[bytes]:
        query = DNSRecord.parse(wire)
        self.asked.append((transport, str(query.q.qname), QTYPE[query.q.qtype]))
        answer = self._answers[transport](query)
        if answer is None:
            return []
        return [answer if isinstance(answer, bytes) else bytes(answer.pack())]


class _UdpSide(asyncio.DatagramProtocol):
    def __init__(self, server: FakeDns) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # typeshed
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        for packet in self._server.packets(data, "udp"):
            for part in packet.split(b"<next packet>"):
                self._transport.sendto(part, addr)


@asynccontextmanager
async def fake_dns(udp: Answer, tcp: Answer = lambda query: None) -> AsyncIterator[FakeDns]:
    server = FakeDns(udp, tcp)

    async def serve_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        for packet in server.packets(await reader.readexactly(length), "tcp"):
            writer.write(struct.pack("!H", len(packet)) + packet)
        writer.close()

    listener = await asyncio.start_server(serve_tcp, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _UdpSide(server), local_addr=("127.0.0.1", server.port)
    )
    try:
        yield server
    finally:
        transport.close()
        listener.close()
        await listener.wait_closed()


def zone(*records: RR, existing: tuple[str, ...] = ()) -> Answer:
    """Answers as a DNS server with these records does; SRV answers bring the targets' addresses along."""

    def answer(query: DNSRecord) -> DNSRecord:
        reply = query.reply(ra=0)
        owned = [rr for rr in records if rr.rname == query.q.qname]
        found = [rr for rr in owned if rr.rtype in (query.q.qtype, QTYPE.CNAME)]
        for rr in found:
            reply.add_answer(
                rr, *(more for more in records if rr.rtype == QTYPE.CNAME and more.rname == rr.rdata.label)
            )
        targets = [rr.rdata.target for rr in reply.rr if rr.rtype == QTYPE.SRV]
        reply.add_ar(*(rr for rr in records if rr.rname in targets and rr.rtype in (QTYPE.A, QTYPE.AAAA)))
        if not owned and str(query.q.qname).rstrip(".") not in existing:
            reply.header.rcode = RCODE.NXDOMAIN
        return reply

    return answer


def srv(owner: str, target: str, port: int = 8080) -> RR:
    return RR(owner, QTYPE.SRV, ttl=30, rdata=SRV(0, 50, port, target))


def address(owner: str, text: str) -> RR:
    return RR(owner, QTYPE.AAAA, ttl=30, rdata=AAAA(text)) if ":" in text else RR(owner, QTYPE.A, ttl=30, rdata=A(text))


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])

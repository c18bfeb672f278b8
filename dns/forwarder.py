"""Questions that are not the cluster's: passed on to other name servers, byte for byte but for the id.

    client ──▶ query for www.example.com ──▶ id of our own, socket of its own ──▶ upstream, the next one after
           ◀── response, the client's id ◀── same id, same question ◀───────────  UPSTREAM_SECONDS of silence

By the transport that the client chose, so a cut response makes it come back by TCP. The id is drawn and the port is
the kernel's choice for each query: an answer cannot be guessed by somebody who does not see the question. Nothing is
kept. No upstream that answers is SERVFAIL, and so is every query beyond MAX_PENDING.

Without upstreams such questions are REFUSED (answers.py). An ExternalName that leads out of the cluster is outward.py's
part. Left out: health checks.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from random import Random

from petset.cluster.network.upstreams import Upstream
from petset.dns import wire
from petset.dns.names import Name, zone_of
from petset.dns.records import Rcode
from petset.dns.responder import Transport
from petset.dns.server import SocketMaker

UPSTREAM_SECONDS = 2.0
MAX_PENDING = 256
_ID_BYTES = 2
_RECURSION_DESIRED = 0x0100

log = logging.getLogger(__name__)


class Forwarder:
    """Asks `upstreams` in their order for names outside of `zone` and the reverse zones."""

    def __init__(
        self, upstreams: Sequence[Upstream], *, zone: Name, make_socket: SocketMaker, chance: Random,
        upstream_seconds: float = UPSTREAM_SECONDS, max_pending: int = MAX_PENDING,
    ) -> None:  # fmt: skip
        self._upstreams = tuple(upstreams)
        self._zone = zone
        self._make_socket = make_socket
        self._chance = chance
        self._upstream_seconds = upstream_seconds
        self._max_pending = max_pending
        self._pending = 0

    def takes(self, packet: bytes) -> bool:
        """Whether this is a query to pass on: one that asks for recursion, about a name that is not the cluster's."""
        header = wire.read_header(packet)
        if not self._upstreams or header is None or header.is_response or header.opcode != wire.OPCODE_QUERY:
            return False
        try:
            query = wire.read_query(packet, header)
        except wire.MalformedQuery:
            return False
        return bool(header.flags & _RECURSION_DESIRED) and zone_of(query.name, self._zone) is None

    @property
    def has_upstreams(self) -> bool:
        return bool(self._upstreams)

    async def answer(self, packet: bytes, transport: Transport) -> bytes:
        """The upstreams' response to a well-formed query, with the query's own id; SERVFAIL when there is none."""
        if self._pending >= self._max_pending:
            return _failure(packet)
        self._pending += 1
        try:
            return await self._ask_in_turn(packet, transport)
        finally:
            self._pending -= 1

    async def _ask_in_turn(self, packet: bytes, transport: Transport) -> bytes:
        ask = self._ask_by_udp if transport is Transport.UDP else self._ask_by_tcp
        for upstream in self._upstreams:
            query = self._chance.randbytes(_ID_BYTES) + packet[_ID_BYTES:]
            try:
                async with asyncio.timeout(self._upstream_seconds):
                    response = await ask(query, upstream)
            except (OSError, asyncio.IncompleteReadError) as error:
                log.info("DNS upstream %s does not answer: %s", upstream.address, error or type(error).__name__)
            else:
                return packet[:_ID_BYTES] + response[_ID_BYTES:]
        return _failure(packet)

    async def _ask_by_udp(self, query: bytes, upstream: Upstream) -> bytes:
        loop = asyncio.get_running_loop()
        with self._make_socket(upstream.address, kind=socket.SOCK_DGRAM) as made:
            made.connect((upstream.address, upstream.port))
            await loop.sock_sendall(made, query)
            while True:
                response = await loop.sock_recv(made, wire.MAX_STREAM_BYTES)
                if _answers(response, query):
                    return response

    async def _ask_by_tcp(self, query: bytes, upstream: Upstream) -> bytes:
        made = self._make_socket(upstream.address, kind=socket.SOCK_STREAM)
        try:
            await asyncio.get_running_loop().sock_connect(made, (upstream.address, upstream.port))
            reader, writer = await asyncio.open_connection(sock=made)
        except BaseException:
            made.close()
            raise
        try:
            writer.write(len(query).to_bytes(2, "big") + query)
            response = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        finally:
            writer.close()
        if not _answers(response, query):
            raise ConnectionError("it answered another question")
        return response


def _answers(response: bytes, query: bytes) -> bool:
    """Whether this is a response with the id and the question of the query."""
    header, asked = wire.read_header(response), wire.read_header(query)
    if header is None or asked is None or not header.is_response or header.identifier != asked.identifier:
        return False
    question = wire.read_query(query, asked).question
    return response[wire.HEADER_BYTES :][: len(question)].lower() == question.lower()


def _failure(packet: bytes) -> bytes:
    header = wire.read_header(packet)
    if header is None:
        raise ValueError("a packet without a header was never taken")
    return wire.write_error(header, Rcode.SERVFAIL)

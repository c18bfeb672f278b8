"""One question to one DNS server: by UDP, and by TCP when the answer says that it was cut short.

    question ── UDP ──► answer                    (at most 1232 bytes: EDNS, DNS flag day 2020)
                   └──► TC ── TCP ──► answer      (at most 64 KiB)

An answer counts when it comes from the server's own address and port, carries the random id of the question and
repeats the question (in any letter case); every other packet is ignored until the time is over. Packets are dnslib's.
"""

from __future__ import annotations

import asyncio
import os
import struct
from dataclasses import dataclass

from dnslib import EDNS0, DNSError, DNSRecord
from dnslib.label import DNSLabelError

UDP_PAYLOAD_BYTES = 1232
_TRUNCATED_BIT = 0x02
_ANSWER_BIT = 0x80


class LookupFailure(OSError):
    """A name that could not be looked up; the message says why in words."""


@dataclass(frozen=True)
class Server:
    """A name server; `timeout_seconds` is the patience for one exchange over UDP and again over TCP."""

    address: str
    port: int
    timeout_seconds: float


@dataclass(frozen=True)
class Question:
    """What is asked: an absolute name, a type such as "SRV", and the id that the answer must carry."""

    name: str
    type: str
    id: int

    def to_wire(self) -> bytes:
        """Raises LookupFailure for a name that cannot be written in a packet."""
        try:
            query = DNSRecord.question(self.name, self.type)
            query.header.id = self.id
            query.add_ar(EDNS0(udp_len=UDP_PAYLOAD_BYTES))
            return bytes(query.pack())
        except (DNSError, DNSLabelError, ValueError) as error:
            raise LookupFailure(f"{self.name!r} is not a DNS name") from error

    def is_answered_by(self, answer: DNSRecord) -> bool:
        asked = DNSRecord.question(self.name, self.type).q
        return bool(answer.header.qr == 1 and answer.header.id == self.id and answer.questions == [asked])


async def exchange(question: Question, server: Server) -> DNSRecord:
    """The server's answer, whatever its response code. Raises LookupFailure when there is none."""
    wire = question.to_wire()
    try:
        async with asyncio.timeout(server.timeout_seconds):
            answer = await _ask_by_udp(wire, question, server)
        if answer is not None:
            return answer
        async with asyncio.timeout(server.timeout_seconds):
            return await _ask_by_tcp(wire, question, server)
    except TimeoutError as error:
        raise LookupFailure(f"no answer from {server.address} within {server.timeout_seconds:g} s") from error
    except (OSError, EOFError) as error:
        if isinstance(error, LookupFailure):
            raise
        number = getattr(error, "errno", None)
        words = os.strerror(number) if number else str(error)
        raise LookupFailure(f"{server.address} port {server.port}: {words}") from error


class _UdpAnswer(asyncio.DatagramProtocol):
    """Completes `outcome` with the first packet that answers the question: parsed, or None if it was cut short."""

    def __init__(self, question: Question, outcome: asyncio.Future[DNSRecord | None]) -> None:
        self._question = question
        self._outcome = outcome

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        if self._outcome.done():
            return
        if _is_truncated(data, self._question.id):
            self._outcome.set_result(None)
            return
        answer = _parse(data)
        if answer is not None and self._question.is_answered_by(answer):
            self._outcome.set_result(answer)

    def error_received(self, exc: Exception) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(exc)


async def _ask_by_udp(wire: bytes, question: Question, server: Server) -> DNSRecord | None:
    """The answer, None if it was cut short. The socket is connected: the kernel drops packets of others."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[DNSRecord | None] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _UdpAnswer(question, outcome), remote_addr=(server.address, server.port)
    )
    try:
        transport.sendto(wire)
        return await outcome
    finally:
        transport.close()


async def _ask_by_tcp(wire: bytes, question: Question, server: Server) -> DNSRecord:
    reader, writer = await asyncio.open_connection(server.address, server.port)
    try:
        writer.write(struct.pack("!H", len(wire)) + wire)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        answer = _parse(await reader.readexactly(length))
    finally:
        writer.close()
    if answer is None or not question.is_answered_by(answer):
        raise LookupFailure(f"{server.address} sent something by TCP that is no answer to the question")
    return answer


def _is_truncated(packet: bytes, question_id: int) -> bool:
    """Whether TC is set, by the header alone: a packet that was cut short need not be well formed after it."""
    if len(packet) < 12 or packet[:2] != struct.pack("!H", question_id):
        return False
    return bool(packet[2] & _ANSWER_BIT and packet[2] & _TRUNCATED_BIT)


def _parse(packet: bytes) -> DNSRecord | None:
    try:
        return DNSRecord.parse(packet)
    except (DNSError, DNSLabelError, ValueError):
        return None

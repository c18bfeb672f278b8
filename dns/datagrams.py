"""The UDP half, portable: one blocking socket, one thread, one datagram after the other.

    recvfrom ──▶ hot, by the bytes after the id ──▶ sendto              nothing else on the usual way
                  └ not there: answer(packet, client) ──▶ sendto, or silence

An event loop costs about as much per datagram as the system calls themselves; a thread that blocks in `recvfrom` does
not, and gives the interpreter lock away at each call. `batches` is the same thing with several datagrams per call.

`Loop`s are interchangeable and keep one contract (tests/contract/test_dns_loops.py): every datagram gets the response
that `hot` or `answer` has for it, to where it came from; no datagram ends the loop; a response that cannot be sent is
dropped; the loop returns after `stop.set()` and one more datagram, of any kind.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from petset.dns.responder import Responses

MAX_QUERY_BYTES = 470
"""The rest of a longer query is cut off, which makes it a FORMERR: no resolver sends one by UDP (a name and all usual
options are 350 bytes). A receive buffer of this size comes from CPython's own allocator; a larger one costs 4 % more.
"""
HEADER_BYTES = 12

Address = tuple[Any, ...]
"""Where a datagram came from, as `sendto` takes it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where responses come from: `hot` maps packets after their id to responses after theirs; `answer` has the rest."""

    hot: Mapping[bytes, Responses]
    answer: Callable[[bytes, Address], bytes | None]
    """From a packet and where it came from to the response, which begins with the packet's id; None for silence."""

    def answer_safely(self, packet: bytes, client: Address) -> bytes | None:
        """A bug behind one packet costs that packet its response, never the server. Silence without a whole header."""
        if len(packet) < HEADER_BYTES:
            return None
        try:
            return self.answer(packet, client)
        except Exception:
            log.exception("no response to a DNS packet of %d bytes by UDP", len(packet))
            return None


Loop = Callable[[socket.socket, Source, threading.Event], None]
"""Answers on a blocking socket until told to stop."""


def answer_one_by_one(bound: socket.socket, source: Source, stop: threading.Event) -> None:
    """The portable loop. Raises OSError when the socket is closed under it."""
    receive, send, hot = bound.recvfrom, bound.sendto, source.hot
    while True:
        try:
            packet, client = receive(MAX_QUERY_BYTES)
            # A lookup that may fail is a twentieth cheaper than one that asks: most do not fail.
            found = hot[packet[2:]]
            # `next_response`, in place: a call costs a tenth of the whole way.
            send(packet[:2] + (found if isinstance(found, bytes) else next(found)), client)
        except KeyError:
            if stop.is_set():
                return
            _answer(packet, client, bound, source)
        except OSError as error:
            _drop(error)


def _answer(packet: bytes, client: Address, bound: socket.socket, source: Source) -> None:
    """What is not in `hot`."""
    response = source.answer_safely(packet, client)
    if response is not None:
        try:
            bound.sendto(response, client)
        except OSError as error:
            _drop(error)


def _drop(error: OSError) -> None:
    """Go on after a datagram that could not be received or sent. Raises the error of a socket that is closed."""
    if error.errno == errno.EBADF:
        raise error
    log.debug("a DNS datagram was dropped: %s", error)

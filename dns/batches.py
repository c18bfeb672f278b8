"""The UDP half in batches: up to BATCH datagrams per system call (Linux' recvmmsg and sendmmsg, by ctypes).

    wait for LONE datagrams, answer each at once ──▶ answer all that has queued up, in batches, until nothing has ─┐
        ▲                                                                                                          │
        └──────────────────────────────────────────────────────────────────────────────────────────────────────────┘
    slot i    id │ rest of the query        one page-aligned slab, filled by recvmmsg
              │     └── looked up ──▶ response after its id (a bytes object, not copied)
    message i [id in its slot, response] ──▶ where slot i came from              one sendmmsg for all

The same contract as the portable loop (datagrams.py). A batch is cheap per datagram, but its first response waits for
its last: after a short stall of the machine, that shows in the 99th percentile. So nothing is batched before LONE
datagrams were answered one by one (recvmsg and sendmsg on slot 0, which spare Python's addresses); while queries come
faster than that, nearly all are answered in batches.

The kernel reads responses where CPython keeps them: the address of a bytes object's first byte is `id` plus the size
of its header. Each is referenced until it was sent.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import mmap
import os
import platform
import socket
import sys
import threading

from petset.dns.datagrams import MAX_QUERY_BYTES, Address, Loop, Source, answer_one_by_one

BATCH = 64
LONE = 32
"""How many datagrams are answered one by one before a look at the queue, which costs as much as half of one. With 8 the
99th percentile at 20,000 a second is 3 % worse; with 128 a queue that never ends costs 10 % more per datagram.
"""
_SLOT_BYTES = MAX_QUERY_BYTES
_ADDRESS_BYTES = {socket.AF_INET: 16, socket.AF_INET6: 28}
"""sockaddr_in and sockaddr_in6: a socket's clients are all of its own family."""
_ID_BYTES = 2
_BYTES_HEADER = bytes.__basicsize__ - 1

log = logging.getLogger(__name__)


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_uint64), ("length", ctypes.c_uint64)]


class _Message(ctypes.Structure):
    """struct mmsghdr of 64-bit Linux."""

    _fields_ = [
        ("name", ctypes.c_uint64),
        ("name_length", ctypes.c_uint32),
        ("iovecs", ctypes.c_uint64),
        ("iovec_count", ctypes.c_uint64),
        ("control", ctypes.c_uint64),
        ("control_length", ctypes.c_uint64),
        ("flags", ctypes.c_int32),
        ("padding", ctypes.c_int32),
        ("length", ctypes.c_uint32),
    ]


_MESSAGE_WORDS = ctypes.sizeof(_Message) // 4
_LENGTH_WORD = _Message.length.offset // 4
_IOVEC_WORDS = ctypes.sizeof(_Iovec) // 8


def has_batches() -> bool:
    """Whether `answer_in_batches` works here: 64-bit Linux and CPython."""
    return (
        sys.platform == "linux" and sys.maxsize > 2**32 and platform.python_implementation() == "CPython"
        and hasattr(ctypes.CDLL(None), "recvmmsg")
    )  # fmt: skip


def configured_loop(name: str) -> Loop:
    """The loop of a setting: `portable`, `batched`, or `auto` (batched where it works). Raises ValueError."""
    match name:
        case "portable":
            return answer_one_by_one
        case "batched":
            return answer_in_batches
        case "auto":
            return answer_in_batches if has_batches() else answer_one_by_one
    raise ValueError(f"no such DNS loop: {name!r}")


def answer_in_batches(bound: socket.socket, source: Source, stop: threading.Event) -> None:
    """The batched loop. Raises OSError when the socket is closed under it, or the platform has no such calls."""
    if not has_batches():
        raise OSError(errno.ENOSYS, "this platform has no recvmmsg")
    with _Batch(bound) as batch:
        missed = False
        while not (missed and stop.is_set()):
            missed = batch.answer_lone(source)
            missed |= batch.answer_queued(source)


def _place(slot: int) -> tuple[int, int, int, int, int, int]:
    """A slot, as `answer` goes through them: its number, where it begins, where its question does (bytes), and the
    words that hold its length, its response's address and its response's size.
    """
    start = slot * _SLOT_BYTES
    iovec_word = _IOVEC_WORDS * (2 * slot + 1)
    return slot, start, start + _ID_BYTES, slot * _MESSAGE_WORDS + _LENGTH_WORD, iovec_word, iovec_word + 1


class _Batch:
    """The buffers of one loop, laid out once: slot i's query, its client's address, and the message that answers it."""

    def __init__(self, bound: socket.socket) -> None:
        library = ctypes.CDLL(None)
        self._receive_one, self._send_one, self._receive_many = library.recvmsg, library.sendmsg, library.recvmmsg
        # To know why costs a tenth of a microsecond and more: only where many share it.
        self._send_many = ctypes.CDLL(None, use_errno=True).sendmmsg
        self._bound = bound
        self._descriptor = bound.fileno()
        self._slab = mmap.mmap(-1, BATCH * _SLOT_BYTES)
        self._pin = ctypes.c_char.from_buffer(self._slab)
        slab = ctypes.addressof(self._pin)
        self._name_bytes = name_bytes = _ADDRESS_BYTES[bound.family]
        self._names = ctypes.create_string_buffer(BATCH * name_bytes)
        self._inward = (_Message * BATCH)()
        self._outward = (_Message * BATCH)()
        self._inward_iovecs = (_Iovec * BATCH)()
        self._outward_iovecs = (_Iovec * (2 * BATCH))()
        for slot in range(BATCH):
            name = ctypes.addressof(self._names) + slot * name_bytes
            start = slab + slot * _SLOT_BYTES
            self._inward_iovecs[slot] = _Iovec(start, _SLOT_BYTES)
            self._outward_iovecs[2 * slot] = _Iovec(start, _ID_BYTES)
            self._inward[slot] = _Message(name, name_bytes, ctypes.addressof(self._inward_iovecs[slot]), 1)
            self._outward[slot] = _Message(name, name_bytes, ctypes.addressof(self._outward_iovecs[2 * slot]), 2)
        # What does not change is looked up instead of reckoned, packet by packet.
        self._places = [_place(slot) for slot in range(BATCH)]
        self._queries = ctypes.byref(self._inward)
        self._messages = [ctypes.byref(message) for message in self._outward]
        # Views of the fields that change: far cheaper than ctypes' own attributes.
        self._sizes = memoryview(self._inward).cast("B").cast("I")
        self._responses = memoryview(self._outward_iovecs).cast("B").cast("Q")

    def __enter__(self) -> _Batch:
        return self

    def __exit__(self, *_: object) -> None:
        del self._pin
        self._slab.close()

    def answer_lone(self, source: Source) -> bool:
        """Wait for LONE datagrams and answer each, until one is not answered from `hot`: whether that was so.

        Raises OSError when the socket is closed.
        """
        descriptor, slab, hot, responses = self._descriptor, self._slab, source.hot, self._responses
        receive, send, query, message = self._receive_one, self._send_one, self._queries, self._messages[0]
        _, _, question, length_word, address_word, size_word = self._places[0]
        for _ in range(LONE):
            size = receive(descriptor, query, 0)
            if size < 0:
                self._go_on()
                continue
            try:
                found = hot[slab[question:size]]
            except KeyError:
                self._sizes[length_word] = size
                return self._answer(1, source)
            response = found if isinstance(found, bytes) else next(found)
            responses[address_word] = id(response) + _BYTES_HEADER
            responses[size_word] = len(response)
            if send(descriptor, message, 0) < 0:
                self._send(0, 1)  # Says why not.
        return False

    def answer_queued(self, source: Source) -> bool:
        """Answer what is there, until nothing is, or something was not answered from `hot`: whether that was so."""
        # What is wrong with the socket, if that is why nothing was received, the next `answer_lone` meets.
        while (count := self._receive_many(self._descriptor, self._queries, BATCH, socket.MSG_DONTWAIT, None)) > 0:
            if self._answer(count, source):
                return True
        return False

    def _answer(self, count: int, source: Source) -> bool:
        """Answer the first `count` slots; whether any of them was not answered from `hot`."""
        slab, hot, sizes, responses = self._slab, source.hot, self._sizes, self._responses
        keep: list[bytes] = []
        first, missed = 0, False
        for slot, start, question, length_word, address_word, size_word in self._places[:count]:
            end = start + sizes[length_word]
            found = hot.get(slab[question:end])
            if found is not None:
                response = found if isinstance(found, bytes) else next(found)
                responses[address_word] = id(response) + _BYTES_HEADER
                responses[size_word] = len(response)
            else:
                missed = True
                whole = source.answer_safely(slab[start:end], self._client(slot))
                if whole is None:
                    self._send(first, slot)
                    first = slot + 1
                    continue
                response = whole
                responses[address_word] = id(response) + _BYTES_HEADER + _ID_BYTES
                responses[size_word] = len(response) - _ID_BYTES
            keep.append(response)
        self._send(first, count)
        return missed

    def _go_on(self) -> None:
        """After a datagram that could not be received. Raises OSError when the socket is closed."""
        # Not by the descriptor, which may be another file's by now.
        if self._bound.fileno() < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        log.debug("a DNS datagram was not received")

    def _client(self, slot: int) -> Address:
        """Where the datagram in this slot came from, as Python writes it."""
        name = self._names.raw[slot * self._name_bytes : (slot + 1) * self._name_bytes]
        port = int.from_bytes(name[2:4], "big")
        if self._name_bytes == _ADDRESS_BYTES[socket.AF_INET]:
            return socket.inet_ntop(socket.AF_INET, name[4:8]), port
        flow, scope = int.from_bytes(name[4:8], "big"), int.from_bytes(name[24:28], sys.byteorder)
        return socket.inet_ntop(socket.AF_INET6, name[8:24]), port, flow, scope

    def _send(self, first: int, end: int) -> None:
        """Send the messages of these slots; one that cannot be sent is left out."""
        while first < end:
            sent = int(self._send_many(self._descriptor, self._messages[first], end - first, 0))
            if sent < 0:
                log.debug("a DNS response was not sent: %s", os.strerror(ctypes.get_errno()))
            first += max(sent, 1)

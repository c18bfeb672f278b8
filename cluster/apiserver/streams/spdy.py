"""SPDY/3.1 as Kubernetes' clients use it: many streams in one byte stream, without I/O.

    bytes ─► receive() ─► StreamOpened · StreamData · StreamReset · GoneAway, and answers to pings in `to_send`
    reply(), data(), reset(), go_away() ─► bytes to send, in that order: headers share one compression state

    | 1, version 3, type | flags, length 24 | …  control        | stream 31 | flags, length 24 | …  data

Left out, since no client of Kubernetes uses it: flow control, priorities, SETTINGS, HEADERS, streams opened by the
server. Window updates and settings are read and ignored, as moby/spdystream does. Data of a stream that is closed or
was never opened is dropped.

Bounds: a control frame of MAX_CONTROL_BYTES, MAX_HEADER_BYTES of headers after decompression, MAX_STREAMS at a time.
Data is handed on as it comes in, never collected. Whatever breaks a rule raises ProtocolError, after which the
connection is of no use any more.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from petset.cluster.apiserver.streams.channels import ProtocolError
from petset.cluster.apiserver.streams.spdy_dictionary import DICTIONARY

MAX_CONTROL_BYTES = 64 * 1024
MAX_HEADER_BYTES = 64 * 1024
MAX_STREAMS = 1000

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS = 1, 2, 3, 4, 6, 7, 8
PROTOCOL_ERROR, REFUSED_STREAM, CANCEL = 1, 3, 5

_VERSION = 0x8003
_FIN = 0x01
_HEAD_BYTES = 8
_MAX_DATA_BYTES = 0xFFFFFF


@dataclass(frozen=True)
class StreamOpened:
    """The client opens a stream; `ended`: it will send nothing on it."""

    stream: int
    headers: Mapping[str, str]
    ended: bool


@dataclass(frozen=True)
class StreamData:
    """A piece of a stream; the last when `ended`."""

    stream: int
    data: bytes
    ended: bool


@dataclass(frozen=True)
class StreamReset:
    """The client wants nothing more of a stream."""

    stream: int


@dataclass(frozen=True)
class GoneAway:
    """The client opens no more streams."""


Event = StreamOpened | StreamData | StreamReset | GoneAway


class SpdyServer:
    """The server's end of one SPDY connection."""

    def __init__(self) -> None:
        self.to_send = bytearray()
        """Answers to pings; the caller sends and clears them."""
        self._received = bytearray()
        self._data_stream = 0
        self._data_left = 0
        self._data_ends = False
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._receiving: set[int] = set()
        """Streams on which the client may still send."""
        self._newest = 0

    # -- in -------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """What the bytes mean. Raises ProtocolError."""
        self._received += data
        return [*self._events()]

    def _events(self) -> Iterator[Event]:
        while True:
            if self._data_left:
                if not self._received:
                    return
                yield from self._take_data()
                continue
            if len(self._received) < _HEAD_BYTES:
                return
            first, rest = struct.unpack_from("!II", self._received)
            flags, length = rest >> 24, rest & 0xFFFFFF
            if first >> 31:
                if length > MAX_CONTROL_BYTES:
                    raise ProtocolError(f"a control frame of {length} bytes; {MAX_CONTROL_BYTES} are allowed")
                if len(self._received) < _HEAD_BYTES + length:
                    return
                body = bytes(self._received[_HEAD_BYTES : _HEAD_BYTES + length])
                del self._received[: _HEAD_BYTES + length]
                if first >> 16 != _VERSION:
                    raise ProtocolError(f"SPDY version {(first >> 16) & 0x7FFF}; only 3 is spoken")
                yield from self._control(first & 0xFFFF, flags, body)
            else:
                del self._received[:_HEAD_BYTES]
                self._data_stream, self._data_left, self._data_ends = first, length, bool(flags & _FIN)
                if length == 0:
                    yield from self._deliver(b"", ended=self._data_ends)

    def _take_data(self) -> Iterator[Event]:
        piece = bytes(self._received[: self._data_left])
        del self._received[: len(piece)]
        self._data_left -= len(piece)
        yield from self._deliver(piece, ended=self._data_ends and not self._data_left)

    def _deliver(self, piece: bytes, *, ended: bool) -> Iterator[Event]:
        if self._data_stream not in self._receiving:
            return
        if ended:
            self._receiving.discard(self._data_stream)
        if piece or ended:
            yield StreamData(self._data_stream, piece, ended)

    def _control(self, kind: int, flags: int, body: bytes) -> Iterator[Event]:
        match kind:
            case 1:  # SYN_STREAM
                yield self._opened(flags, body)
            case 3:  # RST_STREAM
                stream, _code = _unpack("!II", body)
                self._receiving.discard(stream)
                yield StreamReset(stream)
            case 6:  # PING
                self.to_send += _control_frame(PING, body[:4])
            case 7:  # GOAWAY
                yield GoneAway()
            case 8:  # HEADERS: nobody sends them, but they would be part of the compression state
                self._decompress(body[4:])

    def _opened(self, flags: int, body: bytes) -> StreamOpened:
        stream, _associated, _priority = _unpack("!IIH", body)
        headers = self._decompress(body[10:])
        if stream % 2 == 0 or stream <= self._newest:
            raise ProtocolError(f"stream number {stream} after {self._newest}")
        if len(self._receiving) >= MAX_STREAMS:
            raise ProtocolError(f"more than {MAX_STREAMS} streams")
        self._newest = stream
        if not flags & _FIN:
            self._receiving.add(stream)
        return StreamOpened(stream, headers, bool(flags & _FIN))

    def _decompress(self, block: bytes) -> dict[str, str]:
        try:
            text = self._inflate.decompress(block, MAX_HEADER_BYTES)
        except zlib.error as error:
            raise ProtocolError(f"headers that do not decompress: {error}") from error
        if self._inflate.unconsumed_tail:
            raise ProtocolError(f"headers of more than {MAX_HEADER_BYTES} bytes")
        return _parse_headers(text)

    # -- out ------------------------------------------------------------------------------------------------------

    def reply(self, stream: int) -> bytes:
        """Accept a stream, without headers."""
        block = self._deflate.compress(b"\0\0\0\0") + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _control_frame(SYN_REPLY, struct.pack("!I", stream) + block)

    def data(self, stream: int, data: bytes, *, end: bool = False) -> bytes:
        """Data of a stream; with `end` the last."""
        pieces = [data[at : at + _MAX_DATA_BYTES] for at in range(0, len(data), _MAX_DATA_BYTES)] or [b""]
        frames = [struct.pack("!II", stream, len(piece)) + piece for piece in pieces[:-1]]
        last = pieces[-1]
        return b"".join([*frames, struct.pack("!II", stream, (_FIN << 24 if end else 0) | len(last)), last])

    def reset(self, stream: int, code: int = CANCEL) -> bytes:
        """Refuse a stream, or break it off; what the client sends on it from now on is dropped."""
        self._receiving.discard(stream)
        return _control_frame(RST_STREAM, struct.pack("!II", stream, code))

    def go_away(self) -> bytes:
        """The connection ends."""
        return _control_frame(GOAWAY, struct.pack("!II", self._newest, 0))


def _control_frame(kind: int, body: bytes) -> bytes:
    return struct.pack("!HHI", _VERSION, kind, len(body)) + body


def _unpack(form: str, body: bytes) -> tuple[int, ...]:
    if len(body) < struct.calcsize(form):
        raise ProtocolError("a control frame that is cut short")
    numbers: tuple[int, ...] = struct.unpack_from(form, body)
    return (numbers[0] & 0x7FFFFFFF, *numbers[1:])


def _parse_headers(text: bytes) -> dict[str, str]:
    """Pairs of names and values, each after its length; names are lower case."""
    at, words = 4, []
    if len(text) < at:
        raise ProtocolError("headers that are cut short")
    count = int.from_bytes(text[:4], "big")
    for _ in range(2 * count):
        end = at + 4 + int.from_bytes(text[at : at + 4], "big")
        if end > len(text):
            raise ProtocolError("headers that are cut short")
        words.append(text[at + 4 : end].decode("latin-1"))
        at = end
    return {name.lower(): value for name, value in zip(words[::2], words[1::2], strict=True)}

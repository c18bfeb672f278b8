"""The SPDY framer against a client written here, and against anything that a hostile one may send."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.cluster.apiserver.streams.channels import ProtocolError
from petset.cluster.apiserver.streams.spdy import (
    MAX_CONTROL_BYTES,
    MAX_HEADER_BYTES,
    MAX_STREAMS,
    Event,
    GoneAway,
    SpdyServer,
    StreamData,
    StreamOpened,
    StreamReset,
)
from petset.cluster.apiserver.streams.spdy_dictionary import DICTIONARY


class Client:
    """Writes what a SPDY client would."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def opens(self, stream: int, *, fin: bool = False, **headers: str) -> bytes:
        block = struct.pack("!I", len(headers)) + b"".join(
            struct.pack("!I", len(word)) + word.encode() for pair in headers.items() for word in pair
        )
        packed = self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return control(1, struct.pack("!IIH", stream, 0, 0) + packed, flags=int(fin))


def control(kind: int, body: bytes, *, flags: int = 0, version: int = 0x8003) -> bytes:
    return struct.pack("!HHI", version, kind, flags << 24 | len(body)) + body


def data(stream: int, payload: bytes, *, fin: bool = False) -> bytes:
    return struct.pack("!II", stream, int(fin) << 24 | len(payload)) + payload


def test_the_dictionary_is_the_prescribed_one() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_a_session() -> None:
    client, server = Client(), SpdyServer()
    sent = client.opens(1, streamtype="error", fin=True) + client.opens(3, StreamType="stdin")
    sent += data(3, b"hello") + data(3, b"", fin=True) + control(3, struct.pack("!II", 1, 5))
    sent += control(7, bytes(8))
    assert server.receive(sent) == [
        StreamOpened(1, {"streamtype": "error"}, True),
        StreamOpened(3, {"streamtype": "stdin"}, False),
        StreamData(3, b"hello", False),
        StreamData(3, b"", True),
        StreamReset(1),
        GoneAway(),
    ]


@given(cuts=st.lists(st.integers(0, 200), max_size=20), payload=st.binary(max_size=100))
def test_where_the_bytes_are_cut_means_nothing(cuts: list[int], payload: bytes) -> None:
    client, server = Client(), SpdyServer()
    sent = client.opens(1, streamtype="data", port="80") + data(1, payload) + data(1, b"end", fin=True)
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    events: list[Event] = []
    for begin, end in pairwise(edges):
        events += server.receive(sent[begin:end])
    assert events[0] == StreamOpened(1, {"streamtype": "data", "port": "80"}, False)
    pieces = [event for event in events[1:] if isinstance(event, StreamData)]
    assert b"".join(piece.data for piece in pieces) == payload + b"end"
    assert [piece.ended for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_pings_are_echoed_and_window_updates_ignored() -> None:
    server = SpdyServer()
    assert server.receive(control(6, b"\0\0\0\7") + control(9, bytes(8)) + control(4, bytes(4))) == []
    assert bytes(server.to_send) == control(6, b"\0\0\0\7")


def test_data_of_streams_that_are_not_open_is_dropped() -> None:
    client, server = Client(), SpdyServer()
    server.receive(client.opens(1, streamtype="data"))
    server.reset(1)
    assert server.receive(data(1, b"late") + data(7, b"never opened", fin=True)) == []


def test_answers_can_be_read_by_a_client() -> None:
    server, inflate = SpdyServer(), zlib.decompressobj(zdict=DICTIONARY)
    for stream in (1, 3):
        reply = server.reply(stream)
        assert reply[:12] == struct.pack("!HHII", 0x8003, 2, len(reply) - 8, stream)
        assert inflate.decompress(reply[12:]) == bytes(4)
    assert server.data(3, b"x", end=True) == data(3, b"x", fin=True)
    large = server.data(3, bytes(0x1000000), end=True)
    assert len(large) == 0x1000000 + 16
    assert large[:8] == data(3, bytes(0xFFFFFF))[:8]


def bomb() -> bytes:
    deflate = zlib.compressobj(zdict=DICTIONARY)
    packed = deflate.compress(struct.pack("!II", 1, MAX_HEADER_BYTES * 2) + bytes(MAX_HEADER_BYTES * 2))
    return control(1, struct.pack("!IIH", 1, 0, 0) + packed + deflate.flush(zlib.Z_SYNC_FLUSH))


BREACHES = {
    "another version": control(1, bytes(20), version=0x8002),
    "a control frame that is too large": struct.pack("!HHI", 0x8003, 1, MAX_CONTROL_BYTES + 1),
    "a control frame that is cut short": control(3, b"\0\0"),
    "headers that do not decompress": control(1, bytes(30)),
    "headers that decompress to very much": bomb(),
    "an even stream number": Client().opens(2, streamtype="data"),
}


@pytest.mark.parametrize("sent", BREACHES.values(), ids=BREACHES)
def test_breaches_end_the_connection(sent: bytes) -> None:
    with pytest.raises(ProtocolError):
        SpdyServer().receive(sent)


def test_a_stream_is_opened_once() -> None:
    client, server = Client(), SpdyServer()
    server.receive(client.opens(3, streamtype="data"))
    with pytest.raises(ProtocolError, match="stream number 1 after 3"):
        server.receive(client.opens(1, streamtype="data"))


def test_streams_are_counted() -> None:
    client, server = Client(), SpdyServer()
    for number in range(MAX_STREAMS):
        server.receive(client.opens(2 * number + 1, streamtype="data"))
    with pytest.raises(ProtocolError, match="more than"):
        server.receive(client.opens(2 * MAX_STREAMS + 1, streamtype="data"))


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_noise_is_understood_or_refused_and_never_collected(pieces: list[bytes]) -> None:
    server = SpdyServer()
    try:
        for piece in pieces:
            for event in server.receive(piece):
                assert not isinstance(event, StreamData)
    except ProtocolError:
        return
    assert len(server._received) <= MAX_CONTROL_BYTES + 8


FRAMES = st.one_of(
    st.builds(control, st.integers(0, 12), st.binary(max_size=60), flags=st.integers(0, 255)),
    st.builds(data, st.integers(0, 2**31 - 1), st.binary(max_size=60), fin=st.booleans()),
)


@given(st.lists(FRAMES, max_size=10))
def test_well_formed_frames_in_any_order_are_understood_or_refused(frames: list[bytes]) -> None:
    client, server = Client(), SpdyServer()
    server.receive(client.opens(1, streamtype="data"))
    try:
        for each in frames:
            server.receive(each)
    except ProtocolError:
        return

"""Frames survive every way of being cut, and garbage is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.cluster.node.frames import MAX_FRAME_BYTES, FrameDecoder, encode

messages = st.dictionaries(st.text(max_size=5), st.text() | st.integers() | st.lists(st.text(max_size=3)), max_size=4)


@given(sent=st.lists(messages, max_size=5), piece=st.integers(min_value=1, max_value=50))
def test_what_is_sent_arrives_however_it_is_cut(sent: list[dict[str, object]], piece: int) -> None:
    stream = b"".join(encode(message) for message in sent)
    decoder = FrameDecoder()
    received: list[dict[str, object]] = []
    for start in range(0, len(stream), piece):
        received += decoder.feed(stream[start : start + piece])
    assert received == sent


def test_half_a_message_is_none() -> None:
    assert list(FrameDecoder().feed(encode({"do": "launch"})[:-1])) == []


def test_a_message_that_is_too_large_is_not_sent() -> None:
    with pytest.raises(ValueError, match="bytes"):
        encode({"env": "x" * MAX_FRAME_BYTES})


def test_a_stream_that_is_not_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        list(FrameDecoder().feed(b"HTTP/1.1 200 OK"))

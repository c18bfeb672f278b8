"""Frames: what is written is read again however it is cut, and nothing else passes."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.cluster.streaming.frames import MAX_PAYLOAD_BYTES, FrameError, exited, failed, frame, read_frames

FRAMES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=50)), max_size=8)


async def frames_of(*pieces: bytes) -> list[tuple[int, bytes]]:
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    return [each async for each in read_frames(reader)]


@given(FRAMES, st.integers(0, 100))
def test_what_is_written_is_read(frames: list[tuple[int, bytes]], cut: int) -> None:
    sent = b"".join(frame(*each) for each in frames)
    assert asyncio.run(frames_of(sent[:cut], sent[cut:])) == frames


async def test_a_stream_that_breaks_off_has_ended() -> None:
    assert await frames_of(frame(1, b"whole") + frame(1, b"half")[:-1]) == [(1, b"whole")]


async def test_a_frame_that_is_too_large() -> None:
    with pytest.raises(FrameError):
        await frames_of(b"\1" + (MAX_PAYLOAD_BYTES + 1).to_bytes(3, "big"))
    with pytest.raises(FrameError):
        frame(1, bytes(MAX_PAYLOAD_BYTES + 1))


def test_an_exit_code_is_a_status_of_kubernetes() -> None:
    assert json.loads(exited(0)[4:]) == {"metadata": {}, "status": "Success"}
    status = json.loads(exited(3)[4:])
    assert (status["reason"], status["details"]) == (
        "NonZeroExitCode",
        {"causes": [{"reason": "ExitCode", "message": "3"}]},
    )
    assert json.loads(failed("no")[4:])["message"] == "no"

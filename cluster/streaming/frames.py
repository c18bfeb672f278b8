"""How a stream of exec, attach, logs or port-forward travels inside the cluster: channels over one byte stream.

    client ══ WebSocket or SPDY ══ API server ── frames, TLS ── kubelet ── frames, Unix socket ── node

    | channel, 1 byte | length, 3 bytes big-endian | payload |

Channels are those of Kubernetes' v5.channel.k8s.io: 0 stdin, 1 stdout, 2 stderr, 3 the final Status (JSON), 4 the
terminal's size, 255 "the channel in my payload is at its end". So a WebSocket message becomes a frame by a length and
nothing else, and the kubelet passes bytes on without looking at them. A Status is the last frame of a stream.

Bounds: MAX_PAYLOAD_BYTES per frame; a reader keeps one frame. Backpressure is the byte stream's own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255

MAX_PAYLOAD_BYTES = 1024 * 1024
READ_BUFFER_BYTES = 256 * 1024
"""A good limit for the StreamReader under `read_frames`."""

_HEAD_BYTES = 4


class FrameError(ConnectionError):
    """The peer does not speak frames."""


def frame(channel: int, payload: bytes) -> bytes:
    """One frame. Raises FrameError when the payload is larger than MAX_PAYLOAD_BYTES."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise FrameError(f"a frame of {len(payload)} bytes; {MAX_PAYLOAD_BYTES} are allowed")
    return bytes([channel]) + len(payload).to_bytes(3, "big") + payload


def end_of(channel: int) -> bytes:
    """The frame that says that nothing more comes on a channel."""
    return frame(CLOSE, bytes([channel]))


async def read_frames(reader: asyncio.StreamReader) -> AsyncIterator[tuple[int, bytes]]:
    """(channel, payload) of each frame until the stream ends, cleanly or not. Raises FrameError."""
    while True:
        try:
            head = await reader.readexactly(_HEAD_BYTES)
            length = int.from_bytes(head[1:], "big")
            if length > MAX_PAYLOAD_BYTES:
                raise FrameError(f"a frame of {length} bytes; {MAX_PAYLOAD_BYTES} are allowed")
            yield head[0], await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return


def succeeded() -> bytes:
    """The Status of a stream that did its work."""
    return frame(STATUS, json.dumps({"metadata": {}, "status": "Success"}).encode())


def exited(code: int) -> bytes:
    """The Status of a command's end, with its exit code (remotecommand.NonZeroExitCodeReason)."""
    if code == 0:
        return succeeded()
    cause = {"reason": "ExitCode", "message": str(code)}
    message = f"command terminated with non-zero exit code: exit status {code}"
    return _failure(message, {"reason": "NonZeroExitCode", "details": {"causes": [cause]}})


def failed(message: str) -> bytes:
    """The Status of a stream that could not do its work."""
    return _failure(message, {"reason": "InternalError", "details": {"causes": [{"message": message}]}, "code": 500})


def _failure(message: str, more: dict[str, Any]) -> bytes:
    return frame(STATUS, json.dumps({"metadata": {}, "status": "Failure", "message": message, **more}).encode())

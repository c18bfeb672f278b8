"""Messages between a machine and its warm parent: JSON objects, each after its length in four bytes.

    | length, big-endian | JSON |

A stream, not packets: a packet socket limits a message to its buffer, and a pod's environment may be larger. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""No message comes near it: the kernel takes no more than a few MiB of arguments and environment."""

_HEAD_BYTES = 4


def encode(message: Mapping[str, Any]) -> bytes:
    """One frame. Raises ValueError when the message is larger than MAX_FRAME_BYTES."""
    body = json.dumps(message).encode()
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {len(body)} bytes; {MAX_FRAME_BYTES} are allowed")
    return len(body).to_bytes(_HEAD_BYTES, "big") + body


class FrameDecoder:
    """Cuts a byte stream into messages. Keeps at most one unfinished frame."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that are complete now. Raises ValueError when the stream is not made of frames."""
        self._pending += data
        while len(self._pending) >= _HEAD_BYTES:
            end = _HEAD_BYTES + int.from_bytes(self._pending[:_HEAD_BYTES], "big")
            if end > _HEAD_BYTES + MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {end} bytes; {MAX_FRAME_BYTES} are allowed")
            if len(self._pending) < end:
                return
            message = json.loads(self._pending[_HEAD_BYTES:end])
            del self._pending[:end]
            yield message

"""The channel protocols of exec and attach over WebSocket: one byte of channel, then data (remotecommand/websocket.go).

    0 stdin ▸   ◂ 1 stdout   ◂ 2 stderr   ◂ 3 Status   4 size of the terminal ▸   255 end of the named channel ▸ (v5)

Inside the cluster the same channels travel in frames (streaming/frames.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.cluster.streaming.frames import CLOSE, RESIZE, STDIN

V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
SUBPROTOCOLS = (V5, V4)
MAX_MESSAGE_BYTES = 1024 * 1024
MAX_RESIZE_BYTES = 1024


class ProtocolError(ConnectionError):
    """The client does not keep to the protocol; its connection ends with this text."""


def negotiate(offered: Iterable[str]) -> str | None:
    """The newest protocol that a client offers and we speak."""
    known = set(offered)
    return next((each for each in SUBPROTOCOLS if each in known), None)


def parse_message(message: bytes, subprotocol: str) -> tuple[int, bytes] | None:
    """(channel, data) of a client's message; None for one without meaning. Raises ProtocolError.

    Empty messages and empty data are allowed, as keep-alive by old clients.
    """
    if len(message) < 2:
        return None
    channel, data = message[0], message[1:]
    if channel == STDIN:
        return channel, data
    if channel == RESIZE and len(data) <= MAX_RESIZE_BYTES:
        return channel, data
    if channel == CLOSE and subprotocol == V5:
        return (channel, data) if data == bytes([STDIN]) else None
    raise ProtocolError(f"unexpected message on channel {channel}")

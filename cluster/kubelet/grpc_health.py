"""One call of grpc.health.v1.Health/Check, without I/O: bytes to send, bytes received, an answer.

    HTTP/2 preface, SETTINGS, HEADERS (POST …/Check), DATA (5 bytes, HealthCheckRequest) ─▶
                       ◀─ HEADERS, DATA (5 bytes, HealthCheckResponse), HEADERS with grpc-status

HTTP/2 is h2's; of gRPC this is all that a probe needs. The two messages have one field each (`service` = 1, a text;
`status` = 1, an enum), so they are written and read here by hand. Left out: TLS, as in Kubernetes' prober.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

import h2.connection
import h2.events
import h2.exceptions

PATH = "/grpc.health.v1.Health/Check"
STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
UNAVAILABLE = 14
MAX_MESSAGE_BYTES = 1024
"""A HealthCheckResponse has a few; a server that sends on and on is no gRPC health server."""
_PREFIX_BYTES = 5
"""Before a message: whether it is compressed, and its length."""
_STATUS_TAG = b"\x08"


class HealthCall:
    """The call for one service ("" is the server as a whole); `answer` is there once it has ended."""

    def __init__(self, authority: str, service: str, user_agent: str) -> None:
        self.answer: tuple[int, str] | None = None
        """(0, the status's name) or (another gRPC status code, its message)."""
        self._message = b""
        self._connection = h2.connection.H2Connection()
        self._connection.initiate_connection()
        stream_id = self._connection.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", PATH),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", user_agent),
        ]
        self._connection.send_headers(stream_id, headers)
        self._connection.send_data(stream_id, _framed(_request(service)), end_stream=True)

    def data_to_send(self) -> bytes:
        return self._connection.data_to_send()

    def receive(self, data: bytes) -> None:
        """Take what the server sent. Raises OSError when that is not HTTP/2, or no call of ours."""
        try:
            events = self._connection.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise OSError(f"not HTTP/2: {error}") from error
        for event in events:
            self._take(event)

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                self._end(event.headers or ())
            case h2.events.DataReceived():
                self._message += event.data or b""
                if len(self._message) > MAX_MESSAGE_BYTES:
                    raise OSError(f"the server answered with more than {MAX_MESSAGE_BYTES} bytes")
                self._connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                error = f"the server ended the call with HTTP/2 error {int(event.error_code or 0)}"
                self.answer = self.answer or (UNAVAILABLE, error)
            case h2.events.StreamEnded() if self.answer is None:
                raise OSError("the server answered in HTTP/2, but not in gRPC")

    def _end(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Trailers end the call; an error may come as the only headers."""
        known = {bytes(name): bytes(value) for name, value in headers}
        status = known.get(b"grpc-status", b"")
        if not status.isdigit():
            return
        if code := int(status):
            self.answer = (code, unquote(known.get(b"grpc-message", b"").decode(errors="replace")))
        else:
            self.answer = (0, _status_in(self._message[_PREFIX_BYTES:]))


def _request(service: str) -> bytes:
    """HealthCheckRequest. A service's name fits into a length of one byte or two."""
    name = service.encode()
    if not name:
        return b""
    length = bytes([len(name)]) if len(name) < 0x80 else bytes([len(name) & 0x7F | 0x80, len(name) >> 7])
    return b"\x0a" + length + name


def _framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(_PREFIX_BYTES - 1, "big") + message


def _status_in(message: bytes) -> str:
    """The status of a HealthCheckResponse; an absent field is the first one."""
    number = message[1] if message.startswith(_STATUS_TAG) and len(message) > 1 else 0
    return STATUSES[number] if number < len(STATUSES) else str(number)

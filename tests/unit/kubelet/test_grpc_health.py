"""The gRPC health call against h2's own server side, byte by byte and at once."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import pytest

from petset.cluster.kubelet.grpc_health import MAX_MESSAGE_BYTES, PATH, HealthCall

OK = [(":status", "200"), ("content-type", "application/grpc")]


class HealthServer:
    """Answers one call: `response` headers, `message`, `trailers`; remembers what it was asked."""

    def __init__(
        self, *, response: list[tuple[str, str]] | None = OK, message: bytes = b"",
        trailers: list[tuple[str, str | bytes]] | None = None,
    ) -> None:  # fmt: skip
        self.headers: dict[bytes, bytes] = {}
        self.asked = b""
        self._response = response
        self._message = message
        self._trailers = trailers
        self._connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._connection.initiate_connection()

    def data_to_send(self) -> bytes:
        return self._connection.data_to_send()

    def receive(self, data: bytes) -> None:
        for event in self._connection.receive_data(data):
            match event:
                case h2.events.RequestReceived():
                    self.headers = dict(event.headers or ())
                case h2.events.DataReceived():
                    self.asked += event.data or b""
                case h2.events.StreamEnded():
                    self._answer(event.stream_id or 0)

    def _answer(self, stream: int) -> None:
        if self._response is None:
            self._connection.reset_stream(stream, error_code=2)
            return
        alone = not self._message and self._trailers is None
        self._connection.send_headers(stream, self._response, end_stream=alone)
        if self._message:
            self._connection.send_data(stream, self._message, end_stream=self._trailers is None)
        if self._trailers is not None:
            self._connection.send_headers(stream, self._trailers, end_stream=True)


def talk(call: HealthCall, server: HealthServer, piece: int = 65536) -> None:
    """Both sides, until neither has anything to say."""
    said = True
    while said and call.answer is None:
        said = False
        for speaker, listener in ((call, server), (server, call)):
            data = speaker.data_to_send()
            said = said or bool(data)
            for start in range(0, len(data), piece):
                listener.receive(data[start : start + piece])


def status_message(number: int) -> bytes:
    return b"\0\0\0\0\2\x08" + bytes([number])


DONE: list[tuple[str, str | bytes]] = [("grpc-status", "0")]
ANSWERS = [
    pytest.param(HealthServer(message=status_message(1), trailers=DONE), (0, "SERVING"), id="serving"),
    pytest.param(HealthServer(message=status_message(2), trailers=DONE), (0, "NOT_SERVING"), id="not serving"),
    pytest.param(HealthServer(message=b"\0\0\0\0\0", trailers=DONE), (0, "UNKNOWN"), id="an absent field is zero"),
    pytest.param(HealthServer(message=status_message(9), trailers=DONE), (0, "9"), id="a status from the future"),
    pytest.param(
        HealthServer(response=[*OK, ("grpc-status", "12"), ("grpc-message", "unknown%20service")]),
        (12, "unknown service"), id="an error as the only headers",
    ),
    pytest.param(
        HealthServer(trailers=[("grpc-status", "5"), ("grpc-message", "no x")]), (5, "no x"), id="an error in trailers"
    ),
    pytest.param(
        HealthServer(trailers=[("grpc-status", "5"), ("grpc-message", b"\xff")]), (5, "\ufffd"), id="words of no text"
    ),
    pytest.param(
        HealthServer(response=None), (14, "the server ended the call with HTTP/2 error 2"), id="a reset"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("server", "answer"), ANSWERS)
def test_the_answer(server: HealthServer, answer: tuple[int, str]) -> None:
    call = HealthCall("10.244.1.5:9000", "", "kube-probe/1.33")
    talk(call, server)
    assert call.answer == answer


def test_a_message_without_end_is_no_answer() -> None:
    call = HealthCall("10.244.1.5:9000", "", "kube-probe/1.33")
    with pytest.raises(OSError, match="more than 1024 bytes"):
        talk(call, HealthServer(message=bytes(MAX_MESSAGE_BYTES + 1), trailers=DONE))


def test_it_may_come_byte_by_byte() -> None:
    call = HealthCall("10.244.1.5:9000", "", "kube-probe/1.33")
    talk(call, HealthServer(message=status_message(1), trailers=DONE), piece=1)
    assert call.answer == (0, "SERVING")


@pytest.mark.parametrize(
    ("service", "message"),
    [
        pytest.param("", b"", id="the server as a whole"),
        pytest.param("db", b"\x0a\x02db", id="a service"),
        pytest.param("x" * 200, b"\x0a\xc8\x01" + b"x" * 200, id="a long name"),
    ],
)
def test_the_question(service: str, message: bytes) -> None:
    server = HealthServer(message=status_message(1), trailers=DONE)
    talk(HealthCall("10.244.1.5:9000", service, "kube-probe/1.33"), server)
    assert server.asked == b"\0" + len(message).to_bytes(4, "big") + message
    assert server.headers[b":path"] == PATH.encode()
    assert server.headers[b":authority"] == b"10.244.1.5:9000"
    assert server.headers[b"user-agent"] == b"kube-probe/1.33"
    assert server.headers[b"te"] == b"trailers"


def test_what_is_not_grpc_is_an_error() -> None:
    call = HealthCall("10.244.1.5:9000", "", "kube-probe/1.33")
    with pytest.raises(OSError, match="not HTTP/2"):
        call.receive(b"\0\0\1\0\0\0\0\0\0x")  # data of no stream
    call = HealthCall("10.244.1.5:9000", "", "kube-probe/1.33")
    with pytest.raises(OSError, match="not in gRPC"):
        talk(call, HealthServer(response=[(":status", "404")]))

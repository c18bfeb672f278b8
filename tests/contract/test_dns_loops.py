"""What every loop over DNS datagrams promises (dns/datagrams.py)."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, repeat

import pytest

from petset.dns.batches import answer_in_batches, has_batches
from petset.dns.datagrams import MAX_QUERY_BYTES, Address, Loop, Source, answer_one_by_one

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 10.0

LOOPS = [
    pytest.param(answer_one_by_one, id="one by one"),
    pytest.param(
        answer_in_batches,
        id="batches",
        marks=pytest.mark.skipif(not has_batches(), reason="no recvmmsg on this platform"),
    ),
]
pytestmark = pytest.mark.parametrize("loop", LOOPS)


def nothing(packet: bytes, client: Address) -> bytes | None:
    return None


def bound_socket(host: str = HOST) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    return made


@contextmanager
def client_of(bound: socket.socket) -> Iterator[socket.socket]:
    with socket.socket(bound.family, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        client.settimeout(TIMEOUT_SECONDS)
        client.connect(bound.getsockname())
        yield client


@contextmanager
def running(loop: Loop, source: Source, *, host: str = HOST) -> Iterator[socket.socket]:
    """The loop in a thread; answers its socket."""
    stop = threading.Event()
    with bound_socket(host) as bound:
        thread = threading.Thread(target=loop, args=(bound, source, stop), daemon=True)
        thread.start()
        try:
            yield bound
        finally:
            stop.set()
            with client_of(bound) as client:
                client.send(b"")
            thread.join(TIMEOUT_SECONDS)
            assert not thread.is_alive(), "the loop goes on after it was told to stop"


def ask(client: socket.socket, packet: bytes) -> bytes:
    client.send(packet)
    return client.recv(65_536)


@pytest.mark.parametrize("host", [HOST, "::1"])
def test_hot_packets_keep_their_id_and_take_turns(loop: Loop, host: str) -> None:
    source = Source({b"question": cycle([b"first", b"second"])}, nothing)
    try:
        bound_socket(host).close()
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with running(loop, source, host=host) as bound, client_of(bound) as client:
        assert [ask(client, b"%02dquestion" % turn) for turn in range(4)] == [
            b"00first", b"01second", b"02first", b"03second",
        ]  # fmt: skip


def test_others_are_answered_by_the_function_and_silence_is_possible(loop: Loop) -> None:
    def answer(packet: bytes, client: Address) -> bytes | None:
        return None if packet.startswith(b"no") else packet + b"!"

    with running(loop, Source({b"hot": b"cold"}, answer)) as bound, client_of(bound) as client:
        for packet in (
            b"no answer ...",
            b"12 a packet .",
            b"no, and again",
            b"34hot",
            b"no, not more",
            b"56 b packet .",
        ):
            client.send(packet)
        assert sorted(client.recv(100) for _ in range(3)) == [b"12 a packet .!", b"34cold", b"56 b packet .!"]


def test_a_burst_is_answered_to_everyone_in_full(loop: Loop) -> None:
    source = Source(
        {b"hot": repeat(b"H" * 1000)}, lambda packet, client: packet * 2 if packet[2:] == b"odd, not hot" else None
    )
    with bound_socket() as bound, client_of(bound) as one, client_of(bound) as two:
        # Before the loop runs, so that batches fill up.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        for number in range(100):
            mark = number.to_bytes(2, "big")
            one.send(mark + b"hot")
            one.send(mark + b"silent packet")
            two.send(mark + b"odd, not hot")
        stop = threading.Event()
        thread = threading.Thread(target=loop, args=(bound, source, stop), daemon=True)
        thread.start()
        try:
            marks = [number.to_bytes(2, "big") for number in range(100)]
            assert [one.recv(2000) for _ in marks] == [mark + b"H" * 1000 for mark in marks]
            assert [two.recv(2000) for _ in marks] == [(mark + b"odd, not hot") * 2 for mark in marks]
        finally:
            stop.set()
            one.send(b"")
            thread.join(TIMEOUT_SECONDS)


def test_a_long_queue_is_answered_in_order_and_takes_turns(loop: Loop) -> None:
    # More than is answered one by one before the first batch, all of it from `hot`.
    count, last = 100, b"the last one"
    source = Source({b"hot": cycle([b"a" * 300, b"b" * 400])}, lambda packet, client: packet)
    with bound_socket() as bound, client_of(bound) as client:
        for number in range(count):
            client.send(number.to_bytes(2, "big") + b"hot")
        client.send(last)
        stop = threading.Event()
        stop.set()
        loop(bound, source, stop)
        responses = [client.recv(2000) for _ in range(count)]
    assert responses == [
        number.to_bytes(2, "big") + (b"b" * 400 if number % 2 else b"a" * 300) for number in range(count)
    ]


def test_a_failing_answer_costs_itself_only(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    def answer(packet: bytes, client: Address) -> bytes:
        if packet == b"a bad packet":
            raise ZeroDivisionError
        return packet

    with running(loop, Source({}, answer)) as bound, client_of(bound) as client:
        client.send(b"a bad packet")
        assert ask(client, b"a good packet") == b"a good packet"
    assert "no response to a DNS packet of 12 bytes by UDP" in caplog.text


def test_a_response_that_cannot_be_sent_is_dropped(loop: Loop) -> None:
    too_long = b"x" * 70_000
    source = Source({b"hot": too_long}, lambda packet, client: too_long if packet == b"too long ..." else packet)
    with running(loop, source) as bound, client_of(bound) as client:
        for packet in (b"too long ...", b"12hot", b"all is fine."):
            client.send(packet)
        assert client.recv(100) == b"all is fine."


def test_what_has_no_header_is_met_with_silence_and_a_long_datagram_is_cut(loop: Loop) -> None:
    with running(loop, Source({}, lambda packet, client: packet)) as bound, client_of(bound) as client:
        for packet in (b"", b"1", b"11 bytes ..", b"y" * 60_000):
            client.send(packet)
        assert client.recv(65_536) == b"y" * MAX_QUERY_BYTES


@pytest.mark.parametrize("host", [HOST, "::1"])
def test_the_answering_function_is_told_who_asks(loop: Loop, host: str) -> None:
    asking: list[Address] = []

    def answer(packet: bytes, client: Address) -> bytes:
        asking.append(client)
        return packet

    try:
        bound_socket(host).close()
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with running(loop, Source({}, answer), host=host) as bound, client_of(bound) as client:
        ask(client, b"who am I, then?")
        assert asking == [client.getsockname()]


def test_a_closed_socket_is_an_error(loop: Loop) -> None:
    bound = bound_socket()
    bound.close()
    failures: list[OSError] = []

    def run(answer: Callable[..., None]) -> None:
        try:
            answer(bound, Source({}, nothing), threading.Event())
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=run, args=(loop,), daemon=True)
    thread.start()
    thread.join(TIMEOUT_SECONDS)
    assert [failure.errno for failure in failures] == [errno.EBADF]

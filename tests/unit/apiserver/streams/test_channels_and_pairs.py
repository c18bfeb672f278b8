"""The channel protocols' messages, and which streams of a port-forward belong together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.cluster.apiserver.streams.channels import V4, V5, ProtocolError, negotiate, parse_message
from petset.cluster.apiserver.streams.pairing import MAX_UNPAIRED, Pair, Pairing, parse_ports
from petset.cluster.errors import BadRequest

OFFERS = {
    "the newest of both": (["v4.channel.k8s.io", "v5.channel.k8s.io"], V5),
    "the one that is known": (["v3.channel.k8s.io", "v4.channel.k8s.io"], V4),
    "none": (["base64.channel.k8s.io"], None),
}


@pytest.mark.parametrize(("offered", "chosen"), OFFERS.values(), ids=OFFERS)
def test_negotiation(offered: list[str], chosen: str | None) -> None:
    assert negotiate(offered) == chosen


MESSAGES = {
    "stdin": (b"\0abc", V5, (0, b"abc")),
    "resize": (b'\4{"Width":99,"Height":33}', V4, (4, b'{"Width":99,"Height":33}')),
    "end of stdin": (b"\xff\0", V5, (255, b"\0")),
    "end of another channel": (b"\xff\1", V5, None),
    "empty": (b"", V5, None),
    "no data": (b"\0", V4, None),
}


@pytest.mark.parametrize(("message", "protocol", "parsed"), MESSAGES.values(), ids=MESSAGES)
def test_messages(message: bytes, protocol: str, parsed: tuple[int, bytes] | None) -> None:
    assert parse_message(message, protocol) == parsed


@pytest.mark.parametrize(
    ("message", "protocol"),
    [(b"\1out", V5), (b"\xff\0", V4), (b"\4" + bytes(2000), V5)],
    ids=["the server's channel", "v4 knows no end", "a size that is none"],
)
def test_messages_that_break_the_protocol(message: bytes, protocol: str) -> None:
    with pytest.raises(ProtocolError):
        parse_message(message, protocol)


@given(st.binary(max_size=50), st.sampled_from([V4, V5]))
def test_any_message_is_understood_or_refused(message: bytes, protocol: str) -> None:
    try:
        parsed = parse_message(message, protocol)
    except ProtocolError:
        return
    assert parsed is None or parsed[0] in (0, 4, 255)


def stream(kind: str, request: str, port: str = "80") -> dict[str, str]:
    return {"streamtype": kind, "port": port, "requestid": request}


def test_pairs_are_found_in_any_order() -> None:
    pairing = Pairing()
    assert pairing.add(1, stream("error", "0")) is None
    assert pairing.add(3, stream("data", "1")) is None
    assert pairing.add(5, stream("data", "0")) == Pair(80, data=5, error=1)
    assert pairing.add(7, stream("error", "1")) == Pair(80, data=3, error=7)


@pytest.mark.parametrize(
    "headers",
    [stream("stdin", "0"), stream("data", "0", "x"), stream("data", "0", "99999"), {}],
    ids=["kind", "no number", "no port", "nothing"],
)
def test_streams_that_make_no_sense(headers: dict[str, str]) -> None:
    with pytest.raises(ProtocolError):
        Pairing().add(1, headers)


def test_halves_do_not_pile_up() -> None:
    pairing = Pairing()
    pairing.add(1, stream("error", "0"))
    with pytest.raises(ProtocolError, match="a second error stream"):
        pairing.add(3, stream("error", "0"))
    pairing.forget(1)
    for number in range(MAX_UNPAIRED):
        pairing.add(number, stream("error", str(number)))
    with pytest.raises(ProtocolError, match="without their other half"):
        pairing.add(999, stream("error", "one more"))


def test_ports() -> None:
    assert parse_ports(["80,81", "82"]) == [80, 81, 82]
    for bad in ([], ["x"], ["0"], ["80,,"], ["70000"], [",".join(["80"] * 101)]):
        with pytest.raises(BadRequest):
            parse_ports(bad)

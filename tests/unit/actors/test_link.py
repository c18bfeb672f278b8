"""The line between a command and its supervisor, over a real socket pair."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from petset.actors.link import Link

Pair = tuple[Link, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Link(ours), theirs


def test_messages_are_json_lines_in_order(pair: Pair) -> None:
    link, command = pair
    link.note("DNS answers on port 1053")
    link.phase("ray")
    link.error("no more disk")
    lines = command.recv(4096).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"note": "DNS answers on port 1053"},
        {"phase": "ray"},
        {"error": "no more disk"},
    ]


@pytest.mark.parametrize(
    ("words", "hung_up"),
    [
        pytest.param([b'{"detach": true}\n'], False, id="detached"),
        pytest.param([b'{"detach"', b": true}\n"], False, id="detached-in-two-pieces"),
        pytest.param([], True, id="died-without-a-word"),
        pytest.param([b'{"deta'], True, id="died-in-the-middle-of-a-word"),
    ],
)
async def test_only_detach_lets_the_cluster_live_on(pair: Pair, words: list[bytes], hung_up: bool) -> None:
    link, command = pair
    for word in words:
        command.sendall(word)
    command.close()
    assert await link.hung_up() is hung_up


def test_a_dead_command_does_not_disturb(pair: Pair) -> None:
    link, command = pair
    command.close()
    link.phase("ready")


def test_a_command_that_does_not_read_loses_messages_only(pair: Pair) -> None:
    link, command = pair
    for _ in range(20_000):
        link.phase("ready")
    assert json.loads(command.recv(65536).splitlines()[0]) == {"phase": "ready"}


async def test_without_a_command_nobody_hangs_up() -> None:
    link = Link(None)
    link.phase("ready")
    assert await link.hung_up() is False

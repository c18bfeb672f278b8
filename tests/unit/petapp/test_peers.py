"""Asking the peers, in virtual time: concurrent, bounded, and one peer's failure is its own line."""

from __future__ import annotations

import asyncio
import errno

import aiohttp
import pytest

from petset.petapp.peers import Fetch, PeerFailure, ask_peers, cluster_lines
from petset.petapp.resolver import ServiceRecord


def fetch_after(delays_seconds: dict[str, float]) -> Fetch:
    async def fetch(host: str) -> bytes:
        await asyncio.sleep(delays_seconds[host])
        return f"data of {host}".encode()

    return fetch


def fetch_failing_with(error: Exception) -> Fetch:
    async def fetch(host: str) -> bytes:
        raise error

    return fetch


@pytest.mark.looptime
async def test_lines_are_sorted_by_host_name_whoever_answers_first() -> None:
    lines = await ask_peers(["c", "a", "b"], fetch_after({"a": 0.3, "b": 0.1, "c": 0.2}))
    assert lines == [b"- a: data of a\n", b"- b: data of b\n", b"- c: data of c\n"]


@pytest.mark.looptime
async def test_a_slow_peer_costs_its_own_line_and_one_timeout() -> None:
    started = asyncio.get_running_loop().time()
    lines = await ask_peers(["a", "slow"], fetch_after({"a": 0.1, "slow": 100}), timeout_seconds=1)
    assert lines == [b"- a: data of a\n", b"- slow: Error: no answer within 1 s\n"]
    assert asyncio.get_running_loop().time() - started == pytest.approx(1)


@pytest.mark.looptime
async def test_no_more_than_the_bound_are_asked_at_a_time() -> None:
    asked_now = most_at_once = 0

    async def fetch(host: str) -> bytes:
        nonlocal asked_now, most_at_once
        asked_now += 1
        most_at_once = max(most_at_once, asked_now)
        await asyncio.sleep(0.5)
        asked_now -= 1
        return b""

    lines = await ask_peers([f"peer-{number}" for number in range(7)], fetch, at_once=3)
    assert (most_at_once, len(lines)) == (3, 7)


@pytest.mark.looptime
async def test_waiting_for_a_slot_does_not_count_as_the_peers_time() -> None:
    lines = await ask_peers(["a", "b"], fetch_after({"a": 0.9, "b": 0.9}), timeout_seconds=1, at_once=1)
    assert lines == [b"- a: data of a\n", b"- b: data of b\n"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(
            PeerFailure("answered 500 Internal Server Error"), b"answered 500 Internal Server Error", id="status"
        ),
        pytest.param(OSError(errno.ECONNRESET, "x"), b"Connection reset by peer", id="system error by its number"),
        pytest.param(OSError("kubia-1: no such name"), b"kubia-1: no such name", id="error in words"),
        pytest.param(aiohttp.ServerDisconnectedError(), b"Server disconnected", id="hung up"),
        pytest.param(aiohttp.ClientPayloadError(), b"ClientPayloadError", id="an error without words has a name"),
    ],
)
async def test_a_failing_peer_says_so_in_words(error: Exception, words: bytes) -> None:
    assert await ask_peers(["a"], fetch_failing_with(error)) == [b"- a: Error: " + words + b"\n"]


class SilentNames:
    async def services(self, name: str) -> list[ServiceRecord]:
        await asyncio.sleep(1000)
        return []

    async def addresses(self, name: str) -> list[str]:
        return []


@pytest.mark.looptime
async def test_the_lookup_as_a_whole_has_an_end() -> None:
    with pytest.raises(OSError, match="no answer from the cluster DNS within 5 s"):
        await cluster_lines(SilentNames(), "kubia", 8080)

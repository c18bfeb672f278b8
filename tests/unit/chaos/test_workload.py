"""What writers and readers make of odd answers: nothing is lost, and nothing acknowledged, by one of them."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from petset.cluster.chaos.observations import Observations
from petset.cluster.chaos.workload import Load, Target
from petset.cluster.clock import LoopClock
from petset.cluster.control.http_client import HttpClient
from petset.cluster.errors import NotFound, Unavailable

pytestmark = pytest.mark.looptime

TARGET = Target("web-0", "/pods/web-0:80/proxy", is_journal=True)


class Proxy:
    """Gives these answers, then b""."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self._answers = list(answers)

    async def request_raw(self, method: str, path: str, *, body: bytes | None = None) -> bytes:
        answer = self._answers.pop(0) if self._answers else b""
        if isinstance(answer, Exception):
            raise answer
        return answer


def load(*answers: bytes | Exception) -> Load:
    return Load(cast(HttpClient, Proxy(*answers)), LoopClock(), Observations("default", 0.0, 1.0))


@pytest.mark.parametrize(
    ("answer", "outcome", "by"),
    [
        pytest.param(b'{"pod": "web-1"}', "acknowledged", "web-1", id="stored"),
        pytest.param(NotFound("no such pod"), "refused", "", id="certainly not"),
        pytest.param(Unavailable("broken off"), "unknown", "", id="nobody knows"),
        pytest.param(b"<html>", "unknown", "", id="no JSON"),
        pytest.param(b"[]", "unknown", "", id="no object"),
        pytest.param(b"{}", "unknown", "", id="by nobody"),
    ],
)
async def test_what_came_of_a_write(answer: Any, outcome: str, by: str) -> None:
    it = load(answer)
    writing = asyncio.create_task(it.write(TARGET, per_second=1.0))
    await asyncio.sleep(0.5)
    writing.cancel()
    [write] = it.seen.writes
    assert (write.outcome, write.acknowledged_by) == (outcome, by)


async def test_a_journal_is_asked_again_before_all_that_it_holds_is_called_lost() -> None:
    [journal] = await load(Unavailable("busy"), Unavailable("busy"), b"a\nb\xff\n").read([TARGET])
    assert (journal.error, journal.entries) == ("", ("a", "b\ufffd"))
    [journal] = await load(*[Unavailable("away")] * 9).read([TARGET])
    assert journal.error == "away"


async def test_an_answer_that_is_no_list_of_addresses() -> None:
    [answer] = await load(b"oops").look_up(TARGET, ["web"])
    assert answer.error == "something else: b'oops'"

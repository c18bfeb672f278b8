"""When an informer asks again: at once after a watch that was worth it, with growing pauses when nothing works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import pytest

from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.control.backoff import MAX_SECONDS, Backoff
from petset.cluster.control.client import Listing, WatchEvent
from petset.cluster.control.informer import LONG_WATCH_SECONDS, SHORT_WATCH_SECONDS, Informer
from petset.cluster.errors import ApiError, Expired, Unavailable
from tests.apis import new_api

pytestmark = pytest.mark.looptime

BROKEN, OLD = Unavailable("broken"), Expired("too old")


@dataclass(frozen=True)
class Watch:
    """How one watch goes: it lasts, brings a change or not, and ends: with an error, or in good order."""

    seconds: float = 0.0
    brings: bool = False
    error: ApiError | None = None


class ScriptedClient(LoopbackClient):
    """Watches go as `plan` says of the watch of that number; `asked` are the (verb, time) of all requests."""

    def __init__(self, api: Api, plan: Callable[[int], Watch], *, list_error: ApiError | None = None) -> None:
        super().__init__(api)
        self.asked: list[tuple[str, float]] = []
        self._plan = plan
        self._list_error = list_error
        self._watches = 0

    async def list(
        self, kind: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        self._note("list")
        if self._list_error:
            raise self._list_error
        return await super().list(kind, namespace)

    @asynccontextmanager
    async def watch(
        self, kind: str, namespace: str = "", *, revision: str, field_selector: str = ""
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        self._note("watch")
        self._watches += 1
        yield self._events(self._plan(self._watches - 1), int(revision))

    async def _events(self, watch: Watch, revision: int) -> AsyncIterator[WatchEvent]:
        if watch.brings:
            yield WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": str(revision + 1)}})
        await asyncio.sleep(watch.seconds)
        if watch.error:
            raise watch.error

    def _note(self, verb: str) -> None:
        self.asked.append((verb, asyncio.get_running_loop().time()))


async def asked_of(client: ScriptedClient, seconds: float, *, chance: Random | None = None) -> list[tuple[str, float]]:
    """What an informer asked within that time, from its start on."""
    begun_at = asyncio.get_running_loop().time()
    following = asyncio.create_task(Informer(client, "ConfigMap", chance=chance).run())
    await asyncio.sleep(seconds)
    following.cancel()
    return [(verb, at - begun_at) for verb, at in client.asked]


@pytest.mark.parametrize(
    "watch",
    [
        pytest.param(Watch(), id="a watch that ends at once"),
        pytest.param(Watch(seconds=SHORT_WATCH_SECONDS * 0.9), id="a watch that ends soon, without a change"),
        pytest.param(Watch(error=BROKEN), id="a watch that breaks at once"),
        pytest.param(Watch(error=OLD), id="a watch that has expired at once"),
        pytest.param(Watch(brings=True, error=OLD), id="a watch that brings a change and has expired"),
    ],
)
async def test_what_fails_at_once_is_tried_after_growing_pauses(watch: Watch) -> None:
    asked = await asked_of(ScriptedClient(await new_api(), lambda _: watch), 600)
    times = [at for verb, at in asked if verb == "watch"]
    pauses = [later - earlier - watch.seconds for earlier, later in pairwise(times)]
    assert 0.8 <= pauses[0] <= 1.6
    assert 1.6 <= pauses[1] <= 3.2
    assert len(pauses) > 50
    assert all(MAX_SECONDS <= each <= 2 * MAX_SECONDS for each in pauses[3:])


async def test_a_list_that_fails_is_tried_after_growing_pauses() -> None:
    asked = await asked_of(ScriptedClient(await new_api(), lambda _: Watch(), list_error=BROKEN), 600)
    assert {verb for verb, _ in asked} == {"list"}
    assert 50 < len(asked) < 600 / MAX_SECONDS


@pytest.mark.parametrize(
    ("chances", "alike"),
    [
        pytest.param((None, None), True, id="a replay pauses alike"),
        pytest.param((Random(1), Random(2)), False, id="the same of every node does not come back at the same instant"),
    ],
)
async def test_whose_pauses_are_alike(chances: tuple[Random | None, ...], alike: bool) -> None:
    api = await new_api()
    asked = [
        await asked_of(ScriptedClient(api, lambda _: Watch(), list_error=BROKEN), 60, chance=each) for each in chances
    ]
    one, other = [[round(at, 6) for _, at in each] for each in asked]
    assert (one == other) == alike


@pytest.mark.parametrize(
    ("watch", "verbs"),
    [
        pytest.param(Watch(seconds=SHORT_WATCH_SECONDS), "watch watch", id="ended after a while: resumed"),
        pytest.param(Watch(brings=True), "watch watch", id="ended soon, but it brought a change: resumed"),
        pytest.param(Watch(SHORT_WATCH_SECONDS, error=BROKEN), "watch list", id="broken after a while: listed"),
        pytest.param(Watch(SHORT_WATCH_SECONDS, error=OLD), "watch list", id="expired after a while: listed"),
    ],
)
async def test_what_was_worth_it_is_taken_up_at_once(watch: Watch, verbs: str) -> None:
    def plan(number: int) -> Watch:
        return Watch(seconds=3600) if number else watch

    asked = await asked_of(ScriptedClient(await new_api(), plan), watch.seconds + 0.1)
    assert [verb for verb, _ in asked[1:3]] == verbs.split()


async def test_a_resumed_watch_that_has_expired_is_listed_at_once_and_then_with_pauses() -> None:
    plan = [Watch(seconds=SHORT_WATCH_SECONDS), Watch(error=OLD), Watch(error=OLD), Watch(seconds=3600)]
    asked = await asked_of(ScriptedClient(await new_api(), plan.__getitem__), SHORT_WATCH_SECONDS + 5)
    assert [verb for verb, _ in asked] == ["list", "watch", "watch", "list", "watch", "list", "watch"]
    pauses = [later - earlier for (_, earlier), (_, later) in pairwise(asked)]
    assert [seconds > 0.5 for seconds in pauses] == [False, True, False, False, True, False]


@pytest.mark.parametrize("seconds", [0.9, 1.1], ids=["too short to forget", "long enough to forget"])
async def test_after_a_long_watch_the_pauses_begin_anew(seconds: float) -> None:
    long = Watch(seconds=seconds * LONG_WATCH_SECONDS)
    plan = {5: long}
    asked = await asked_of(ScriptedClient(await new_api(), lambda number: plan.get(number, Watch())), 200)
    times = [at for verb, at in asked if verb == "watch"]
    pause = times[8] - times[7]  # the second one after the long watch, which is followed at once
    assert (pause <= 3.2) == (seconds > 1)


def test_pauses_double_up_to_a_ceiling_each_with_its_jitter() -> None:
    backoff = Backoff(Random(1))
    pauses = [backoff.next_seconds() for _ in range(6)]
    for seconds, expected in zip(pauses, [0.8, 1.6, 3.2, MAX_SECONDS, MAX_SECONDS, MAX_SECONDS], strict=True):
        assert expected <= seconds <= 2 * expected
    assert pauses[-1] != pauses[-2]
    backoff.reset()
    assert backoff.next_seconds() <= 1.6

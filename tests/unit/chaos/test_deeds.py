"""A user's deeds: each is done once, to the pod that was meant, though answers get lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.chaos.deeds import Done, parse_deed, perform
from petset.cluster.errors import ApiError, Conflict, NotFound, Unavailable
from tests.builders import pod

pytestmark = pytest.mark.looptime


class Server:
    """Keeps what was asked of it; `errors` are the next answers, of writes that happened all the same."""

    def __init__(self, *errors: ApiError | None) -> None:
        self.errors = list(errors)
        self.asked: list[tuple[Any, ...]] = []

    async def get(self, kind: str, name: str, namespace: str) -> Object:
        return self._answer("get", kind, name) or pod(name, uid="a")

    async def delete(self, kind: str, name: str, namespace: str, *, options: Object) -> Object:
        return self._answer("delete", name, options) or {}

    async def patch(self, kind: str, name: str, namespace: str = "", *, body: Any) -> Object:
        return self._answer("patch", kind, name, body) or {}

    def _answer(self, *asked: Any) -> Object | None:
        self.asked.append(asked)
        if self.errors and (error := self.errors.pop(0)):
            raise error
        return None


async def done(server: Server, patience_seconds: float = 10.0, **deed: Any) -> Done:
    return await perform(parse_deed(deed), server, "ns", now=0.0, patience_seconds=patience_seconds)


async def test_a_deletion_names_the_pod_by_its_uid() -> None:
    server = Server()
    assert await done(server, deed="delete-pod", pod="web-0") == Done(deleted=("a",))
    assert server.asked[1] == ("delete", "web-0", {"preconditions": {"uid": "a"}})


async def test_a_forced_deletion_asks_no_machine() -> None:
    server = Server()
    assert await done(server, deed="delete-pod", pod="web-0", force=True) == Done(forced=("a",))
    assert server.asked[1] == ("delete", "web-0", {"preconditions": {"uid": "a"}, "gracePeriodSeconds": 0})


@pytest.mark.parametrize("then", [None, NotFound("gone"), Conflict("another uid")], ids=["again", "gone", "replaced"])
async def test_a_lost_answer_never_costs_a_second_pod(then: ApiError | None) -> None:
    server = Server(None, Unavailable("lost"), then)
    assert await done(server, deed="delete-pod", pod="web-0") == Done(deleted=("a",))
    assert [asked[0] for asked in server.asked] == ["get", "delete", "delete"]


async def test_a_forced_deletion_that_may_have_happened_is_one() -> None:
    done_at = asyncio.get_running_loop().time()
    found = await done(Server(None, *[Unavailable("lost")] * 100), 3.0, deed="delete-pod", pod="web-0", force=True)
    assert (found.forced, found.error) == (("a",), "lost")
    assert asyncio.get_running_loop().time() - done_at <= 3.0


@pytest.mark.parametrize(
    ("deed", "asked"),
    [
        pytest.param(
            {"deed": "scale", "set": "web", "replicas": 5}, ("patch", "StatefulSet", "web", {"spec": {"replicas": 5}}),
            id="scale",
        ),
        pytest.param(
            {"deed": "cordon", "node": "node-1"}, ("patch", "Node", "node-1", {"spec": {"unschedulable": True}}),
            id="cordon",
        ),
    ],
)  # fmt: skip
async def test_what_is_asked_of_the_server(deed: dict[str, Any], asked: tuple[Any, ...]) -> None:
    server = Server()
    await done(server, **deed)
    assert server.asked == [asked]


async def test_a_refusal_is_told_and_so_is_a_server_that_stays_away() -> None:
    with pytest.raises(NotFound):
        await done(Server(NotFound("no pod")), deed="delete-pod", pod="web-0")
    with pytest.raises(Unavailable):
        await done(Server(*[Unavailable("away")] * 100), deed="restart", set="web", patience_seconds=3.0)

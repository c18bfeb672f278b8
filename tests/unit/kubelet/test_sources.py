from __future__ import annotations

import asyncio

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.clock import LoopClock
from petset.cluster.control.client import Client, Listing
from petset.cluster.errors import NotFound, Unavailable
from petset.cluster.kubelet.sources import SourceCache
from tests.unit.kubelet.builders import container, pod

pytestmark = pytest.mark.looptime

POD = pod(container(envFrom=[{"configMapRef": {"name": "settings"}}]))


class Server(Client):
    """Answers gets from `objects`; nothing else, and nothing at all while `down`."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.down = False
        self.asked = 0

    async def get(self, kind: str, name: str, namespace: str = "") -> Object:
        self.asked += 1
        if self.down:
            raise Unavailable("nobody answers")
        if name not in self.objects:
            raise NotFound(name)
        return self.objects[name]

    async def list(
        self, kind: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        raise Unavailable("nobody answers")


async def test_an_answer_serves_for_a_second_and_absence_not_at_all() -> None:
    server = Server()
    cache = SourceCache(server, LoopClock())
    assert await cache.for_containers(POD) == {}
    server.objects["settings"] = {"metadata": {"name": "settings"}, "data": {"a": "1"}}
    assert ("ConfigMap", "settings") in await cache.for_containers(POD)
    await cache.for_containers(POD)
    assert server.asked == 2
    await asyncio.sleep(1)
    await cache.for_containers(POD)
    assert server.asked == 3


async def test_the_last_known_answer_serves_while_nobody_answers() -> None:
    server = Server()
    server.objects["settings"] = {"metadata": {"name": "settings"}, "data": {"a": "1"}}
    cache = SourceCache(server, LoopClock())
    known = await cache.for_containers(POD)
    server.down = True
    await asyncio.sleep(3600)
    assert await cache.for_containers(POD) == known
    with pytest.raises(Unavailable):
        await SourceCache(server, LoopClock()).for_containers(POD)


async def test_unknown_services_are_none() -> None:
    assert await SourceCache(Server(), LoopClock()).services("default") == []

"""In which order a service proxy opens and closes, over a Forwarding that writes down what it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.assemble.service_proxy import make_service_proxy
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.node.service_forwarding import Forwarding
from petset.cluster.node.service_table import Backends, Frontend
from tests.apis import new_api
from tests.wire.service_kit import endpoint_slice, service

pytestmark = pytest.mark.looptime

FIRST, SECOND = "127.128.0.50", "127.128.0.51"


class _Written:
    """One open frontend."""

    def __init__(self, frontend: Frontend, journal: Journal) -> None:
        self._frontend = frontend
        self._journal = journal

    async def update(self, backends: Backends) -> None:
        self._journal.lines.append(f"update {self._frontend.address}")

    async def close(self) -> None:
        await asyncio.sleep(1)  # so that what does not wait for it comes first
        self._journal.lines.append(f"close {self._frontend.address}")


class Journal:
    """A Forwarding that opens nothing while it is held."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.may_open = asyncio.Event()
        self.may_open.set()

    async def open(self, frontend: Frontend, backends: Backends, *, turn: int) -> _Written:
        await self.may_open.wait()
        self.lines.append(f"open {frontend.address}")
        return _Written(frontend, self)


async def test_a_place_is_left_before_another_service_takes_it() -> None:
    journal = Journal()
    client = LoopbackClient(await new_api())

    @asynccontextmanager
    async def make_forwarding(tasks: asyncio.TaskGroup) -> AsyncIterator[Forwarding]:
        yield journal

    async def publish(name: str, address: str) -> None:
        await client.create(service(name, clusterIP=address))
        await client.create(endpoint_slice("127.64.0.9", name=name))

    await publish("old", FIRST)
    proxy = make_service_proxy(
        client, node_name="node-1", network=LoopbackNetwork(loopback_plan(0), 1), make_forwarding=make_forwarding
    )
    running = asyncio.create_task(proxy.run())
    await proxy.synced.wait()
    assert journal.lines == [f"open {FIRST}"]

    journal.may_open.clear()
    await publish("other", SECOND)
    await asyncio.sleep(1)  # The proxy is at it: all that it hears of until it goes on is one round.
    await client.delete("Service", "old", "default")
    await publish("new", FIRST)  # which is before `old` in the alphabet
    await asyncio.sleep(1)
    journal.may_open.set()
    await asyncio.sleep(10)
    assert journal.lines == [f"open {FIRST}", f"open {SECOND}", f"close {FIRST}", f"open {FIRST}"]
    running.cancel()
    await asyncio.wait({running})

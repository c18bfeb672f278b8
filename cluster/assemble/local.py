"""A whole cluster in one process, on any clock and any backend: most tests stand on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType

from petset.cluster.api.kinds import Kind
from petset.cluster.api.schema import load_schemas
from petset.cluster.apiserver.api import Api, make_api
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.assemble.controllers import all_controllers
from petset.cluster.assemble.every_kind import CustomRows, run_over_every_kind
from petset.cluster.assemble.kubelet import kubelet_config, node_identity
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.control.controller import Controller
from petset.cluster.kubelet.agent import Kubelet
from petset.cluster.kubelet.runtime import Prober, Runtime
from petset.cluster.names import Names
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.store.backend import Backend

Link = Callable[[str, Client], Client]
"""What lies between a component (`controllers`, `kubelet node-1`) and the API server: given the component's name and
a client that reaches the server, the client that the component gets. Called anew whenever the component starts."""


def direct(component: str, client: Client) -> Client:
    """The link that nothing disturbs."""
    return client


class LocalCluster:
    """API, controllers and kubelets over one backend; `runtimes` maps node names to machines.

    `async with` starts everything and ends it; any part may be crashed and started again in between. A part that fails
    by itself is reported when the cluster ends.
    """

    def __init__(
        self, backend: Backend, *,
        clock: Clock, names: Names, addresses: AddressPlan, runtimes: Mapping[str, Runtime], prober: Prober,
        link: Link = direct,
    ) -> None:  # fmt: skip
        self._backend = backend
        self._clock = clock
        self._names = names
        self._addresses = addresses
        self._runtimes = dict(runtimes)
        self._prober = prober
        self._link = link
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended: list[asyncio.Task[None]] = []
        self._apis: list[Api] = []

    @property
    def api(self) -> Api:
        return self._apis[0]

    @property
    def client(self) -> Client:
        """How a user speaks to the cluster."""
        return LoopbackClient(self.api)

    async def __aenter__(self) -> LocalCluster:
        api = await make_api(
            self._backend, schemas=load_schemas(), clock=self._clock, names=self._names, addresses=self._addresses
        )
        self._apis.append(api)
        self.start_controllers()
        for node in self._runtimes:
            self.start_kubelet(node)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._tasks):
            self._crash(name)
        results = await asyncio.gather(*self._ended, return_exceptions=True)
        failures = [each for each in results if isinstance(each, Exception)]
        if failures and error is None:
            raise failures[0]

    def start_controllers(self) -> None:
        """Start every controller with cold caches."""
        started_at = self._clock.now()

        def make(custom: tuple[Kind, ...]) -> tuple[Controller, ...]:
            return all_controllers("local root", addresses=self._addresses, started_at=started_at, custom=custom)

        client, clock = self._client_of("controllers"), self._clock
        running = run_over_every_kind(client, clock, make, known=CustomRows(), ready=asyncio.Event())
        self._start("controllers", running)

    def crash_controllers(self) -> None:
        """End the controllers where they stand."""
        self._crash("controllers")

    def start_kubelet(self, node: str) -> None:
        """Start a node's kubelet over its machine, whatever runs there."""
        number = list(self._runtimes).index(node) + 1
        kubelet = Kubelet(
            node_identity("local", self._addresses, number),
            kubelet_config(self._addresses, 53),
            client=self._client_of(f"kubelet {node}"),
            runtime=self._runtimes[node],
            prober=self._prober,
            clock=self._clock,
        )
        self._start(f"kubelet {node}", kubelet.run())

    def crash_kubelet(self, node: str) -> None:
        """End a kubelet where it stands; what runs on its machine runs on."""
        self._crash(f"kubelet {node}")

    def _client_of(self, component: str) -> Client:
        return self._link(component, self.client)

    def _start(self, name: str, part: Coroutine[None, None, None]) -> None:
        self._tasks[name] = asyncio.create_task(part, name=name)

    def _crash(self, name: str) -> None:
        task = self._tasks.pop(name)
        task.cancel()
        self._ended.append(task)

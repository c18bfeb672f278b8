"""A whole cluster in one process, on any clock and any backend: most tests stand on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType

from petset.cluster.api.schema import load_schemas
from petset.cluster.apiserver.api import Api, make_api
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.assemble.controllers import ControllerManager, all_controllers
from petset.cluster.assemble.kubelet import kubelet_config, node_identity
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.kubelet.agent import Kubelet
from petset.cluster.kubelet.runtime import Prober, Runtime
from petset.cluster.names import Names
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.store.backend import Backend


class LocalCluster:
    """API, controllers and kubelets in one process, over one backend; `runtimes` maps node names to machines.

    `async with` starts everything and ends it; `client` is how a user would speak to it.
    """

    def __init__(
        self, backend: Backend, *,
        clock: Clock, names: Names, addresses: AddressPlan, runtimes: Mapping[str, Runtime], prober: Prober,
    ) -> None:  # fmt: skip
        self._backend = backend
        self._clock = clock
        self._names = names
        self._addresses = addresses
        self._runtimes = runtimes
        self._prober = prober
        self._tasks: list[asyncio.Task[None]] = []
        self._apis: list[Api] = []

    @property
    def api(self) -> Api:
        return self._apis[0]

    @property
    def client(self) -> Client:
        return LoopbackClient(self.api)

    async def __aenter__(self) -> LocalCluster:
        self._apis = [
            await make_api(
                self._backend,
                schemas=load_schemas(),
                clock=self._clock,
                names=self._names,
                addresses=self._addresses,
            )
        ]
        self.start_controllers()
        for number, (node, runtime) in enumerate(self._runtimes.items(), start=1):
            kubelet = Kubelet(
                node_identity("local", self._addresses, number),
                client=self.client,
                runtime=runtime,
                prober=self._prober,
                clock=self._clock,
                config=kubelet_config(self._addresses, 53),
            )
            self._tasks.append(asyncio.create_task(kubelet.run(), name=f"kubelet {node}"))
        return self

    def start_controllers(self) -> asyncio.Task[None]:
        """Start the controllers with cold caches; cancel the task to crash them."""
        manager = ControllerManager(self.client, self._clock, all_controllers("local root"))
        task = asyncio.create_task(manager.run(), name="controllers")
        self._tasks.append(task)
        return task

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        failures = [each for each in results if isinstance(each, Exception)]
        if failures and error is None:
            raise failures[0]

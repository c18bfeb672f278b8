"""Services without the kernel's help: a socket of this process for each frontend (service_tcp.py, service_udp.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from petset.cluster.network.network import Network
from petset.cluster.node.service_forwarding import OpenFrontend
from petset.cluster.node.service_sockets import ServiceSockets
from petset.cluster.node.service_table import Backends, Frontend
from petset.cluster.node.service_tcp import Relays, TcpListener
from petset.cluster.node.service_udp import UdpFrontend


class _Served:
    """One open frontend, and what is given back with it."""

    def __init__(self, forwarding: RelayForwarding, listener: TcpListener | UdpFrontend, resources: ExitStack) -> None:
        self._forwarding = forwarding
        self._listener = listener
        self._resources = resources

    async def update(self, backends: Backends) -> None:
        await self._listener.update(backends)

    async def close(self) -> None:
        self._forwarding.served.discard(self)
        await self._listener.close()
        self._resources.close()


class RelayForwarding:
    """The `Forwarding` of a node through sockets; `open_relays` makes it."""

    def __init__(self, network: Network, sockets: ServiceSockets, relays: Relays) -> None:
        self.served: set[_Served] = set()
        self._network = network
        self._sockets = sockets
        self._relays = relays

    async def open(self, frontend: Frontend, backends: Backends, *, turn: int) -> OpenFrontend:
        with ExitStack() as undo:
            bound = self._sockets.bind(frontend, undo)
            listener: TcpListener | UdpFrontend
            if frontend.protocol == "TCP":
                listener = TcpListener(bound, backends, self._relays, turn=turn)
            else:
                listener = UdpFrontend(bound, backends, self._network, turn=turn)
            made = _Served(self, listener, undo.pop_all())
        self.served.add(made)
        return made


@asynccontextmanager
async def open_relays(
    network: Network, sockets: ServiceSockets, tasks: asyncio.TaskGroup
) -> AsyncIterator[RelayForwarding]:
    forwarding = RelayForwarding(network, sockets, Relays(network, tasks))
    try:
        yield forwarding
    finally:
        for each in list(forwarding.served):
            await each.close()

"""How packets get from a service's frontends to its endpoints: the `Forwarding` protocol.

    RelayForwarding (service_relay.py)     sockets of this process, on any network
    KernelForwarding (service_kernel.py)   nftables rules, for nodes with a network of their own; what the kernel cannot
                                           reach (the host's 127.0.0.1) it leaves to the relay

One contract suite over both: tests/contract/test_service_proxy.py. They differ in what a user may notice where
service_rules.py and service_tcp.py say so: with the kernel, pods see their clients' own addresses, affinity ends with
its timeout, and a connection to an endpoint that is ready but dead is not tried elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from petset.cluster.node.service_table import Backends, Frontend


class OpenFrontend(Protocol):
    """One frontend that is answered on."""

    async def update(self, backends: Backends) -> None:
        """Send further connections to these endpoints; UDP flows to any other end. Raises OSError: nothing changed."""

    async def close(self) -> None:
        """Answer no longer. TCP connections go on; UDP flows end."""


class Forwarding(Protocol):
    """All frontends of one node."""

    async def open(self, frontend: Frontend, backends: Backends, *, turn: int) -> OpenFrontend:
        """Answer on a frontend, beginning with endpoint number `turn`, counted round.

        Raises OSError: the port cannot be had.
        """


ForwardingMaker = Callable[[asyncio.TaskGroup], AbstractAsyncContextManager[Forwarding]]
"""Opens a node's Forwarding, whose connections may live in the TaskGroup. When it closes, no socket of it listens;
what the kernel was told stays in force (service_kernel.py)."""

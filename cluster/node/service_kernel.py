"""Services through the kernel of a node that has a network of its own: nftables rules (network/service_rules.py).

    frontend 10.96.0.7:80      ──▶ rules of the node's namespace, changed by a thread of their own,
                                   all that wait in one transaction
    frontend 127.0.0.1:30080   ──▶ the relay: the host's loopback is not this network's

The rules outlive the proxy, as kube-proxy's do: while it is away, services answer as it last knew. The next one begins
with an empty table.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import TypeVar

from petset.cluster.network import syscalls
from petset.cluster.network.service_rules import Front, ServiceRules, Way
from petset.cluster.node.service_forwarding import Forwarding, OpenFrontend
from petset.cluster.node.service_sockets import HOST
from petset.cluster.node.service_table import Backends, Frontend

_Answer = TypeVar("_Answer")

CHANGES_AT_ONCE = 50
"""Frontends in one transaction: what a message to the kernel and its answers have room for."""


@dataclass(slots=True, eq=False)
class _Change:
    """A frontend's way as it is to be, and why that cannot be."""

    front: Front
    way: Way | None
    error: OSError | None = None


class _Thread:
    """The one thread that talks to the kernel: netlink must not be used on a thread with a running event loop."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "service rules")
        self._waiting: deque[_Change] = deque()

    async def call(self, function: Callable[[], _Answer]) -> _Answer:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    async def change(self, rules: ServiceRules, change: _Change) -> None:
        """Carry it out, in one transaction with others that wait. Raises OSError: nothing changed."""
        self._waiting.append(change)
        await self.call(partial(self._change_some, rules))
        if change.error:
            raise change.error

    async def end(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)

    def _change_some(self, rules: ServiceRules) -> None:
        """There is a call for each change, so what an earlier call has done leaves nothing for a later one."""
        some = [self._waiting.popleft() for _ in range(min(len(self._waiting), CHANGES_AT_ONCE))]
        if not some:
            return
        try:
            rules.change({each.front: each.way for each in some})
        except OSError:
            for each in some:  # alone, so that one which cannot be costs no other
                _change_alone(rules, each)


def _change_alone(rules: ServiceRules, change: _Change) -> None:
    try:
        rules.change({change.front: change.way})
    except OSError as error:
        change.error = error


class KernelForwarding:
    """The `Forwarding` of a node through rules, or through `relay` where they do not reach; `open_kernel` makes it."""

    def __init__(self, rules: ServiceRules, thread: _Thread, relay: Forwarding) -> None:
        self._rules = rules
        self._thread = thread
        self._relay = relay

    async def open(self, frontend: Frontend, backends: Backends, *, turn: int) -> OpenFrontend:
        if frontend.address == HOST:
            return await self._relay.open(frontend, backends, turn=turn)
        made = _Ruled(frontend, self._rules, self._thread, turn=turn)
        await made.update(backends)
        return made


class _Ruled:
    """One frontend of the rules, which puts itself there with its first update."""

    def __init__(self, frontend: Frontend, rules: ServiceRules, thread: _Thread, *, turn: int) -> None:
        self._front = Front(frontend.address, frontend.port, frontend.protocol)
        self._rules = rules
        self._thread = thread
        self._turn = turn
        self._present: Backends | None = None

    async def update(self, backends: Backends) -> None:
        if backends == self._present:
            return
        targets = tuple((each.address, each.port) for each in backends.endpoints)
        first = self._turn % len(targets)
        way = Way(targets[first:] + targets[:first], backends.affinity_seconds, backends.is_from_outside)
        await self._thread.change(self._rules, _Change(self._front, way))
        self._present = backends
        self._turn += 1  # A changed frontend begins anew: not with the same endpoint each time.

    async def close(self) -> None:
        await self._thread.change(self._rules, _Change(self._front, None))


@asynccontextmanager
async def open_kernel(
    namespace: Path, relay: Forwarding, *, services: IPv4Network, pods: IPv4Network
) -> AsyncIterator[KernelForwarding]:
    """`services` and `pods`: the ranges of cluster IPs and of this node's pods. Raises OSError: the kernel cannot."""
    thread, resources = _Thread(), ExitStack()

    def open_rules() -> ServiceRules:
        with syscalls.visiting(str(namespace)):
            return resources.enter_context(ServiceRules.open(services=services, pods=pods))

    try:
        yield KernelForwarding(await thread.call(open_rules), thread, relay)
    finally:
        await thread.call(resources.close)
        await thread.end()

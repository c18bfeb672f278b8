"""The cluster as faults reach it (cluster/chaos/world.py): the keepers of its actors, its machines, its cables.

Pods are found by asking the machines over Ray, never the API server. A machine that cannot answer because it is
frozen is remembered by its last answer; one that is down has nothing: its pods died with it. Work on the network
blocks and visits namespaces: it has a thread of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import psutil

from petset.actors.keeper import Keeper
from petset.actors.ray_nodes import FurtherRayNode
from petset.cluster import pki
from petset.cluster.api.attachments import unique_name
from petset.cluster.api.cri import SandboxStatus
from petset.cluster.chaos.errors import CannotHere, NoSuchTarget
from petset.cluster.chaos.faults import MAX_SECONDS
from petset.cluster.chaos.gate import gate_socket
from petset.cluster.chaos.gate_server import fault_gate
from petset.cluster.chaos.pods import is_frozen
from petset.cluster.chaos.wiring import Wiring, Work, no_namespaces
from petset.cluster.chaos.world import Component
from petset.cluster.clock import SystemClock
from petset.cluster.control.watch_troubles import EVERY_WATCH, WatchTrouble
from petset.cluster.errors import ApiError, NotFound
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.settings import ClusterSettings

API_SECONDS = 5.0


@asynccontextmanager
async def open_fault_gate(
    settings: ClusterSettings, keepers: Iterable[Keeper], ray_nodes: Iterable[FurtherRayNode]
) -> AsyncIterator[None]:
    """Serve the cluster's fault gate until the block ends; everything is healed then."""
    with ThreadPoolExecutor(1, "network faults") as thread:
        world = ActorWorld(settings, keepers, ray_nodes, thread=thread)
        async with fault_gate(world, gate_socket(settings), SystemClock()):
            yield


class ServiceProxyPart:
    """service-proxy-N as a `Component`: a part of node-N, without a process of its own (actors/part.py).

    Frozen, it hears of no change any more, and what it forwards goes on by what it last saw: as with a frozen
    kube-proxy, whose rules the kernel keeps.
    """

    has_process = False

    def __init__(self, number: int, node: Keeper) -> None:
        self.name = f"service-proxy-{number}"
        self._node = node

    @property
    def process_id(self) -> int:
        return self._node.process_id

    async def kill(self) -> None:
        await self._node.ask("kill_service_proxy")

    async def hold_down(self, reason: str) -> None:
        await self._node.order(f"hold {reason}", "hold_service_proxy", reason)

    async def let_up(self, reason: str) -> None:
        await self._node.recall(f"hold {reason}", "let_service_proxy", reason)

    async def freeze(self, reason: str) -> None:
        frozen = WatchTrouble(delay_seconds=MAX_SECONDS)
        await self._node.order(reason, "trouble_watches", reason, EVERY_WATCH, frozen)

    async def thaw(self, reason: str) -> None:
        await self._node.recall(reason, "relieve_watches", reason)

    async def order(self, key: str, method: str, *arguments: Any) -> Any:
        return await self._node.order(key, method, *arguments)

    async def recall(self, key: str, method: str, *arguments: Any) -> None:
        await self._node.recall(key, method, *arguments)

    async def ask(self, method: str, *arguments: Any) -> Any:
        return await self._node.ask(method, *arguments)


class ActorWorld:
    """The `World` of one cluster of actors; `thread` does what blocks."""

    def __init__(
        self,
        settings: ClusterSettings,
        keepers: Iterable[Keeper],
        ray_nodes: Iterable[FurtherRayNode],
        *,
        thread: ThreadPoolExecutor,
    ) -> None:
        self._settings = settings
        self._keepers = {keeper.name: keeper for keeper in keepers}
        self._components: dict[str, Component] = {**self._keepers, **{each.name: each for each in ray_nodes}}
        for number, node in enumerate(settings.node_names, start=1):
            proxy = ServiceProxyPart(number, self._keepers[node])
            self._components[proxy.name] = proxy
        self._thread = thread
        self._last_words: dict[str, Sequence[SandboxStatus]] = {}
        self.wiring = Wiring(self._on_network if settings.has_namespaces else no_namespaces)

    @property
    def addresses(self) -> AddressPlan:
        return self._settings.addresses

    @property
    def has_namespaces(self) -> bool:
        return self._settings.has_namespaces

    @property
    def components(self) -> Mapping[str, Component]:
        return self._components

    @property
    def node_names(self) -> Sequence[str]:
        return self._settings.node_names

    def machines(self, component: str) -> Sequence[str]:
        if component in self._settings.node_names:
            return [component]
        return self._settings.nodes_on_ray_nodes.get(component, [])

    async def sandboxes(self, node: str) -> Sequence[SandboxStatus]:
        keeper = self._keepers[node]
        try:
            if not keeper.process_id:
                self._last_words.pop(node, None)
            elif not _is_stopped(keeper.process_id):
                self._last_words[node] = await keeper.ask("list_sandboxes")
        except CannotHere:  # it froze, or died, just now
            return self._last_words.get(node, ()) if keeper.process_id else ()
        return self._last_words.get(node, ())

    async def volume_of(self, namespace: str, claim: str) -> str:
        from petset.cluster.assemble.client import http_client  # the supervisor does not load it before it must

        try:
            async with asyncio.timeout(API_SECONDS), http_client(self._settings, pki.CONTROLLER_MANAGER) as client:
                found = await client.get("PersistentVolumeClaim", claim, namespace)
                return unique_name(await client.get("PersistentVolume", found["spec"].get("volumeName") or "-"))
        except NotFound as error:
            raise NoSuchTarget(f"claim {namespace}/{claim} has no volume: {error}") from error
        except (ApiError, TimeoutError) as error:
            raise CannotHere("the API server does not say which volume is behind the claim") from error

    async def _on_network(self, work: Work) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._with_faults, work)

    def _with_faults(self, work: Work) -> None:
        from petset.cluster.network.faults import Faults  # loads pyroute2

        work(Faults(self._settings.addresses, self._settings.fabric))


def _is_stopped(process_id: int) -> bool:
    try:
        return is_frozen(psutil.Process(process_id))
    except psutil.NoSuchProcess:
        return False

"""Every machine and every pod with a network stack of its own (fabric.py has the picture).

A pod may bind 0.0.0.0 and any port, has its own localhost, and can be cut off. Works inside an enclosure
(enclosure.py) whose fabric has been built. Sockets for the machine's own agents are made by a visit to its namespace
and stay there, wherever they are used. What blocks on the kernel (1.5 ms for a pod) runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from petset.cluster.network import syscalls
from petset.cluster.network.addresses import AddressPlan, PodAddresses
from petset.cluster.network.network import PodNetwork

if TYPE_CHECKING:  # pyroute2 is loaded by who connects pods alone
    from petset.cluster.network.pod_stack import PodStack, PodWirer

_Result = TypeVar("_Result")


@dataclass
class _Pod:
    """One key: `turn` lets its connections and disconnections follow each other."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    connected: list[tuple[PodNetwork, PodStack]] = field(default_factory=list)


class NamespacesNetwork:
    """The `Network` of machine number 1, 2, …; `folder` is the fabric's. At most 253 pods at a time."""

    def __init__(self, plan: AddressPlan, node_number: int, folder: Path) -> None:
        self._plan = plan
        self._number = node_number
        self._namespace = str(folder / f"node-{node_number}")
        self._addresses = PodAddresses(plan.pod_range(node_number))
        self._pods: dict[str, _Pod] = {}
        self._thread = ThreadPoolExecutor(1, f"wires of node {node_number}")
        self._wirers: list[PodWirer] = []
        """One, made by the thread for itself at the first use."""

    @property
    def node_address(self) -> str:
        return self._plan.node_address(self._number)

    async def attach_pod(self, key: str) -> PodNetwork:
        """A caller that gives up changes nothing: the pod is connected and can be asked for again, or detached."""
        return await asyncio.shield(asyncio.create_task(self._attach(key), name=f"attach {key}"))

    async def detach_pod(self, key: str) -> None:
        await asyncio.shield(asyncio.create_task(self._detach(key), name=f"detach {key}"))

    def host_pod(self) -> PodNetwork:
        return PodNetwork(self.node_address, namespaces={"net": self._namespace})

    def make_socket(self, host: str, *, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        with syscalls.visiting(self._namespace):
            made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
        made.setblocking(False)
        return made

    def close(self) -> None:
        for wirer in self._wirers:
            self._thread.submit(wirer.close).result()
        self._thread.shutdown()
        for pod in self._pods.values():
            for _, stack in pod.connected:
                stack.descriptors.close()

    async def _attach(self, key: str) -> PodNetwork:
        pod = self._pods.setdefault(key, _Pod())
        async with pod.turn:
            if not pod.connected:
                pod.connected.append(await self._connect(key))
            return pod.connected[0][0]

    async def _detach(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None:
            return
        async with pod.turn:
            while pod.connected:
                _, stack = pod.connected.pop()
                try:
                    await self._disconnect(stack)
                finally:  # a cable that is left behind goes when the next pod of that address comes
                    self._addresses.release(key)
        if not pod.connected and self._pods.get(key) is pod and not pod.turn.locked():
            del self._pods[key]

    async def _connect(self, key: str) -> tuple[PodNetwork, PodStack]:
        address = self._addresses.take(key)
        try:
            stack = await self._in_thread(lambda wirer: wirer.connect(address))
        except BaseException:
            self._addresses.release(key)
            raise
        return PodNetwork(address, namespaces=stack.paths, shared_memory=str(stack.shared_memory)), stack

    async def _disconnect(self, stack: PodStack) -> None:
        await self._in_thread(lambda wirer: wirer.disconnect(stack))

    async def _in_thread(self, work: Callable[[PodWirer], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._call, work)

    def _call(self, work: Callable[[PodWirer], _Result]) -> _Result:
        if not self._wirers:
            from petset.cluster.network.pod_stack import PodWirer

            self._wirers.append(PodWirer(self._plan, self._number, self._namespace))
        return work(self._wirers[0])

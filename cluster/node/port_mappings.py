"""hostPorts: ports of the machine that lead to a pod, as the CNI's portmap plugin makes them.

    client ──▶ 172.18.0.1:8080 on the machine's network ──▶ a relay (service_tcp.py, service_udp.py) ──▶ 10.244.1.5:80

The pod sees connections come from its node. A port lives as long as its sandbox; a connection lives on until both
sides have ended it. Bounds are those of the service proxy's relays. A port that somebody on the machine listens on
already (a pod of the machine's own network, a node port) cannot be had: the sandbox is not made, and says so.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence

from petset.cluster.api.cri import PortMapping, RuntimeFailure
from petset.cluster.network.network import Network
from petset.cluster.node.service_table import Backends, Endpoint
from petset.cluster.node.service_tcp import BACKLOG, Relays, TcpListener
from petset.cluster.node.service_udp import UdpFrontend

_KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
_ANY_ADDRESS = ("", "0.0.0.0")


class PortMappings:
    """The hostPorts of one machine, by the uid of the pod that has them."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._open: dict[str, list[TcpListener | UdpFrontend]] = {}
        self._hosts: list[asyncio.Task[None]] = []
        """The task that all relays live in, from the first mapping on."""
        self._relays: list[Relays] = []
        self._hosted = asyncio.Event()

    async def open(self, uid: str, mappings: Sequence[PortMapping], pod_address: str) -> None:
        """Listen for a pod. Raises RuntimeFailure, and then listens on none of its ports."""
        if not mappings:
            return
        relays = await self._started()
        opened = self._open.setdefault(uid, [])
        for mapping in mappings:
            try:
                opened.append(self._serve(mapping, pod_address, relays))
            except OSError as error:
                await self.close(uid)
                raise RuntimeFailure(
                    f"cannot listen on {self._place(mapping)}: {os.strerror(error.errno or 0)}"
                ) from error

    async def close(self, uid: str) -> None:
        """Listen for this pod no longer; unknown ones are no error."""
        for listener in self._open.pop(uid, ()):
            await listener.close()

    async def close_all(self) -> None:
        """End every port and every connection."""
        for uid in [*self._open]:
            await self.close(uid)
        for host in self._hosts:
            host.cancel()
        if self._hosts:
            await asyncio.wait(self._hosts)

    def _serve(self, mapping: PortMapping, pod_address: str, relays: Relays) -> TcpListener | UdpFrontend:
        bound = self._network.make_socket(self._address(mapping), kind=_KINDS[mapping.protocol])
        try:
            if mapping.protocol == "TCP":
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self._address(mapping), mapping.host_port))
            if mapping.protocol == "TCP":
                bound.listen(BACKLOG)
        except OSError:
            bound.close()
            raise
        backends = Backends((Endpoint(pod_address, mapping.container_port),))
        if mapping.protocol == "TCP":
            return TcpListener(bound, backends, relays, turn=0)
        return UdpFrontend(bound, backends, self._network, turn=0)

    def _address(self, mapping: PortMapping) -> str:
        """The machine's own address where the manifest says any: on the loopback network others live there too."""
        return self._network.node_address if mapping.host_address in _ANY_ADDRESS else mapping.host_address

    def _place(self, mapping: PortMapping) -> str:
        return f"hostPort {self._address(mapping)}:{mapping.host_port}/{mapping.protocol}"

    async def _started(self) -> Relays:
        if not self._hosts:
            self._hosts.append(asyncio.create_task(self._host(), name="hostPort relays"))
        await self._hosted.wait()
        return self._relays[0]

    async def _host(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._relays.append(Relays(self._network, tasks))
            self._hosted.set()
            await asyncio.Event().wait()

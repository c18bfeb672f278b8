"""UDP through the service proxy: a socket per frontend, and a flow per client.

    client A:4711 ──▶ frontend ──▶ flow A:4711 (a connected socket of its own) ──▶ endpoint
                          ◀──────────── replies, sent back from the frontend's address

A flow belongs to one endpoint while its client keeps talking: it ends after FLOW_SECONDS of silence in both
directions, when its endpoint says that nobody listens there, at once when the endpoint leaves the Service (kube-proxy
drops such entries of the kernel's connection tracking too), and, oldest first, beyond MAX_FLOWS. Datagrams that a
socket does not take are dropped, as a full network would drop them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from petset.cluster.network.network import Network
from petset.cluster.node.service_table import Backends, Balancer, Endpoint

FLOW_SECONDS = 30.0
"""The kernel's nf_conntrack_udp_timeout."""
MAX_FLOWS = 1024
MAX_DATAGRAM_BYTES = 65_535
BATCH = 64
"""Datagrams read at one wake-up before others get their turn."""

Address = Any
"""What recvfrom answers: opaque."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Flow:
    endpoint: Endpoint
    socket: socket.socket
    used_at: float


class UdpFrontend:
    """One bound frontend. Takes over the socket; lives on the running loop until closed."""

    def __init__(
        self, bound: socket.socket, backends: Backends, network: Network, *, turn: int,
        flow_seconds: float = FLOW_SECONDS, max_flows: int = MAX_FLOWS,
    ) -> None:  # fmt: skip
        self._socket = bound
        self._balancer = Balancer(backends, turn=turn)
        self._network = network
        self._flow_seconds = flow_seconds
        self._max_flows = max_flows
        self._flows: OrderedDict[Address, _Flow] = OrderedDict()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(bound, self._on_query)
        self._sweep = self._loop.call_later(flow_seconds, self._end_idle)

    async def update(self, backends: Backends) -> None:
        """Send further flows to these endpoints, and end those whose endpoint is none of them."""
        self._balancer.backends = backends
        for client in [client for client, flow in self._flows.items() if flow.endpoint not in backends.endpoints]:
            self._end(client)

    async def close(self) -> None:
        """Stop listening and end every flow."""
        self._sweep.cancel()
        for client in list(self._flows):
            self._end(client)
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _on_query(self) -> None:
        for _ in range(BATCH):
            try:
                data, client = self._socket.recvfrom(MAX_DATAGRAM_BYTES)
            except OSError:
                return
            try:
                flow = self._flows.get(client) or self._begin(client)
                flow.socket.send(data)
            except BlockingIOError:
                continue
            except OSError as error:
                log.debug("service proxy: a datagram of %s was dropped: %s", client, error)
                self._end(client)
                continue
            self._touch(client, flow)

    def _on_reply(self, client: Address) -> None:
        flow = self._flows[client]
        for _ in range(BATCH):
            try:
                data = flow.socket.recv(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                # Nobody listens there (any more): the next datagram of this client starts a flow anew.
                log.debug("service proxy: %s: %s", flow.endpoint, error)
                self._end(client)
                return
            with suppress(OSError):
                self._socket.sendto(data, client)
            self._touch(client, flow)

    def _begin(self, client: Address) -> _Flow:
        """Raises OSError when no socket is to be had."""
        if len(self._flows) >= self._max_flows:
            self._end(next(iter(self._flows)))
        endpoint = self._balancer.choices(client[0])[0]
        made = self._network.make_socket(endpoint.address, kind=socket.SOCK_DGRAM)
        try:
            made.connect((endpoint.address, endpoint.port))
        except OSError:
            made.close()
            raise
        flow = _Flow(endpoint, made, self._loop.time())
        self._flows[client] = flow
        self._loop.add_reader(made, partial(self._on_reply, client))
        return flow

    def _touch(self, client: Address, flow: _Flow) -> None:
        flow.used_at = self._loop.time()
        self._flows.move_to_end(client)

    def _end(self, client: Address) -> None:
        if flow := self._flows.pop(client, None):
            self._loop.remove_reader(flow.socket)
            flow.socket.close()

    def _end_idle(self) -> None:
        oldest = self._loop.time() - self._flow_seconds
        while self._flows and next(iter(self._flows.values())).used_at <= oldest:
            self._end(next(iter(self._flows)))
        self._sweep = self._loop.call_later(self._flow_seconds / 2, self._end_idle)

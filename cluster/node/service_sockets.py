"""The sockets that a service proxy listens on.

On the loopback network all nodes share one stack. There every node listens on every frontend at the same time
(SO_REUSEPORT: the kernel spreads connections over them), so a service is reachable as long as one node lives. A node's
own address is the exception: it is that node's alone. On a network of its own a node shares with nobody.

SO_REUSEPORT also lets in every other process of the same user, so it cannot tell the nodes of this cluster from those
of another one. Cluster IPs cannot meet, they lie in the cluster's own slot; node ports on 127.0.0.1 can. So a cluster
marks each of them before it listens: a bound socket on MARK of its own slot. Who finds a mark in another slot takes
its own away again, and the port counts as taken. Marks vanish with their processes.
"""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

from petset.cluster.network.addresses import LOOPBACK_SLOTS, AddressPlan, loopback_plan
from petset.cluster.network.host_ports import borrow_host_port
from petset.cluster.network.network import Network
from petset.cluster.node.service_table import Frontend
from petset.cluster.node.service_tcp import BACKLOG

HOST = "127.0.0.1"
"""Where node ports are reachable for the host's own programs."""
RECEIVE_BUFFER_BYTES = 1 << 20


class ServiceSockets:
    """Makes the bound sockets of one node's frontends."""

    def __init__(self, network: Network, addresses: AddressPlan, host_ports: Path | None = None) -> None:
        """`host_ports`: where the host's ports are borrowed, when this network is not the host's own."""
        self._network = network
        self._addresses = addresses
        self._host_ports = host_ports

    def bind(self, frontend: Frontend, resources: ExitStack) -> socket.socket:
        """A bound (TCP: listening) socket, to be closed by the caller, after which `resources` are released.

        Raises OSError: the port is taken, or not for this user.
        """
        if frontend.address == HOST and self._host_ports:
            return borrow_host_port(self._host_ports, frontend.port, _kind(frontend), resources)
        if frontend.address == HOST and self._addresses.services.is_loopback:
            self._mark(frontend, resources)
        made = self._network.make_socket(frontend.address, kind=_kind(frontend))
        try:
            if frontend.address != self._network.node_address:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if frontend.protocol == "UDP":
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            else:
                # Connections of an earlier run that linger in TIME_WAIT must not hold the port.
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((frontend.address, frontend.port))
            if frontend.protocol == "TCP":
                made.listen(BACKLOG)
        except OSError:
            made.close()
            raise
        return made

    def _mark(self, frontend: Frontend, resources: ExitStack) -> None:
        """Claim a host port for this cluster. Raises OSError (EADDRINUSE) when another cluster has it."""
        mark = resources.enter_context(self._network.make_socket(HOST, kind=_kind(frontend)))
        mark.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        mark.bind((mark_address(self._addresses), frontend.port))
        for slot in range(LOOPBACK_SLOTS):
            plan = loopback_plan(slot)
            if plan == self._addresses:
                continue
            with self._network.make_socket(HOST, kind=_kind(frontend)) as probe:
                try:
                    probe.bind((mark_address(plan), frontend.port))
                except OSError as error:
                    raise OSError(errno.EADDRINUSE, "another cluster has this node port") from error


def mark_address(plan: AddressPlan) -> str:
    """Where a cluster marks its node ports: the last but two of its service addresses."""
    return str(ip_address(int(plan.services.broadcast_address) - 2))


def _kind(frontend: Frontend) -> socket.SocketKind:
    return socket.SOCK_STREAM if frontend.protocol == "TCP" else socket.SOCK_DGRAM

"""One node's service proxy in a real cluster, on the node's own network."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from random import SystemRandom

from petset.cluster import pki
from petset.cluster.assemble.client import http_client
from petset.cluster.clock import SystemClock
from petset.cluster.control.client import Client
from petset.cluster.control.events import EventRecorder
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.network.network import Network
from petset.cluster.node.service_proxy import RETRY_SECONDS, ServiceProxy
from petset.cluster.node.service_sockets import HOST, ServiceSockets
from petset.cluster.node.service_table import ServiceTable
from petset.cluster.settings import ClusterSettings

RESTART_SECONDS = 1.0

log = logging.getLogger(__name__)


def make_service_proxy(
    client: Client, *, node_name: str, network: Network, addresses: AddressPlan, host_ports: Path | None = None,
    retry_seconds: float = RETRY_SECONDS,
) -> ServiceProxy:  # fmt: skip
    """The proxy of one node; node ports are answered on the node's address and for the host's own programs.

    `host_ports`: where to borrow these (network/host_ports.py) when the node's network is not the host's.
    """
    return ServiceProxy(
        client,
        ServiceTable(node_name, (network.node_address, HOST)),
        network=network,
        sockets=ServiceSockets(network, addresses, host_ports),
        recorder=EventRecorder(client, SystemClock(), component="kube-proxy", host=node_name),
        chance=SystemRandom(),
        retry_seconds=retry_seconds,
    )


async def run_service_proxy(settings: ClusterSettings, node_name: str, network: Network) -> None:
    """Run it until cancelled. A failure of the proxy is its own: it is logged, and the proxy is started again."""
    while True:
        try:
            async with http_client(settings, pki.node_user(node_name), network) as client:
                proxy = make_service_proxy(
                    client, node_name=node_name, network=network,
                    addresses=settings.addresses, host_ports=settings.host_ports,
                )  # fmt: skip
                await proxy.run()
        except Exception:
            log.exception("the service proxy of %s failed; it starts again", node_name)
            await asyncio.sleep(RESTART_SECONDS)

"""One node's service proxy in a real cluster, on the node's own network."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from random import SystemRandom

from petset.cluster import pki
from petset.cluster.assemble.client import http_client
from petset.cluster.clock import SystemClock
from petset.cluster.control.client import Client
from petset.cluster.control.events import EventRecorder
from petset.cluster.control.watch_troubles import TroubledClient, WatchTroubles
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.network.network import Network
from petset.cluster.node.service_forwarding import Forwarding, ForwardingMaker
from petset.cluster.node.service_proxy import RETRY_SECONDS, ServiceProxy
from petset.cluster.node.service_relay import open_relays
from petset.cluster.node.service_sockets import HOST, ServiceSockets
from petset.cluster.node.service_table import ServiceTable
from petset.cluster.settings import ClusterSettings

RESTART_SECONDS = 1.0

log = logging.getLogger(__name__)


def make_service_proxy(
    client: Client, *, node_name: str, network: Network, make_forwarding: ForwardingMaker,
    retry_seconds: float = RETRY_SECONDS,
) -> ServiceProxy:  # fmt: skip
    """The proxy of one node; node ports are answered on the node's address and for the host's own programs."""
    return ServiceProxy(
        client,
        ServiceTable(node_name, (network.node_address, HOST)),
        make_forwarding=make_forwarding,
        recorder=EventRecorder(client, SystemClock(), component="kube-proxy", host=node_name),
        chance=SystemRandom(),
        retry_seconds=retry_seconds,
    )


def relays(network: Network, addresses: AddressPlan, host_ports: Path | None = None) -> ForwardingMaker:
    """Sockets on any network; `host_ports`: where to borrow the host's when the node's network is another."""
    return partial(open_relays, network, ServiceSockets(network, addresses, host_ports))


def kernel_or_relays(
    network: Network, addresses: AddressPlan, *, namespace: Path, pods: IPv4Network, host_ports: Path | None = None
) -> ForwardingMaker:
    """The kernel of a node with a network of its own (`namespace`, with the range of its `pods`), if it can."""

    @asynccontextmanager
    async def open_either(tasks: asyncio.TaskGroup) -> AsyncIterator[Forwarding]:
        from petset.cluster.node.service_kernel import open_kernel  # with pyroute2, which only this network needs

        async with AsyncExitStack() as opened:
            relay = await opened.enter_async_context(relays(network, addresses, host_ports)(tasks))
            kernel = open_kernel(namespace, relay, services=addresses.services, pods=pods)
            try:
                forwarding: Forwarding = await opened.enter_async_context(kernel)
            except OSError as error:
                log.warning("services go through a relay, for the kernel cannot translate addresses: %s", error)
                forwarding = relay
            yield forwarding

    return open_either


def node_forwarding(settings: ClusterSettings, node_number: int, network: Network) -> ForwardingMaker:
    """What the node of a real cluster uses."""
    addresses = settings.addresses
    if not settings.has_namespaces:
        return relays(network, addresses, settings.host_ports)
    from petset.cluster.network.fabric import node_namespace

    return kernel_or_relays(
        network, addresses, namespace=node_namespace(settings.fabric, node_number),
        pods=addresses.pod_range(node_number), host_ports=settings.host_ports,
    )  # fmt: skip


async def run_service_proxy(
    settings: ClusterSettings, network: Network, *,
    node_name: str, node_number: int, troubles: WatchTroubles | None = None,
) -> None:  # fmt: skip
    """Run it until cancelled. A failure of the proxy is its own: it is logged, and the proxy is started again."""
    while True:
        try:
            async with http_client(settings, pki.node_user(node_name), network) as client:
                make_forwarding = node_forwarding(settings, node_number, network)
                proxy = make_service_proxy(
                    TroubledClient(client, troubles) if troubles else client,
                    node_name=node_name,
                    network=network,
                    make_forwarding=make_forwarding,
                )
                await proxy.run()
        except Exception:
            log.exception("the service proxy of %s failed; it starts again", node_name)
            await asyncio.sleep(RESTART_SECONDS)

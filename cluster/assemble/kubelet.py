"""One node's kubelet in a real cluster, over the runtime of its machine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from petset.cluster import pki
from petset.cluster.api.release import RELEASE
from petset.cluster.assemble.client import http_client
from petset.cluster.assemble.network import node_network
from petset.cluster.clock import Clock, SystemClock
from petset.cluster.control.watch_troubles import TroubledClient, WatchTroubles
from petset.cluster.kubelet.agent import Kubelet
from petset.cluster.kubelet.config import KubeletConfig, NodeIdentity
from petset.cluster.kubelet.node_object import RAY_NODE_LABEL
from petset.cluster.kubelet.prober import network_prober
from petset.cluster.kubelet.runtime import Runtime
from petset.cluster.kubelet.server import KubeletServer, kubelet_listener, serving_kubelet
from petset.cluster.kubelet.usage_meter import UsageMeter
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.settings import ClusterSettings


async def run_kubelet(
    settings: ClusterSettings, node_name: str, runtime: Runtime, ready: asyncio.Event, *,
    clock: Clock | None = None, troubles: WatchTroubles | None = None,
) -> None:  # fmt: skip
    """Run one node's kubelet over its machine's runtime; `clock` is what it takes for the time."""
    clock = clock or SystemClock()
    number = settings.node_names.index(node_name) + 1
    network = node_network(settings, number)
    listener = kubelet_listener(network)
    meter = UsageMeter(node_name, runtime, clock)
    server = KubeletServer(runtime, network, meter, token=pki.token_of(settings.folder, pki.KUBELET_CLIENT))
    async with (
        serving_kubelet(server, listener, pki.kubelet_context(settings.folder, node_name)),
        http_client(settings, pki.node_user(node_name), network) as client,
        network_prober(network) as prober,
        asyncio.TaskGroup() as tasks,
    ):
        config = kubelet_config(settings.addresses, settings.dns_port, kubelet_port=listener.getsockname()[1])
        kubelet = Kubelet(
            node_identity(settings.name, settings.addresses, number, labels=ray_node_labels(settings, number)),
            config.at_scale(settings.time_scale),
            client=TroubledClient(client, troubles) if troubles else client,
            runtime=runtime,
            prober=prober,
            clock=clock,
        )
        tasks.create_task(kubelet.run(), name=f"kubelet {node_name}")
        ready.set()


def ray_node_labels(settings: ClusterSettings, number: int) -> dict[str, str]:
    """On which Ray node a node is, of a cluster that has several."""
    return {RAY_NODE_LABEL: settings.ray_node_of(number)} if settings.ray_nodes > 1 else {}


def node_identity(
    cluster: str, addresses: AddressPlan, number: int, *, labels: Mapping[str, str] | None = None
) -> NodeIdentity:  # fmt: skip
    """Node number 1, 2, … of a cluster."""
    return NodeIdentity(
        name=f"node-{number}",
        cluster=cluster,
        address=addresses.node_address(number),
        pod_cidr=str(addresses.pod_range(number)),
        labels=labels or {},
    )


def kubelet_config(addresses: AddressPlan, dns_port: int, *, kubelet_port: int = 0) -> KubeletConfig:
    return KubeletConfig(
        nameserver=addresses.dns_address,
        nameserver_port=dns_port,
        api_address=addresses.api_address,
        kubelet_version=f"v{RELEASE}",
        kubelet_port=kubelet_port,
    )

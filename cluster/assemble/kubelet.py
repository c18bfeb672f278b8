"""One node's kubelet in a real cluster, over the runtime of its machine."""

from __future__ import annotations

import asyncio

from petset.cluster import pki
from petset.cluster.api.schema import RELEASE
from petset.cluster.assemble.client import http_client
from petset.cluster.clock import SystemClock
from petset.cluster.kubelet.agent import Kubelet
from petset.cluster.kubelet.config import KubeletConfig, NodeIdentity
from petset.cluster.kubelet.prober import network_prober
from petset.cluster.kubelet.runtime import Runtime
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.settings import ClusterSettings


async def run_kubelet(settings: ClusterSettings, node_name: str, runtime: Runtime, ready: asyncio.Event) -> None:
    """Run one node's kubelet over its machine's runtime."""
    number = settings.node_names.index(node_name) + 1
    network = LoopbackNetwork(settings.addresses, number)
    async with (
        http_client(settings, pki.node_user(node_name), network) as client,
        network_prober(network) as prober,
        asyncio.TaskGroup() as tasks,
    ):
        kubelet = Kubelet(
            node_identity(settings.name, settings.addresses, number),
            kubelet_config(settings.addresses, settings.dns_port),
            client=client,
            runtime=runtime,
            prober=prober,
            clock=SystemClock(),
        )
        tasks.create_task(kubelet.run(), name=f"kubelet {node_name}")
        ready.set()


def node_identity(cluster: str, addresses: AddressPlan, number: int) -> NodeIdentity:
    """Node number 1, 2, … of a cluster."""
    return NodeIdentity(
        name=f"node-{number}",
        cluster=cluster,
        address=addresses.node_address(number),
        pod_cidr=str(addresses.pod_range(number)),
    )


def kubelet_config(addresses: AddressPlan, dns_port: int) -> KubeletConfig:
    return KubeletConfig(
        nameserver=addresses.dns_address,
        nameserver_port=dns_port,
        api_address=addresses.api_address,
        kubelet_version=f"v{RELEASE}",
    )

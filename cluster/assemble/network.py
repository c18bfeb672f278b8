"""The network of one node of a real cluster, of the kind that the cluster was started with."""

from __future__ import annotations

from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.network.namespaces import NamespacesNetwork
from petset.cluster.network.network import Network
from petset.cluster.settings import ClusterSettings


def node_network(settings: ClusterSettings, number: int) -> Network:
    """The network of node number 1, 2, …"""
    if settings.has_namespaces:
        return NamespacesNetwork(settings.addresses, number, settings.fabric)
    return LoopbackNetwork(settings.addresses, number)

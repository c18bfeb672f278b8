"""Which actors a cluster consists of: their names, kinds and classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from petset.actors.api_server import ApiServerShell
from petset.actors.controller import ControllerShell
from petset.actors.dns import DnsShell
from petset.actors.kubelet import KubeletShell
from petset.actors.node import NodeShell
from petset.actors.options import OPTIONS, ActorKind
from petset.actors.shell import Shell
from petset.cluster.settings import RAY_HEAD, ClusterSettings


@dataclass(frozen=True)
class ActorSpec:
    """One actor to keep alive, on a Ray node. `arguments` follow (settings, name, lifeline) in its constructor."""

    name: str
    kind: str
    shell: type[Shell]
    arguments: tuple[Any, ...] = ()
    ray_node: str = RAY_HEAD

    @property
    def options(self) -> ActorKind:
        return OPTIONS[self.kind]


def cluster_actors(settings: ClusterSettings) -> list[ActorSpec]:
    """Every actor of a cluster, in the order of creation: first what others wait for, then what takes longest."""
    nodes, kubelets = [], []
    for number, name in enumerate(settings.node_names, start=1):
        place = settings.ray_node_of(number)
        nodes.append(ActorSpec(name, "node", NodeShell, (number,), place))
        kubelets.append(ActorSpec(f"kubelet-{number}", "kubelet", KubeletShell, (name,), place))
    return [
        ActorSpec("api-server", "api-server", ApiServerShell),
        *nodes,
        ActorSpec("controller", "controller", ControllerShell),
        *kubelets,
        ActorSpec("dns", "dns", DnsShell),
    ]

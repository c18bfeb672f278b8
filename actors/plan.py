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
from petset.cluster.settings import ClusterSettings


@dataclass(frozen=True)
class ActorSpec:
    """One actor to keep alive. `arguments` follow (settings, name, lifeline) in its constructor."""

    name: str
    kind: str
    shell: type[Shell]
    arguments: tuple[Any, ...] = ()

    @property
    def options(self) -> ActorKind:
        return OPTIONS[self.kind]


def cluster_actors(settings: ClusterSettings) -> list[ActorSpec]:
    """Every actor of a cluster, in the order of creation: first what others wait for, then what takes longest."""
    names = settings.node_names
    nodes = [ActorSpec(name, "node", NodeShell, (number,)) for number, name in enumerate(names, start=1)]
    kubelets = [ActorSpec(name.replace("node-", "kubelet-"), "kubelet", KubeletShell, (name,)) for name in names]
    return [
        ActorSpec("api-server", "api-server", ApiServerShell),
        *nodes,
        ActorSpec("controller", "controller", ControllerShell),
        *kubelets,
        ActorSpec("dns", "dns", DnsShell),
    ]

"""What all workers of one kubelet share, and what one worker and its reporter share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from petset.cluster.api.cri import Image, SandboxStatus, Volume
from petset.cluster.api.objects import Object, uid_of
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.kubelet.attachments import Attachments
from petset.cluster.kubelet.config import KubeletConfig, NodeIdentity
from petset.cluster.kubelet.downward import PodFacts
from petset.cluster.kubelet.events import Events
from petset.cluster.kubelet.facts import container_facts
from petset.cluster.kubelet.handlers import Handlers
from petset.cluster.kubelet.memory import PodMemory
from petset.cluster.kubelet.runtime import Runtime
from petset.cluster.kubelet.sandboxes import hostname_of
from petset.cluster.kubelet.sources import SourceCache
from petset.cluster.kubelet.status import Seen


@dataclass(frozen=True)
class Parts:
    """One kubelet's equipment. `look_again` asks for a fresh listing of the machine's sandboxes."""

    node: NodeIdentity
    config: KubeletConfig
    client: Client
    runtime: Runtime
    handlers: Handlers
    clock: Clock
    events: Events
    sources: SourceCache
    attachments: Attachments
    look_again: Callable[[], None]
    images: dict[str, Image] = field(default_factory=dict)
    """What this node fetched, by reference."""

    def facts_of(self, pod: Object, sandbox: SandboxStatus | None) -> PodFacts:
        """What this node hands to a pod's containers about itself."""
        return PodFacts(
            hostname=hostname_of(pod),
            pod_ip=sandbox.ip if sandbox else "",
            host_ip=self.node.address,
            node_name=self.node.name,
            allocatable=self.node.capacity,
        )


@dataclass
class PodState:
    """What is known of one pod now. `wake` is set whenever there is something new to plan for, whoever found it.

    `removed` is the sandbox as it was before the worker removed it: its containers are still to be reported.
    `shown` are the volumes with files as the machine surely shows them; nothing while that is not sure.
    """

    pod: Object
    sandbox: SandboxStatus | None
    memory: PodMemory = field(default_factory=PodMemory)
    removed: SandboxStatus | None = None
    gone: bool = False
    over: bool = False
    asked_for_sandbox: bool = False
    shown: tuple[Volume, ...] = ()
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def take_pod(self, pod: Object) -> None:
        """Accept a newer version of the same pod; an older one, or another pod of that name, is ignored."""
        meta = pod["metadata"]
        if meta["uid"] != uid_of(self.pod) or int(meta["resourceVersion"]) <= int(
            self.pod["metadata"]["resourceVersion"]
        ):
            return
        self.pod = pod
        self.wake.set()

    def seen(self, node: NodeIdentity) -> Seen:
        facts = container_facts(self.pod, self.sandbox or self.removed)
        return Seen(facts, self.memory, self.sandbox, node.address)

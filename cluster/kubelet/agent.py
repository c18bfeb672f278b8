"""The kubelet of one node: runs the pods that are bound to it and says what became of them.

    NodeAgent     registers the Node, renews its Lease, keeps its status
    Informer      pods with spec.nodeName = this node ─▶ Pods ─▶ one PodWorker each ─▶ Runtime, Prober
    MachineWatch  what happens on the machine         ─▶ Pods
    Attachments   which volumes the node uses, and which are attached to it
    Events        what users read in `kubectl describe`

It keeps no state of its own: processes are the machine's, objects the API server's. So it may be killed at any
moment; the next one adopts what runs, with no restarts and no doubles. Without the API server it goes on: containers
are restarted and probed, and the newest statuses are written when the server answers again.

Left out: static pods, image garbage collection, eviction under pressure, garbage collection of ended pods.
"""

from __future__ import annotations

import asyncio

from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.control.events import EventRecorder
from petset.cluster.control.informer import Informer
from petset.cluster.kubelet.attachments import Attachments
from petset.cluster.kubelet.config import KubeletConfig, NodeIdentity
from petset.cluster.kubelet.events import Events
from petset.cluster.kubelet.handlers import Handlers
from petset.cluster.kubelet.health import Health
from petset.cluster.kubelet.node_agent import NodeAgent
from petset.cluster.kubelet.parts import Parts
from petset.cluster.kubelet.pods import MachineWatch, Pods
from petset.cluster.kubelet.runtime import Prober, Runtime
from petset.cluster.kubelet.sources import SourceCache


class Kubelet:
    """One node's agent; `run` is its whole life."""

    def __init__(
        self, node: NodeIdentity, config: KubeletConfig, *,
        client: Client, runtime: Runtime, prober: Prober, clock: Clock,
    ) -> None:  # fmt: skip
        health = Health()
        self._watch = MachineWatch(runtime, health)
        self._events = Events(EventRecorder(client, clock, component="kubelet", host=node.name), clock)
        self._informer = Informer(client, "Pod", field_selector=f"spec.nodeName={node.name}")
        self._node_agent = NodeAgent(node, config, client, clock=clock, events=self._events, health=health)
        self._attachments = Attachments(client, node.name)
        self._parts = Parts(
            node=node,
            config=config,
            client=client,
            runtime=runtime,
            handlers=Handlers(runtime, prober),
            clock=clock,
            events=self._events,
            sources=SourceCache(client, clock),
            attachments=self._attachments,
            look_again=self._watch.look_again,
        )

    async def run(self) -> None:
        """Serve the node until cancelled. Containers run on afterwards."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch.run(), name="machine watch")
            tasks.create_task(self._events.run(), name="events")
            tasks.create_task(self._node_agent.run(), name="node")
            tasks.create_task(self._attachments.run(), name="attachments")
            tasks.create_task(Pods(self._parts, self._informer, self._watch, tasks).run(), name="pods")

"""How a node shows itself: it registers, renews its Lease, and keeps its Node's status true.

    register ──▶ every 10 s: Node read, status written when it differs, or 5 minutes after the last report
             └─▶ every 10 s: Lease renewed; while the API server is silent, again after 0.2, 0.4, … 7 s

The Lease is the node's heartbeat; the status is what it says about itself. A Node that an administrator deletes is
not registered again before the kubelet restarts, as in Kubernetes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from petset.cluster.api.objects import Object, condition_is_true, labels_of
from petset.cluster.api.times import format_micro_time
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.errors import AlreadyExists, ApiError, NotFound, Unavailable
from petset.cluster.kubelet.config import KubeletConfig, NodeIdentity
from petset.cluster.kubelet.effects import Say
from petset.cluster.kubelet.events import Events
from petset.cluster.kubelet.health import Health
from petset.cluster.kubelet.node_object import (
    LEASE_NAMESPACE,
    label_changes,
    must_report,
    new_lease,
    new_node,
    node_status,
)

FIRST_LOOK_SECONDS = 1.0
"""How long registration waits for the machine's first answer, so that a healthy node is born Ready."""
FIRST_RETRY_SECONDS = 0.2

_Answer = TypeVar("_Answer")

log = logging.getLogger(__name__)


class NodeAgent:
    """One node's presence."""

    def __init__(
        self, node: NodeIdentity, config: KubeletConfig, client: Client, *,
        clock: Clock, events: Events, health: Health,
    ) -> None:  # fmt: skip
        self._node = node
        self._config = config
        self._client = client
        self._clock = clock
        self._events = events
        self._health = health

    async def run(self) -> None:
        """Until cancelled."""
        await self._health.changed(FIRST_LOOK_SECONDS)
        node = await self._persist(self._register)
        self._say(node, "Starting", "Starting kubelet.")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew_lease(node), name="node lease")
            tasks.create_task(self._keep_status(), name="node status")

    async def _register(self) -> Object:
        """Create the Node, or find it and set its labels and address range right."""
        now = self._clock.now()
        wanted = new_node(self._node, self._config, trouble=self._health.trouble, now=now)
        try:
            return await self._client.create(wanted)
        except AlreadyExists:
            present = await self._client.get("Node", self._node.name)
        labels = label_changes(self._node)
        if _contains(labels_of(present), labels) and _contains(present["spec"], wanted["spec"]):
            return present
        body = {"metadata": {"labels": labels}, "spec": wanted["spec"]}
        return await self._client.patch("Node", self._node.name, body=body)

    async def _keep_status(self) -> None:
        while True:
            try:
                await self._in_time(self._report_status())
            except NotFound:
                log.warning("node %s is no longer registered", self._node.name)
            except ApiError as error:
                log.info("status of node %s: %s", self._node.name, error)
            await self._health.changed(self._config.status_seconds)

    async def _report_status(self) -> None:
        present, now = await self._client.get("Node", self._node.name), self._clock.now()
        status = node_status(present, self._node, self._config, trouble=self._health.trouble, now=now)
        if not must_report(present, status, self._config, now):
            return
        written = await self._client.update({**present, "status": status}, subresource="status")
        if condition_is_true(written, "Ready") and not condition_is_true(present, "Ready"):
            self._say(written, "NodeReady", f"Node {self._node.name} status is now: NodeReady")

    async def _renew_lease(self, node: Object) -> None:
        while True:
            await self._persist(lambda: self._in_time(self._renew_once(node)))
            await asyncio.sleep(self._config.lease_renew_seconds)

    async def _renew_once(self, node: Object) -> Object:
        body = {"spec": {"holderIdentity": self._node.name, "renewTime": format_micro_time(self._clock.now())}}
        try:
            return await self._client.patch("Lease", self._node.name, LEASE_NAMESPACE, body=body)
        except NotFound:
            return await self._client.create(new_lease(self._node, self._config, owner=node, now=self._clock.now()))

    async def _in_time(self, heartbeat: Awaitable[_Answer]) -> _Answer:
        """A heartbeat that hangs, as on a cut cable, is given up: the next one gets a connection of its own."""
        try:
            async with asyncio.timeout(self._config.heartbeat_timeout_seconds):
                return await heartbeat
        except TimeoutError as error:
            raise Unavailable("the API server does not answer a heartbeat") from error

    async def _persist(self, attempt: Callable[[], Awaitable[Object]]) -> Object:
        """Try until it succeeds."""
        pause = FIRST_RETRY_SECONDS
        while True:
            try:
                return await attempt()
            except ApiError as error:
                log.info("node %s: %s; again in %.1f s", self._node.name, error, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, self._config.max_heartbeat_retry_seconds)

    def _say(self, node: Object, reason: str, message: str) -> None:
        # The kubelet's events are about its node by name: `kubectl describe node` looks for that uid.
        regarding = {**node, "metadata": {**node["metadata"], "uid": self._node.name}}
        self._events.say(regarding, Say("Normal", reason, message))


def _contains(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(present.get(key) == value for key, value in wanted.items())

"""Heartbeats: one that hangs, as on a cut cable, does not hold back the next."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.api.times import parse_time
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.assemble.kubelet import kubelet_config, node_identity
from petset.cluster.clock import LoopClock
from petset.cluster.control.events import EventRecorder
from petset.cluster.kubelet.config import KubeletConfig
from petset.cluster.kubelet.events import Events
from petset.cluster.kubelet.health import Health
from petset.cluster.kubelet.node_agent import NodeAgent
from petset.cluster.network.addresses import loopback_plan
from tests.apis import new_api

pytestmark = pytest.mark.looptime

CONFIG = kubelet_config(loopback_plan(0), 53)


class HangingClient(LoopbackClient):
    """While `hangs`, whoever writes waits for ever."""

    hangs = False

    async def patch(self, *arguments: Any, **more: Any) -> Object:
        if self.hangs:
            await asyncio.Event().wait()
        return await super().patch(*arguments, **more)


@pytest.mark.parametrize(
    ("config", "patience_seconds"),
    [
        pytest.param(CONFIG, 10 + 0.2 + 1, id="Kubernetes' own times"),
        pytest.param(CONFIG.at_scale(60), 2 + 0.2 + 1, id="sixty times shorter, and what a busy machine needs"),
    ],
)
async def test_a_heartbeat_that_hangs_is_given_up(config: KubeletConfig, patience_seconds: float) -> None:
    clock = LoopClock()
    client = HangingClient(await new_api(clock))
    events = Events(EventRecorder(client, clock, component="kubelet", host="node-1"), clock)
    node = node_identity("local", loopback_plan(0), 1)
    agent = asyncio.create_task(NodeAgent(node, config, client, clock=clock, events=events, health=Health()).run())
    await asyncio.sleep(30)
    client.hangs = True
    await asyncio.sleep(config.lease_renew_seconds + 1)
    healed_at = clock.now()
    client.hangs = False
    await asyncio.sleep(patience_seconds)
    lease = await client.get("Lease", "node-1", "kube-node-lease")
    assert parse_time(lease["spec"]["renewTime"]) > healed_at
    agent.cancel()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({"petset.dev/ray-node": "ray-node-3"}, {"petset.dev/ray-node": "ray-node-2"}, id="moved"),
        pytest.param({"petset.dev/ray-node": "ray-node-2"}, {}, id="on the only Ray node again"),
    ],
)
async def test_a_node_that_comes_back_says_where_it_is_and_keeps_what_others_say(
    before: dict[str, str], after: dict[str, str]
) -> None:
    clock = LoopClock()
    client = LoopbackClient(await new_api(clock))
    events = Events(EventRecorder(client, clock, component="kubelet", host="node-1"), clock)
    for labels in (before, after):
        node = node_identity("local", loopback_plan(0), 1, labels=labels)
        agent = asyncio.create_task(NodeAgent(node, CONFIG, client, clock=clock, events=events, health=Health()).run())
        await asyncio.sleep(5)
        agent.cancel()
        await client.patch("Node", "node-1", body={"metadata": {"labels": {"disk": "ssd"}}})
    labels = (await client.get("Node", "node-1"))["metadata"]["labels"]
    assert {key: value for key, value in labels.items() if key.startswith("petset.dev/")} == after
    assert (labels["disk"], labels["kubernetes.io/hostname"]) == ("ssd", "node-1")


def test_a_scale_leaves_what_a_busy_machine_needs() -> None:
    assert CONFIG.at_scale(1) == CONFIG
    fast = CONFIG.at_scale(60)
    assert (fast.lease_renew_seconds, fast.status_seconds, fast.status_report_seconds) == (0.5, 0.5, 5.0)
    assert fast.heartbeat_timeout_seconds == 2.0

"""Before anything is touched: a cluster that is broken, or lacks what is needed, and an experiment that cannot be.

The cluster is real (in virtual time), the gate a small double that keeps what was asked of it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from petset.cluster.chaos.experiment import ExperimentError, Needs, parse_experiment
from petset.cluster.chaos.experiments import load_experiment
from petset.cluster.chaos.gate import GateError
from petset.cluster.chaos.run import CannotRun, Plan, Run, Skipped
from petset.cluster.clock import LoopClock
from tests.local import Local, local_cluster
from tests.unit.chaos.doubles import Client, Gate

pytestmark = pytest.mark.looptime


def run(local: Local, gate: Gate, name: str = "pod-kill", **changes: Any) -> Run:
    experiment, objects = load_experiment(name)
    plan = Plan(replace(experiment, **changes), objects, 1, 10.0, network="loopback", namespace="chaos-test")
    return Run(plan, Client(local), gate, LoopClock())


async def namespaces(local: Local) -> set[str]:
    return {each["metadata"]["name"] for each in (await local.client.list("Namespace")).items}


async def test_a_node_that_is_not_ready_is_named() -> None:
    async with local_cluster(2) as local:
        await asyncio.sleep(15)  # its lease has been renewed once
        local.cluster.crash_kubelet("node-2")
        await local.until("the node is given up", lambda: _unknown(local, "node-2"))
        gate = Gate()
        with pytest.raises(CannotRun, match=r"the cluster is not steady, nothing was injected: node-2 is not Ready"):
            await run(local, gate).perform()
        assert "chaos-test" not in await namespaces(local)
        assert gate.injected == []


async def _unknown(local: Local, name: str) -> bool:
    node = await local.client.get("Node", name)
    return any(each["type"] == "Ready" and each["status"] == "Unknown" for each in node["status"]["conditions"])


async def test_faults_that_act_already_are_named() -> None:
    async with local_cluster(2) as local:
        gate = Gate(active=[{"id": "f3", "state": "active"}, {"id": "f1", "state": "healed"}])
        with pytest.raises(CannotRun, match=r"faults are active: f3; `petset chaos heal --all` heals them"):
            await run(local, gate).perform()


async def test_a_gate_that_does_not_answer() -> None:
    async with local_cluster(2) as local:
        with pytest.raises(CannotRun, match=r"nothing was injected: nobody there"):
            await run(local, Gate(refusal=GateError("nobody there"))).perform()


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        pytest.param("partition-heal", {}, "needs a cluster on the network `namespaces`", id="said network"),
        pytest.param(
            "partition-heal", {"needs": Needs()}, "needs a cluster on the network", id="network of its faults"
        ),
        pytest.param("pod-kill", {"needs": Needs(nodes=3)}, "it needs 3 nodes, this cluster has 2", id="nodes"),
        pytest.param("rack-power-off", {}, "it needs 2 Ray nodes .*, this cluster has 1", id="Ray nodes"),
    ],
)
async def test_what_the_cluster_lacks_is_a_reason_to_skip(name: str, changes: dict[str, Any], reason: str) -> None:
    async with local_cluster(2) as local:
        gate = Gate()
        with pytest.raises(Skipped, match=reason):
            await run(local, gate, name, **changes).perform()
        assert "chaos-test" not in await namespaces(local)


async def test_a_workload_that_does_not_come_up_is_taken_away_again() -> None:
    async with local_cluster(2) as local:
        gate = Gate()
        with pytest.raises(CannotRun, match=r"the workload is not steady, nothing was injected: .* does not answer"):
            await run(local, gate, steady_seconds=30.0).perform()
        assert gate.injected == []
        assert gate.healed == 1
        assert "chaos-test" not in await namespaces(local)


async def test_a_workload_that_the_server_refuses() -> None:
    async with local_cluster(2) as local:
        it = run(local, Gate())
        broken = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "Not A Name"}, "spec": {}}
        it.plan = replace(it.plan, objects=(broken,))
        with pytest.raises(CannotRun, match=r"the workload was refused, nothing was injected: .*Not A Name"):
            await it.perform()
        assert "chaos-test" not in await namespaces(local)


async def test_a_pod_that_is_not_there_is_said_before_anything_is_injected() -> None:
    async with local_cluster(2) as local:
        text = """
          {name: mine, workload: pause, duration_seconds: 5, converge_seconds: 9,
           method: [{at_seconds: 0, fault: {fault: kill-pod, pod: web-7}}]}"""
        it, gate = run(local, Gate()), Gate()
        pod = {"metadata": {"name": "lone"}, "spec": {"containers": [{"name": "main", "image": "pause"}]}}
        objects = ({"apiVersion": "v1", "kind": "Pod", **pod},)
        it = Run(
            replace(it.plan, experiment=parse_experiment(text, "mine"), objects=objects),
            it.client, gate, it.clock,
        )  # fmt: skip
        with pytest.raises(ExperimentError, match=r"there is no pod 'web-7'; there are lone"):
            await it.perform()
        assert gate.injected == []
        assert "chaos-test" not in await namespaces(local)

"""Whatever ends a run, the cluster is left healed and without the workload; what is not is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from petset.cluster.api.objects import name_of
from petset.cluster.chaos import run as module
from petset.cluster.chaos.experiment import parse_experiment
from petset.cluster.chaos.gate import GateError
from petset.cluster.chaos.run import CannotRun, Outcome, Plan, Run, Skipped
from petset.cluster.clock import LoopClock
from petset.cluster.errors import Unavailable
from tests.local import Local, local_cluster
from tests.scenarios.stage import new_set
from tests.unit.chaos.doubles import Client, Gate

pytestmark = pytest.mark.looptime

FREEZE = "{at_seconds: 1, fault: {fault: freeze, component: dns}}"
CORDON = "{at_seconds: 1, deed: {deed: cordon, node: node-1}}"


class Site:
    """One run of a set of three pods, ten seconds long."""

    def __init__(self, local: Local, *steps: str) -> None:
        text = f"{{name: mine, workload: w, duration_seconds: 10, converge_seconds: 60, method: [{', '.join(steps)}]}}"
        plan = Plan(
            parse_experiment(text, "mine"), (new_set("web", {"replicas": "3"}),), seed=1, duration_seconds=10.0,
            network="namespaces", namespace="chaos-test",
        )  # fmt: skip
        self.local = local
        self.client, self.gate = Client(local, answers=True), Gate()
        self.run = Run(plan, self.client, self.gate, LoopClock())

    async def until(self, phase: str) -> asyncio.Task[Outcome]:
        """Perform it until a phase begins, which must take its time."""
        performing = asyncio.create_task(self.run.perform())
        while self.run.phase != phase and not performing.done():
            await asyncio.sleep(0.01)
        return performing

    async def interrupted(self, phase: str) -> None:
        """Perform it, and cancel it soon after a phase began."""
        performing = await self.until(phase)
        await asyncio.sleep(1.5)
        performing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await performing

    async def cordoned(self) -> set[str]:
        nodes = (await self.local.client.list("Node")).items
        return {name_of(node) for node in nodes if node["spec"].get("unschedulable")}

    async def is_clean(self) -> bool:
        namespaces = {name_of(each) for each in (await self.local.client.list("Namespace")).items}
        return "chaos-test" not in namespaces and not [each for each in self.gate.active if each["state"] == "active"]


@asynccontextmanager
async def site(*steps: str) -> AsyncIterator[Site]:
    async with local_cluster(2) as local:
        yield Site(local, *steps)


async def test_a_whole_run() -> None:
    async with site(FREEZE, CORDON) as it:
        outcome = await it.run.perform()
        words = {verdict.oracle: verdict.word for verdict in outcome.verdicts}
        assert words == {
            "identity": "broken 1×",  # the gate of this test shows no process
            "claims": "nothing to judge", "durability": "nothing to judge", "ordering": "held",
            "services": "nothing to judge", "convergence": "held", "leftovers": "held",
        }  # fmt: skip
        assert outcome.seen.sweeps > 1
        assert await it.is_clean()
        assert await it.cordoned() == set()
        assert it.run.remains == []


@pytest.mark.parametrize("phase", ["waiting for the steady state", "injecting", "healing", "taking everything back"])
async def test_who_interrupts_waits_for_everything_to_be_taken_back(phase: str) -> None:
    async with site(FREEZE, CORDON) as it:
        it.gate.heal_seconds = 3.0
        await it.interrupted(phase)
        assert await it.is_clean()
        assert await it.cordoned() == set()
        assert it.run.remains == []


async def test_what_a_run_that_was_killed_while_it_healed_may_have_left() -> None:
    async with site(FREEZE) as it:
        performing = await it.until("injecting")
        it.gate.heal_seconds = 1000.0
        for _ in range(2):
            performing.cancel()
            await asyncio.sleep(1.0)
        assert [line.partition(";")[0] for line in it.run.remains] == [
            "faults may still act", "namespace chaos-test may still be there",
        ]  # fmt: skip
        for task in asyncio.all_tasks():
            if task.get_name() == "take everything back":
                task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await performing


async def test_a_node_that_was_cordoned_before_stays_so() -> None:
    async with site(CORDON) as it:
        await it.local.client.patch("Node", "node-1", body={"spec": {"unschedulable": True}})
        await it.run.perform()
        assert await it.cordoned() == {"node-1"}


async def test_a_node_is_uncordoned_though_nobody_answers_at_first() -> None:
    async with site(CORDON) as it:
        it.gate.heal_seconds = 1.0
        performing = await it.until("healing")
        assert await it.cordoned() == {"node-1"}
        it.client.error = Unavailable("away")
        asyncio.get_running_loop().call_later(5.0, setattr, it.client, "error", None)
        await performing
        assert await it.cordoned() == set()


async def test_a_fault_whose_injection_was_not_answered_is_healed() -> None:
    async with site(FREEZE) as it:
        it.gate.lost = GateError("no answer within 60 s", 504)
        with pytest.raises(Skipped, match="nothing could be done: freeze component=dns: no answer"):
            await it.run.perform()
        assert await it.is_clean()


async def test_what_somebody_else_injects_meanwhile_is_told_too() -> None:
    async with site(FREEZE) as it:
        performing = await it.until("injecting")
        await asyncio.sleep(2.0)
        await it.gate.inject({"fault": "freeze", "component": "controller", "for_seconds": 2})
        outcome = await performing
        assert [each.words for each in outcome.seen.injected if not each.is_deed] == [
            "freeze component=dns", "freeze component=controller for_seconds=2",
        ]  # fmt: skip


async def test_a_cluster_that_is_stopped_meanwhile_is_not_waited_for() -> None:
    async with site(FREEZE, "{at_seconds: 4, every_seconds: 2, fault: {fault: kill, component: dns}}") as it:
        loop = asyncio.get_running_loop()
        performing = await it.until("injecting")
        begun_at = loop.time()
        await asyncio.sleep(3.0)
        it.gate.refusal = GateError("cluster x does not answer; is it running?")
        with pytest.raises(CannotRun, match="the run broke off while injecting: cluster x does not answer"):
            await performing
        assert loop.time() - begun_at < 10
        assert it.run.remains[0].startswith("faults may still act (cluster x does not answer")


async def test_what_lay_about_before_is_not_the_runs_but_a_machine_that_says_nothing_is() -> None:
    async with site(FREEZE) as it:
        it.gate.left = {"folders": [{"node": "node-1", "path": "/old"}]}
        it.gate.rows = [{"component": "node-1", "pid": 7, "state": "running"}]
        performing = await it.until("injecting")
        it.gate.rows.append({"component": "node-2", "pid": 0, "state": "down"})
        outcome = await performing
        assert outcome.seen.leftovers == ["node-2 does not say what is left: it is down"]


async def test_watches_that_show_nothing_are_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: Any) -> None:
        await asyncio.sleep(10_000)

    monkeypatch.setattr(module.Follower, "run", never)
    async with site(FREEZE) as it:
        with pytest.raises(CannotRun, match="the API server does not list what there is, nothing was injected"):
            await it.run.perform()

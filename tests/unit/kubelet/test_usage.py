"""Rates from measurements: windows, newcomers, what ended; and when the meter measures."""

from __future__ import annotations

import asyncio

import pytest

from petset.cluster.api.cri import ContainerSpec, MachineUsage, ProcessUsage, SandboxSpec
from petset.cluster.api.objects import Object
from petset.cluster.clock import LoopClock
from petset.cluster.errors import Unavailable
from petset.cluster.kubelet.usage import summary
from petset.cluster.kubelet.usage_meter import UsageMeter
from tests.fakes.runtime import MEBIBYTE, FakeRuntime
from tests.unit.kubelet.builders import T0, attempt, exited, sandbox


def measured(seconds: float, machine_cpu: float, **containers: tuple[float, int]) -> MachineUsage:
    """A measurement `seconds` after T0; containers are (CPU seconds, bytes) by name, attempt 0."""
    by_id = {f"{name}-0": ProcessUsage(*usage) for name, usage in containers.items()}
    return MachineUsage(T0 + seconds, ProcessUsage(machine_cpu, 100), by_id)


def rates(seen: Object) -> dict[str, tuple[int, float, int]]:
    """(nanocores, window, bytes) of every container that is told of."""
    return {
        each["name"]: (each["cpu"]["usageNanoCores"], each["cpu"]["window"], each["memory"]["workingSetBytes"])
        for pod in seen["pods"]
        for each in pod["containers"]
    }


RATES = [
    pytest.param(
        measured(0, 5, main=(1.0, 10)), measured(10, 9, main=(6.0, 20)), {"main": (500_000_000, 10.0, 20)},
        id="CPU time between the measurements over their window, and the latest memory",
    ),
    pytest.param(
        measured(-20, 5), measured(10, 9, main=(2.5, 20)), {"main": (250_000_000, 10.0, 20)},
        id="a container that started since counts from its start",
    ),
    pytest.param(measured(-20, 5), measured(0.1, 9, main=(0.1, 20)), {}, id="a container that has just started: none"),
    pytest.param(measured(0, 5, main=(1.0, 10)), measured(10, 9), {}, id="a container that was not measured: none"),
    pytest.param(
        measured(0, 5, main=(9.0, 10)), measured(10, 9, main=(6.0, 20)), {"main": (0, 10.0, 20)},
        id="lost CPU time makes no negative rate",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("earlier", "latest", "expected"), RATES)
def test_rates_of_containers(
    earlier: MachineUsage, latest: MachineUsage, expected: dict[str, tuple[int, float, int]]
) -> None:
    seen = summary("node-1", [sandbox(attempt("main"))], earlier=earlier, latest=latest)
    assert rates(seen) == expected
    assert bool(seen["pods"]) == bool(expected)


def test_the_node_is_told_of_beside_its_pods() -> None:
    seen = summary("node-1", [], earlier=measured(0, 5), latest=measured(10, 9))
    assert seen["node"]["nodeName"] == "node-1"
    assert seen["node"]["cpu"]["usageNanoCores"] == 400_000_000
    assert seen["pods"] == []


def test_only_the_attempt_that_runs_is_told_of() -> None:
    pod = sandbox(exited("main", 0), attempt("main", 1))
    latest = MachineUsage(T0 + 10, ProcessUsage(1, 1), {"main-1": ProcessUsage(1.0, 7)})
    assert rates(summary("node-1", [pod], earlier=measured(0, 0), latest=latest)) == {"main": (100_000_000, 10.0, 7)}


async def busy_node() -> FakeRuntime:
    runtime = FakeRuntime(LoopClock())
    runtime.busy["hot"] = 0.5
    await runtime.run_sandbox(SandboxSpec("uid", "default", "web-0", "web-0"))
    await runtime.start_container("uid", ContainerSpec("main", "hot"))
    return runtime


@pytest.mark.looptime
class TestMeter:
    async def test_the_first_answer_measures_for_a_second_and_the_next_since_then(self) -> None:
        meter, loop = UsageMeter("node-1", await busy_node(), LoopClock()), asyncio.get_running_loop()
        await asyncio.sleep(100)
        begun = loop.time()
        assert rates(await meter.summary()) == {"main": (500_000_000, 1.0, MEBIBYTE)}
        assert loop.time() == begun + 1
        assert rates(await meter.summary()) == {"main": (500_000_000, 1.0, MEBIBYTE)}
        await asyncio.sleep(20)
        assert rates(await meter.summary()) == {"main": (500_000_000, 20.0, MEBIBYTE)}
        await asyncio.sleep(3600)
        assert rates(await meter.summary()) == {"main": (500_000_000, 1.0, MEBIBYTE)}

    async def test_a_silent_machine_is_an_error_and_the_next_answer_is_right(self) -> None:
        runtime = await busy_node()
        meter = UsageMeter("node-1", runtime, LoopClock())
        runtime.silent = True
        with pytest.raises(Unavailable):
            await meter.summary()
        runtime.silent = False
        assert rates(await meter.summary()) == {"main": (500_000_000, 1.0, MEBIBYTE)}

from __future__ import annotations

from dataclasses import replace

import pytest

from petset.cluster.api.cri import ContainerStatus
from petset.cluster.kubelet.effects import RunHook, Signal
from petset.cluster.kubelet.facts import container_facts
from petset.cluster.kubelet.memory import Ending, Stop
from petset.cluster.kubelet.termination import ending_of, stop_step, stoppable
from tests.unit.kubelet.builders import T0, attempt, container, exited, pod, sandbox

STOP = Stop("main-0", deadline=T0 + 30, hook="done")
TERM, KILL = Signal("main", "main-0", 15), Signal("main", "main-0", 9)


@pytest.mark.parametrize(
    ("stop", "after_seconds", "effects", "again_after"),
    [
        pytest.param(STOP, 0, (TERM,), 30, id="without a hook SIGTERM at once"),
        pytest.param(replace(STOP, termed=True), 10, (), 30, id="then nothing until the end of the grace"),
        pytest.param(replace(STOP, termed=True), 30, (KILL,), 35, id="then SIGKILL"),
        pytest.param(replace(STOP, termed=True, killed_at=T0 + 30), 32, (), 35, id="which is given time"),
        pytest.param(replace(STOP, termed=True, killed_at=T0 + 30), 35, (KILL,), 40, id="and repeated"),
        pytest.param(replace(STOP, hook="due"), 0, (RunHook("main", "main-0", "preStop", 30.0),), 30, id="hook first"),
        pytest.param(replace(STOP, hook="running"), 10, (), 30, id="SIGTERM waits for the hook"),
        pytest.param(replace(STOP, hook="running"), 30, (TERM,), 32, id="a slow hook gets two seconds more"),
    ],
)
def test_a_container_is_stopped_in_order(stop: Stop, after_seconds: float, effects: object, again_after: float) -> None:
    step = stop_step("main", stop, T0 + after_seconds)
    assert step.effects == effects
    assert step.again_at == T0 + again_after


@pytest.mark.parametrize(
    ("earlier", "grace_seconds", "expected"),
    [
        pytest.param(None, 30.0, Ending(30.0, T0 + 30), id="first delete"),
        pytest.param(None, 0.0, Ending(1.0, T0 + 1), id="never less than one second"),
        pytest.param(Ending(30.0, T0 + 5), 2.0, Ending(2.0, T0 + 2), id="a shorter one brings the end nearer"),
        pytest.param(Ending(30.0, T0 + 5), 20.0, Ending(20.0, T0 + 5), id="but never pushes it away"),
        pytest.param(Ending(10.0, T0 + 5), 60.0, Ending(10.0, T0 + 5), id="a longer one does nothing"),
    ],
)
def test_later_deletes_only_shorten(earlier: Ending | None, grace_seconds: float, expected: Ending) -> None:
    assert ending_of(earlier, grace_seconds=grace_seconds, now=T0) == expected


@pytest.mark.parametrize(
    ("main", "now", "names"),
    [
        pytest.param(attempt(), T0, ["main"], id="main containers first"),
        pytest.param(exited(), T0, ["second"], id="then the last sidecar"),
        pytest.param(attempt(), T0 + 30, ["main", "second", "first"], id="at the end of the grace everything"),
    ],
)
def test_sidecars_are_stopped_last_and_backwards(main: ContainerStatus, now: float, names: list[str]) -> None:
    sidecars = (container("first", restartPolicy="Always"), container("second", restartPolicy="Always"))
    running = sandbox(attempt("first"), attempt("second"), main)
    facts = container_facts(pod(init=sidecars), running)
    assert [each.name for each in stoppable(facts, deadline=T0 + 30, now=now)] == names

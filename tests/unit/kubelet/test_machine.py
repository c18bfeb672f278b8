"""What the pod machine decides in one step; whole lives are in tests/scenarios/test_kubelet.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from petset.cluster.api.cri import SandboxStatus
from petset.cluster.api.objects import Object
from petset.cluster.kubelet.backoff import Backoff
from petset.cluster.kubelet.effects import (
    Effect,
    HookEnded,
    MachineSilent,
    PullImage,
    RemoveSandbox,
    Result,
    RunHook,
    RunProbe,
    RunSandbox,
    SandboxDelayed,
    SandboxReady,
    Say,
    Signal,
    StartContainer,
    Started,
    StartFailed,
)
from petset.cluster.kubelet.machine import Plan, Situation, plan
from petset.cluster.kubelet.memory import ContainerMemory, PodMemory, absorb
from tests.unit.kubelet.builders import T0, attempt, container, exited, pod, sandbox

PROBE = {"tcpSocket": {"port": 80}}
IMAGES = frozenset(["main:1", "a:1", "b:1", "setup:1", "logger:1"])


def decide(
    obj: Object, box: SandboxStatus | None, memory: PodMemory | None = None, *, now: float = T0, gone: bool = False
) -> Plan:
    return plan(Situation(obj, box, gone, IMAGES), memory or PodMemory(), now)


def acts(step: Plan) -> list[Effect]:
    """The effects that act on the node."""
    return [each for each in step.effects if not isinstance(each, Say)]


def learn(memory: PodMemory, result: Result, *, now: float = T0) -> PodMemory:
    return absorb(memory, result, images={"main": "main:1"}, now=now)[0]


def pulled(*names: str, number: int = 0) -> PodMemory:
    return PodMemory({name: ContainerMemory(pulled_attempt=number) for name in names})


def test_a_new_pod_needs_a_sandbox_first() -> None:
    assert decide(pod(), None).effects == (RunSandbox(),)


def test_every_container_is_pulled_then_started() -> None:
    obj = pod(container("a"), container("b"))
    assert acts(decide(obj, sandbox())) == [PullImage("a", 0), PullImage("b", 0)]
    assert acts(decide(obj, sandbox(), pulled("a", "b"))) == [StartContainer("a", 0), StartContainer("b", 0)]
    assert acts(decide(obj, sandbox(attempt("a"), attempt("b")))) == []


@pytest.mark.parametrize(
    ("policy", "present", "said"),
    [
        pytest.param("Always", True, ["Pulling"], id="Always pulls again"),
        pytest.param("IfNotPresent", True, [], id="IfNotPresent is content with what is there"),
        pytest.param("IfNotPresent", False, ["Pulling"], id="IfNotPresent pulls once"),
        pytest.param("Never", False, [], id="Never does not pull"),
    ],
)
def test_pulling_is_said_only_when_it_is_done(policy: str, present: bool, said: list[str]) -> None:
    obj = pod(container(imagePullPolicy=policy))
    images = IMAGES if present else frozenset[str]()
    step = plan(Situation(obj, sandbox(), images=images), PodMemory(), T0)
    assert [each.reason for each in step.effects if isinstance(each, Say)] == said


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        pytest.param([], [PullImage("setup", 0)], id="the first init container"),
        pytest.param([attempt("setup")], [], id="the next waits for it"),
        pytest.param([exited("setup", exit_code=1)], [PullImage("setup", 1)], id="a failed one is tried again"),
        pytest.param([exited("setup")], [PullImage("logger", 0)], id="then the sidecar"),
        pytest.param([exited("setup"), attempt("logger")], [PullImage("main", 0)], id="then the main container"),
        pytest.param(
            [exited("setup"), exited("logger"), attempt()], [PullImage("logger", 1)], id="a dead sidecar returns"
        ),
    ],
)
def test_init_containers_come_first(attempts: list[object], expected: list[Effect]) -> None:
    obj = pod(init=(container("setup"), container("logger", restartPolicy="Always")))
    assert acts(decide(obj, sandbox(*attempts))) == expected  # type: ignore[arg-type]


def test_a_sidecar_holds_the_rest_back_until_its_startup_probe_succeeds() -> None:
    obj = pod(init=(container("logger", restartPolicy="Always", startupProbe=PROBE),))
    step = decide(obj, sandbox(attempt("logger")))
    assert acts(step) == [RunProbe("logger", "logger-0", "startup")]
    assert acts(decide(obj, sandbox(attempt("logger")), step.memory)) == []


@pytest.mark.parametrize(
    ("policy", "exit_code", "expected"),
    [
        pytest.param("Always", 0, [PullImage("main", 1)], id="Always after success"),
        pytest.param("Always", 1, [PullImage("main", 1)], id="Always after failure"),
        pytest.param("OnFailure", 0, [], id="OnFailure after success"),
        pytest.param("OnFailure", 1, [PullImage("main", 1)], id="OnFailure after failure"),
        pytest.param("Never", 1, [], id="Never"),
    ],
)
def test_the_restart_policy(policy: str, exit_code: int, expected: list[Effect]) -> None:
    assert acts(decide(pod(restartPolicy=policy), sandbox(exited(exit_code=exit_code)))) == expected


def test_a_crash_loop_waits_and_says_so_after_a_moment() -> None:
    memory = PodMemory({"main": ContainerMemory(crash=Backoff(20.0, T0))})
    box = sandbox(exited(finished_at=T0 + 5))
    shown = decide(pod(), box, memory, now=T0 + 5.5)
    assert (shown.effects, shown.wake_at) == ((), T0 + 6)
    waiting = decide(pod(), box, memory, now=T0 + 6)
    assert [each.reason for each in waiting.effects if isinstance(each, Say)] == ["BackOff"]
    assert waiting.memory.of("main").waiting is not None
    assert waiting.wake_at == T0 + 25
    assert decide(pod(), box, waiting.memory, now=T0 + 24.9).effects == ()
    assert acts(decide(pod(), box, waiting.memory, now=T0 + 25)) == [PullImage("main", 1)]


def test_a_start_counts_the_backoff_from_the_end_that_it_follows() -> None:
    memory = learn(PodMemory(), Started("main", "main-1", failed_at=T0), now=T0)
    assert memory.of("main").crash == Backoff(10.0, T0)
    assert learn(memory, Started("main", "main-2", failed_at=T0 + 15), now=T0 + 25).of("main").crash == Backoff(
        20.0, T0 + 25
    )
    assert learn(PodMemory(), Started("main", "main-0"), now=T0).of("main").crash is None


def test_a_container_lost_by_the_machine_starts_as_the_next_attempt() -> None:
    known = {"name": "main", "restartCount": 3, "containerID": "petset://x", "state": {"running": {}}}
    obj = pod(status={"containerStatuses": [known | {"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]})
    assert [each.reason for each in decide(obj, None).effects if isinstance(each, Say)] == ["SandboxChanged"]
    assert acts(decide(obj, sandbox())) == [PullImage("main", 4)]


def test_a_pod_that_never_restarts_is_not_run_again_after_it_was_lost() -> None:
    known = {"name": "main", "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    assert decide(pod(restartPolicy="Never", status={"containerStatuses": [known]}), None).effects == ()


def test_a_silent_machine_is_left_alone_for_a_while_even_by_a_deletion() -> None:
    memory = learn(PodMemory(), MachineSilent("gone"))
    step = decide(pod(deleted_with_grace=30), sandbox(attempt()), memory, now=T0 + 0.5)
    assert (step.effects, step.wake_at) == ((), T0 + 1)
    pauses = []
    for _ in range(4):
        pauses.append(memory.retry_at - T0)
        memory = learn(memory, MachineSilent("gone"))
    assert pauses == [1, 2, 4, 4]


def test_a_delayed_sandbox_does_not_hold_up_a_deletion() -> None:
    memory = learn(PodMemory(), SandboxDelayed("FailedMount", "PVC is not bound"))
    assert decide(pod(), None, memory, now=T0 + 0.9).wake_at == T0 + 1
    assert decide(pod(deleted_with_grace=30), None, memory, now=T0 + 0.9).over
    assert learn(memory, SandboxReady()).retry_seconds == 0


def test_a_misconfigured_container_is_tried_again_every_ten_seconds() -> None:
    memory = learn(pulled("main"), StartFailed("main", "CreateContainerConfigError", "no such key"))
    waiting = decide(pod(), sandbox(), memory, now=T0 + 9)
    assert (waiting.effects, waiting.wake_at) == ((), T0 + 10)
    assert acts(decide(pod(), sandbox(), memory, now=T0 + 10)) == [StartContainer("main", 0)]


def test_a_program_that_cannot_be_started_crash_loops() -> None:
    failed = exited(exit_code=128)
    memory = learn(pulled("main"), StartFailed("main", "RunContainerError", "no such file"))
    assert decide(pod(), sandbox(), memory, now=T0 + 0.9).effects == ()
    assert acts(decide(pod(), sandbox(failed), memory, now=T0 + 6)) == [PullImage("main", 1)]
    again = learn(memory, StartFailed("main", "RunContainerError", "no such file", failed_at=T0 + 5), now=T0 + 6)
    assert again.of("main").crash == Backoff(10.0, T0 + 6)
    looping = decide(pod(), sandbox(failed), again, now=T0 + 7)
    waiting = looping.memory.of("main").waiting
    assert waiting is not None
    assert waiting.reason == "CrashLoopBackOff"
    assert looping.wake_at == T0 + 15


def test_a_changed_image_restarts_the_container_at_once() -> None:
    obj = pod(container(image="main:2"))
    step = decide(obj, sandbox(attempt()))
    said = [each.message for each in step.effects if isinstance(each, Say)]
    assert said == ["Container main definition changed, will be restarted"]
    assert acts(step) == [Signal("main", "main-0", 15)]
    looping = PodMemory({"main": ContainerMemory(crash=Backoff(20.0, T0))})
    assert acts(decide(obj, sandbox(exited()), looping, now=T0 + 6)) == [PullImage("main", 1)]


def test_deletion_stops_everything_then_removes_the_sandbox_then_is_over() -> None:
    obj = pod(container("a"), container("b"), deleted_with_grace=30)
    step = decide(obj, sandbox(attempt("a"), attempt("b")))
    assert acts(step) == [Signal("a", "a-0", 15), Signal("b", "b-0", 15)]
    assert [each.message for each in step.effects if isinstance(each, Say)] == [
        "Stopping container a",
        "Stopping container b",
    ]
    assert decide(obj, sandbox(exited("a"), exited("b")), step.memory).effects == (RemoveSandbox(),)
    assert decide(obj, None, step.memory).over


def test_a_finished_pod_keeps_its_sandbox_until_it_is_deleted() -> None:
    box = sandbox(exited())
    assert decide(pod(restartPolicy="Never"), box).effects == ()
    assert decide(pod(restartPolicy="Never", deleted_with_grace=0), box).effects == (RemoveSandbox(),)


def test_sidecars_end_with_the_last_main_container() -> None:
    obj = pod(init=(container("logger", restartPolicy="Always"),), restartPolicy="Never")
    assert acts(decide(obj, sandbox(attempt("logger"), exited()))) == [Signal("logger", "logger-0", 15)]


def test_a_pod_failed_by_others_is_stopped() -> None:
    assert acts(decide(pod(status={"phase": "Failed"}), sandbox(attempt()))) == [Signal("main", "main-0", 15)]


def test_a_pod_that_is_gone_gets_one_second() -> None:
    step = decide(pod(), sandbox(attempt()), gone=True)
    assert (acts(step), step.wake_at) == ([Signal("main", "main-0", 15)], T0 + 1)


def test_a_pod_past_its_deadline_fails() -> None:
    obj = pod(activeDeadlineSeconds=60, status={"startTime": "2026-01-01T00:00:00Z"})
    assert decide(obj, sandbox(attempt()), now=T0 + 59).wake_at == T0 + 60
    step = decide(obj, sandbox(attempt()), now=T0 + 60)
    assert step.memory.failure is not None
    assert acts(step) == [Signal("main", "main-0", 15)]


def test_a_condemned_container_gets_the_grace_of_its_probe() -> None:
    probe = PROBE | {"failureThreshold": 1, "terminationGracePeriodSeconds": 3}
    obj, box = pod(container(livenessProbe=probe)), sandbox(attempt())
    probes = decide(obj, box).memory.of("main").probes
    assert probes is not None
    memory = PodMemory({"main": ContainerMemory(probes=probes.answered("liveness", good=False))})
    step = decide(obj, box, memory)
    assert acts(step) == [Signal("main", "main-0", 15)]
    assert step.wake_at == T0 + 3
    assert [each.message for each in step.effects if isinstance(each, Say)] == [
        "Container main failed liveness probe, will be restarted"
    ]


def test_a_post_start_hook_runs_once_and_its_failure_kills_the_container() -> None:
    hook = {"postStart": {"exec": {"command": ["join"]}}}
    obj, box = pod(container(lifecycle=hook)), sandbox(attempt())
    step = decide(obj, box, learn(PodMemory(), Started("main", "main-0")))
    assert [each.hook for each in acts(step) if isinstance(each, RunHook)] == ["postStart"]
    assert acts(decide(obj, box, step.memory)) == []
    failed = learn(step.memory, HookEnded("main", "main-0", "postStart", "exit code 1"))
    assert acts(decide(obj, box, failed)) == [Signal("main", "main-0", 15)]


@pytest.mark.parametrize("planned", [pytest.param(False, id="before"), pytest.param(True, id="while")])
def test_a_post_start_hook_of_an_attempt_that_is_over_says_nothing_of_the_next(planned: bool) -> None:
    """Its answer may come before the next attempt's own hook is asked for, or while that runs."""
    obj = pod(container(lifecycle={"postStart": {"exec": {"command": ["join"]}}}))
    first = decide(obj, sandbox(attempt()), learn(PodMemory(), Started("main", "main-0")))
    box, memory = sandbox(attempt(number=1)), learn(first.memory, Started("main", "main-1", T0))
    late = learn(
        decide(obj, box, memory).memory if planned else memory, HookEnded("main", "main-0", "postStart", "gone")
    )
    assert late.of("main").post_start == ("running" if planned else "due")
    own = decide(obj, box, late).memory
    assert learn(own, HookEnded("main", "main-1", "postStart")).of("main").post_start == "done"


def test_an_adopted_container_does_not_run_its_post_start_hook_again() -> None:
    hook = {"postStart": {"exec": {"command": ["join"]}}}
    assert acts(decide(pod(container(lifecycle=hook)), sandbox(attempt()))) == []


def test_a_probe_under_way_is_not_made_twice() -> None:
    obj, box = pod(container(readinessProbe=PROBE)), sandbox(attempt())
    step = decide(obj, box)
    assert acts(step) == [RunProbe("main", "main-0", "readiness")]
    assert acts(decide(obj, box, step.memory, now=T0 + 100)) == []


def test_planning_twice_changes_nothing() -> None:
    obj, box = pod(deleted_with_grace=30), sandbox(attempt())
    first = decide(obj, box)
    again = decide(obj, box, first.memory)
    assert acts(again) == acts(first)
    assert replace(again, effects=()) == replace(first, effects=())

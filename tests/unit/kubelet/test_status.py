"""Phase, conditions and container statuses, by the tables of kubelet_pods.go and status/generate.go."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.cri import ContainerStatus, SandboxStatus
from petset.cluster.api.objects import Object, condition
from petset.cluster.kubelet.facts import container_facts
from petset.cluster.kubelet.memory import ContainerMemory, PodMemory, Waiting
from petset.cluster.kubelet.probes import new_probes
from petset.cluster.kubelet.status import Seen, pod_status
from tests.unit.kubelet.builders import T0, attempt, container, exited, pod, sandbox

TWO = (container("a"), container("b"))


def status_of(obj: Object, box: SandboxStatus | None, memory: PodMemory | None = None, *, now: float = T0) -> Object:
    seen = Seen(container_facts(obj, box), memory or PodMemory(), box, "10.0.0.1")
    return pod_status(obj, seen, now)


def condition_of(status: Object, type_: str) -> Object:
    found = condition({"status": status}, type_)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("policy", "attempts", "phase"),
    [
        pytest.param("Always", [], "Pending", id="nothing started"),
        pytest.param("Always", [attempt("a")], "Pending", id="one still waiting"),
        pytest.param("Always", [attempt("a"), attempt("b")], "Running", id="both running"),
        pytest.param("Never", [attempt("a"), exited("b")], "Running", id="one running is enough"),
        pytest.param("Always", [exited("a"), exited("b", exit_code=1)], "Running", id="Always never ends"),
        pytest.param("OnFailure", [exited("a"), exited("b", exit_code=1)], "Running", id="OnFailure will retry"),
        pytest.param("OnFailure", [exited("a"), exited("b")], "Succeeded", id="OnFailure, all well"),
        pytest.param("Never", [exited("a"), exited("b")], "Succeeded", id="Never, all well"),
        pytest.param("Never", [exited("a"), exited("b", exit_code=1)], "Failed", id="Never, one failed"),
    ],
)
def test_the_phase_follows_from_the_containers(policy: str, attempts: list[ContainerStatus], phase: str) -> None:
    assert status_of(pod(*TWO, restartPolicy=policy), sandbox(*attempts))["phase"] == phase


@pytest.mark.parametrize(
    ("policy", "attempts", "phase"),
    [
        pytest.param("Always", [], "Pending", id="init not begun"),
        pytest.param("Always", [attempt("setup")], "Pending", id="init running"),
        pytest.param("Always", [exited("setup", exit_code=1)], "Pending", id="init failed, will retry"),
        pytest.param("Never", [exited("setup", exit_code=1)], "Failed", id="init failed for good"),
        pytest.param("Always", [exited("setup")], "Pending", id="init done, main not begun"),
        pytest.param("Always", [exited("setup"), attempt()], "Running", id="main running"),
    ],
)
def test_the_phase_waits_for_init_containers(policy: str, attempts: list[ContainerStatus], phase: str) -> None:
    obj = pod(init=(container("setup"),), restartPolicy=policy)
    assert status_of(obj, sandbox(*attempts))["phase"] == phase


@pytest.mark.parametrize(
    ("attempts", "phase"),
    [
        pytest.param([attempt()], "Running", id="still running"),
        pytest.param([exited()], "Succeeded", id="all exit codes 0"),
        pytest.param([exited(exit_code=143)], "Failed", id="one is not"),
        pytest.param([], "Failed", id="never started"),
    ],
)
def test_a_deleted_pod_ends_in_a_terminal_phase_even_under_always(attempts: list[ContainerStatus], phase: str) -> None:
    assert status_of(pod(deleted_with_grace=30, restartPolicy="Always"), sandbox(*attempts))["phase"] == phase


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_terminal_phase_is_never_left(phase: str) -> None:
    assert status_of(pod(status={"phase": phase}), sandbox(attempt()))["phase"] == phase


@pytest.mark.parametrize(
    ("attempts", "waiting", "state", "last_state"),
    [
        pytest.param([], None, {"waiting": {"reason": "ContainerCreating"}}, {}, id="before the first start"),
        pytest.param(
            [attempt()], None, {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, {}, id="running"
        ),
        pytest.param(
            [exited(exit_code=3)], None,
            {"terminated": {"exitCode": 3, "reason": "Error", "startedAt": "2026-01-01T00:00:00Z",
                            "finishedAt": "2026-01-01T00:00:05Z", "containerID": "petset://main-0"}},
            {}, id="just ended",
        ),
        pytest.param(
            [exited(exit_code=128, started_at=0.0)], Waiting("RunContainerError", "no such file", T0),
            {"waiting": {"reason": "RunContainerError", "message": "no such file"}},
            {"terminated": {"exitCode": 128, "reason": "StartError", "finishedAt": "2026-01-01T00:00:05Z",
                            "containerID": "petset://main-0"}},
            id="a program that could not be started",
        ),
        pytest.param(
            [exited()], Waiting("CrashLoopBackOff", "back-off 10s", T0),
            {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": "2026-01-01T00:00:00Z",
                            "finishedAt": "2026-01-01T00:00:05Z", "containerID": "petset://main-0"}},
            id="backing off shows the end as lastState",
        ),
        pytest.param(
            [], Waiting("ErrImagePull", "no such image", T0),
            {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}, {}, id="image not there",
        ),
    ],
)  # fmt: skip
def test_a_containers_state(
    attempts: list[ContainerStatus], waiting: Waiting | None, state: Object, last_state: Object
) -> None:
    memory = PodMemory({"main": ContainerMemory(waiting=waiting)})
    found = status_of(pod(), sandbox(*attempts), memory)["containerStatuses"][0]
    assert (found["state"], found["lastState"]) == (state, last_state)


def test_a_signal_is_told_as_an_exit_code() -> None:
    killed = attempt(state="exited", signal=9)
    assert status_of(pod(), sandbox(killed))["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


def test_restarts_are_counted_by_attempts_and_the_previous_one_is_last_state() -> None:
    found = status_of(pod(), sandbox(exited(number=4, exit_code=2), attempt(number=5)))["containerStatuses"][0]
    assert found["restartCount"] == 5
    assert found["lastState"]["terminated"]["exitCode"] == 2


def test_a_container_that_the_machine_lost_counts_as_ended() -> None:
    running = {
        "name": "main", "restartCount": 2, "containerID": "petset://main-2", "image": "main:1", "imageID": "id:main",
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    }  # fmt: skip
    found = status_of(pod(status={"containerStatuses": [running]}), None)["containerStatuses"][0]
    assert found["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert found["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert found["lastState"]["terminated"]["exitCode"] == 137
    assert found["restartCount"] == 2


def test_readiness_needs_the_probe_and_the_hook() -> None:
    obj = pod(container(readinessProbe={"tcpSocket": {"port": 80}}))
    fresh = new_probes(obj["spec"]["containers"][0], "main-0", started_at=T0)
    good = fresh.answered("readiness", good=True)
    table: list[tuple[ContainerMemory, bool]] = [
        (ContainerMemory(), False),
        (ContainerMemory(probes=fresh), False),
        (ContainerMemory(probes=good, post_start="running"), False),
        (ContainerMemory(probes=good), True),
    ]
    for memory, ready in table:
        found = status_of(obj, sandbox(attempt()), PodMemory({"main": memory}))["containerStatuses"][0]
        assert found["ready"] is ready


def test_unready_containers_are_named() -> None:
    status = status_of(pod(*TWO), sandbox())
    for type_ in ("ContainersReady", "Ready"):
        found = condition_of(status, type_)
        assert (found["status"], found["reason"]) == ("False", "ContainersNotReady")
        assert found["message"] == "containers with unready status: [a b]"


@pytest.mark.parametrize(
    ("attempts", "reason"),
    [
        pytest.param([exited()], "PodCompleted", id="succeeded"),
        pytest.param([exited(exit_code=1)], "PodFailed", id="failed"),
    ],
)
def test_an_ended_pod_says_so_in_its_conditions(attempts: list[ContainerStatus], reason: str) -> None:
    ready = condition_of(status_of(pod(restartPolicy="Never"), sandbox(*attempts)), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", reason)


@pytest.mark.parametrize(
    ("gate_status", "ready", "reason"),
    [
        pytest.param(None, "False", "ReadinessGatesNotReady", id="condition missing"),
        pytest.param("False", "False", "ReadinessGatesNotReady", id="condition false"),
        pytest.param("True", "True", None, id="condition true"),
    ],
)
def test_readiness_gates_keep_a_pod_unready(gate_status: str | None, ready: str, reason: str | None) -> None:
    conditions = [{"type": "example.com/gate", "status": gate_status}] if gate_status else []
    obj = pod(readinessGates=[{"conditionType": "example.com/gate"}], status={"conditions": conditions})
    status = status_of(obj, sandbox(attempt()))
    found = condition_of(status, "Ready")
    assert (found["status"], found.get("reason")) == (ready, reason)
    assert condition_of(status, "ContainersReady")["status"] == "True"


def test_a_transition_time_moves_only_with_the_status() -> None:
    first = status_of(pod(), sandbox(attempt()), now=T0)
    same = status_of(pod(status=first), sandbox(attempt()), now=T0 + 60)
    assert same == first
    changed = status_of(pod(status=first), sandbox(exited()), now=T0 + 60)
    assert condition_of(changed, "Ready")["lastTransitionTime"] == "2026-01-01T00:01:00Z"
    assert condition_of(changed, "Initialized")["lastTransitionTime"] == "2026-01-01T00:00:00Z"


def test_what_others_wrote_stays() -> None:
    old: dict[str, Any] = {
        "nominatedNodeName": "node-2",
        "startTime": "2025-12-31T00:00:00Z",
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2025-12-31T00:00:00Z"},
            {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"},
        ],
    }
    status = status_of(pod(status=old), sandbox(attempt()))
    assert (status["nominatedNodeName"], status["startTime"]) == ("node-2", "2025-12-31T00:00:00Z")
    assert [each["type"] for each in status["conditions"]] == [
        "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", "DisruptionTarget",
    ]  # fmt: skip


def test_addresses_come_from_the_sandbox_and_outlive_it() -> None:
    status = status_of(pod(), sandbox(attempt()))
    assert (status["podIP"], status["podIPs"], status["hostIP"]) == ("10.244.1.5", [{"ip": "10.244.1.5"}], "10.0.0.1")
    assert status_of(pod(status=status), None)["podIP"] == "10.244.1.5"

"""Ephemeral containers: started beside whatever the pod does, once, and judged by nobody."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.cri import ContainerStatus, SandboxStatus
from petset.cluster.api.objects import Object
from petset.cluster.kubelet.config import KubeletConfig
from petset.cluster.kubelet.effects import Effect, PullImage, Say, Signal, StartContainer
from petset.cluster.kubelet.facts import container_facts
from petset.cluster.kubelet.machine import Plan, Situation, plan
from petset.cluster.kubelet.memory import ContainerMemory, PodMemory
from petset.cluster.kubelet.performer import container_of
from petset.cluster.kubelet.sandboxes import sandbox_spec
from petset.cluster.kubelet.status import Seen, pod_status
from petset.cluster.kubelet.volumes import Needed, needed_objects
from tests.unit.kubelet.builders import T0, attempt, container, exited, pod, sandbox

PULLED = PodMemory({name: ContainerMemory(pulled_attempt=0) for name in ("main", "setup", "debug")})


def debugged(**fields: Any) -> Object:
    return pod(ephemeralContainers=[container("debug", targetContainerName="main")], **fields)


def step_of(obj: Object, box: SandboxStatus, memory: PodMemory = PULLED) -> Plan:
    return plan(Situation(obj, box, images=frozenset()), memory, T0)


def acts(step: Plan) -> list[Effect]:
    return [each for each in step.effects if not isinstance(each, Say)]


def status_of(obj: Object, *attempts: ContainerStatus) -> Object:
    box = sandbox(*attempts)
    return pod_status(obj, Seen(container_facts(obj, box), PULLED, box, "10.0.0.1"), T0)


START = StartContainer("debug", 0)


@pytest.mark.parametrize(
    ("obj", "attempts"),
    [
        pytest.param(debugged(), [attempt()], id="the pod runs"),
        pytest.param(debugged(init=(container("setup"),)), [attempt("setup")], id="init containers still run"),
        pytest.param(debugged(restartPolicy="Never"), [attempt()], id="whatever the pod's restart policy"),
    ],
)
def test_it_is_started_beside_the_others(obj: Object, attempts: list[ContainerStatus]) -> None:
    assert acts(step_of(obj, sandbox(*attempts))) == [START]


def test_its_image_is_pulled_first() -> None:
    assert acts(step_of(debugged(), sandbox(attempt()), PodMemory())) == [PullImage("debug", 0)]


@pytest.mark.parametrize("exit_code", [0, 1])
@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
def test_it_is_never_started_again(policy: str, exit_code: int) -> None:
    box = sandbox(attempt(), exited("debug", exit_code=exit_code))
    assert acts(step_of(debugged(restartPolicy=policy), box)) == []


def test_one_that_the_machine_lost_is_not_started_again() -> None:
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    known = {"name": "debug", "restartCount": 0, "containerID": "petset://x", "state": running}
    obj = debugged(status={"ephemeralContainerStatuses": [known]})
    assert acts(step_of(obj, sandbox(attempt()))) == []


def test_it_is_stopped_with_a_pod_that_ended() -> None:
    box = sandbox(exited(), attempt("debug"))
    assert acts(step_of(debugged(restartPolicy="Never"), box)) == [Signal("debug", "debug-0", 15)]


@pytest.mark.parametrize("how", [attempt("debug"), exited("debug", exit_code=1)], ids=["running", "failed"])
def test_phase_and_conditions_ignore_it(how: ContainerStatus) -> None:
    status = status_of(debugged(), attempt(), how)
    assert status["phase"] == "Running"
    without = status_of(pod(), attempt())
    assert status["conditions"] == without["conditions"]
    assert status["containerStatuses"] == without["containerStatuses"]


def test_a_pod_is_finished_whatever_it_does() -> None:
    assert status_of(debugged(restartPolicy="Never"), exited(), attempt("debug"))["phase"] == "Succeeded"


def test_it_has_a_list_of_statuses_of_its_own() -> None:
    [told] = status_of(debugged(), attempt(), attempt("debug"))["ephemeralContainerStatuses"]
    assert (told["name"], told["ready"], told["restartCount"]) == ("debug", False, 0)
    assert "running" in told["state"]
    assert "initContainerStatuses" not in status_of(debugged(), attempt())
    [waiting] = status_of(debugged(), attempt())["ephemeralContainerStatuses"]
    assert waiting["state"] == {"waiting": {"reason": "ContainerCreating"}}


@pytest.mark.parametrize(
    ("spec", "hostname", "shares"),
    [
        pytest.param({}, "web-0", False, id="a pod of its own"),
        pytest.param({"hostNetwork": True, "hostPID": True, "nodeName": "node-1"}, "node-1", True, id="the node's"),
    ],
)
def test_a_pod_that_debugs_its_node_is_part_of_it(spec: Object, hostname: str, shares: bool) -> None:
    made = sandbox_spec(pod(**spec), KubeletConfig(nameserver="", nameserver_port=53, zone="cluster.local"), ())
    assert (made.hostname, made.host_processes) == (hostname, shares)


def test_its_spec_and_what_its_environment_needs_are_found() -> None:
    env = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "x"}}}]
    obj = pod(ephemeralContainers=[container("debug", env=env)])
    assert container_of(obj, "debug")["image"] == "debug:1"
    assert needed_objects(obj) == [Needed("ConfigMap", "settings")]

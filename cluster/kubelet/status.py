"""A pod's status as the kubelet reports it (pure): phase, conditions and container statuses.

The emulated rules are those of kubelet_pods.go (getPhase, convertToAPIContainerStatuses) and status/generate.go.
What others wrote (PodScheduled, DisruptionTarget, readiness gates) stays; `lastTransitionTime` moves only when a
condition's status changes; a phase never leaves Succeeded and Failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from petset.cluster.api.cri import START_ERROR_EXIT_CODE, ContainerStatus, SandboxStatus
from petset.cluster.api.objects import Object, is_terminating
from petset.cluster.api.quality import quality_of_service
from petset.cluster.api.times import format_time
from petset.cluster.kubelet.conditions import pod_conditions
from petset.cluster.kubelet.facts import (
    ID_SCHEME,
    LOST_EXIT_CODE,
    LOST_MESSAGE,
    TERMINAL_PHASES,
    ContainerFacts,
    exit_code_of,
)
from petset.cluster.kubelet.memory import NEW, PodMemory


@dataclass(frozen=True)
class Seen:
    """What a status is made of. `facts` may be older than `sandbox`: a removed sandbox's containers stay reported."""

    facts: Sequence[ContainerFacts]
    memory: PodMemory
    sandbox: SandboxStatus | None
    host_address: str


def pod_status(pod: Object, seen: Seen, now: float) -> Object:
    """The whole `status` of a pod; unknown fields of the old one survive."""
    old = pod.get("status") or {}
    ended = is_terminating(pod) and not any(each.running for each in seen.facts)
    statuses = {each.name: container_status(each, seen, ended=ended) for each in seen.facts}
    init = [statuses[each.name] for each in seen.facts if each.initializes]
    ephemeral = [statuses[each.name] for each in seen.facts if each.role == "ephemeral"]
    main = [statuses[each.name] for each in seen.facts if each.role == "main"]
    phase = _phase(pod, seen, statuses=statuses, ended=ended)
    status: Object = {
        **old,
        "phase": phase,
        "hostIP": seen.host_address,
        "hostIPs": [{"ip": seen.host_address}],
        "startTime": old.get("startTime") or format_time(now),
        "qosClass": old.get("qosClass") or quality_of_service(pod["spec"]),
        "containerStatuses": main,
        "conditions": pod_conditions(pod, phase=phase, seen_facts=seen.facts, statuses=statuses, now=now,
                                     has_sandbox=seen.sandbox is not None),
    }  # fmt: skip
    if phase == "Failed" and seen.sandbox is None and not any(each.last for each in seen.facts):
        main, init, ephemeral = [], [], []  # a pod that was rejected has no containers, and its reason is what shows
        status["containerStatuses"] = main
    if init:
        status["initContainerStatuses"] = init
    if ephemeral:
        status["ephemeralContainerStatuses"] = ephemeral
    if seen.sandbox is not None:
        status |= {"podIP": seen.sandbox.ip, "podIPs": [{"ip": seen.sandbox.ip}]}
    if seen.memory.failure and old.get("phase") not in TERMINAL_PHASES:
        status["reason"], status["message"] = seen.memory.failure
    return status


def container_status(container: ContainerFacts, seen: Seen, *, ended: bool) -> Object:
    """One entry of `containerStatuses`. `ended`: the pod is deleted and nothing of it runs any more."""
    memory = seen.memory.of(container.name)
    last, current = container.last, container.current
    state, last_state = _states(container, seen, ended=ended)
    running = "running" in state
    probes = memory.probes if running and current and memory.probes else None
    started = running and (probes is None or probes.started) and not (probes is None and _has_probe(container))
    ready = started and memory.post_start == "done" and (probes is None or probes.ready)
    if container.role == "init":
        ready = "terminated" in state and state["terminated"]["exitCode"] == 0
    if container.role == "ephemeral":  # never probed, so never judged
        ready = started = False
    status: Object = {
        "name": container.name,
        "image": container.spec.get("image", ""),
        "imageID": last.image_id if last else "",
        "ready": ready,
        "started": started,
        "restartCount": last.attempt if last else 0,
        "state": state,
        "lastState": last_state,
    }
    if last is not None and last.id:
        status["containerID"] = ID_SCHEME + last.id
    return status


def _has_probe(container: ContainerFacts) -> bool:
    return bool(container.spec.get("readinessProbe") or container.spec.get("startupProbe"))


def _states(container: ContainerFacts, seen: Seen, *, ended: bool) -> tuple[Object, Object]:
    """(state, lastState) of a container."""
    memory = seen.memory.containers.get(container.name, NEW)
    current, last = container.current, container.last
    previous: Object = {"terminated": terminated_state(container.previous)} if container.previous else {}
    if current is not None and current.state != "exited":
        return {"running": {"startedAt": format_time(current.started_at)}}, previous
    if last is not None:
        end = {"terminated": terminated_state(last)}
        if memory.waiting is not None and not ended:
            return _waiting(memory.waiting.reason, memory.waiting.message), end
        if current is None and not ended and seen.memory.ending is None:
            return _waiting(_first_reason(seen)), end
        return end, previous
    if ended:
        unknown = {"exitCode": LOST_EXIT_CODE, "reason": "ContainerStatusUnknown", "message": LOST_MESSAGE}
        return {"terminated": unknown}, previous
    if memory.waiting is not None:
        return _waiting(memory.waiting.reason, memory.waiting.message), previous
    return _waiting(_first_reason(seen)), previous


def _first_reason(seen: Seen) -> str:
    """Why a container that was never started waits (kubelet_pods.go defaultWaitingState)."""
    return "PodInitializing" if any(each.initializes for each in seen.facts) else "ContainerCreating"


def _waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": message} if message else {"reason": reason}}


def terminated_state(attempt: ContainerStatus) -> Object:
    """`state.terminated` of an attempt that ended."""
    code = exit_code_of(attempt)
    reason = "Completed" if code == 0 else "Error"
    if code == START_ERROR_EXIT_CODE and not attempt.started_at:
        reason = "StartError"
    state: Object = {
        "exitCode": code,
        "reason": "ContainerStatusUnknown" if attempt.message == LOST_MESSAGE else reason,
    }
    optional = {
        "startedAt": format_time(attempt.started_at) if attempt.started_at else "",
        "finishedAt": format_time(attempt.finished_at) if attempt.finished_at else "",
        "containerID": ID_SCHEME + attempt.id if attempt.id else "",
        "message": attempt.message,
    }
    return state | {key: value for key, value in optional.items() if value}


def _phase(pod: Object, seen: Seen, *, statuses: dict[str, Object], ended: bool) -> str:
    old = (pod.get("status") or {}).get("phase")
    if old in TERMINAL_PHASES:
        return str(old)
    running_any = any(each.running for each in seen.facts)
    if seen.memory.failure:
        return "Running" if running_any else "Failed"
    main = [statuses[each.name]["state"] for each in seen.facts if each.role == "main"]
    if ended:
        return "Succeeded" if all(_exit_zero(state) for state in main) else "Failed"
    if (init_phase := _init_phase(pod, seen.facts)) is not None:
        return init_phase
    return _main_phase(pod, [statuses[each.name] for each in seen.facts if each.role == "main"])


def _init_phase(pod: Object, facts: Sequence[ContainerFacts]) -> str | None:
    """Pending while an init container has not done its work, Failed when it never will; None when all did."""
    if any(each.last for each in facts if each.role == "main"):
        return None
    for each in facts:
        last = each.last
        if each.role == "sidecar" and last is None:
            return "Pending"
        if each.role != "init" or (last is not None and last.state == "exited" and exit_code_of(last) == 0):
            continue
        ended = last is not None and last.state == "exited"
        return "Failed" if ended and pod["spec"].get("restartPolicy") == "Never" else "Pending"
    return None


def _main_phase(pod: Object, statuses: Sequence[Object]) -> str:
    """The table of getPhase over the main containers."""
    policy = pod["spec"].get("restartPolicy", "Always")
    running = sum("running" in each["state"] for each in statuses)
    ended = [each for each in statuses if _end_of(each) is not None]
    never_started = len(statuses) - running - len(ended)
    if never_started:
        return "Pending"
    if running or policy == "Always":
        return "Running"
    if all((_end_of(each) or {}).get("exitCode") == 0 for each in ended):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _end_of(status: Object) -> Object | None:
    """How the container ended, for one that is not running now; None if it never ran."""
    if "terminated" in status["state"]:
        return dict(status["state"]["terminated"])
    if "waiting" in status["state"] and "terminated" in status["lastState"]:
        return dict(status["lastState"]["terminated"])
    return None


def _exit_zero(state: Object) -> bool:
    return "terminated" in state and state["terminated"]["exitCode"] == 0

"""A pod's conditions as the kubelet judges them (pure; status/generate.go).

containers ──▶ ContainersReady ──▶ (+ readiness gates) ──▶ Ready
init containers ──▶ Initialized            sandbox ──▶ PodReadyToStartContainers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from petset.cluster.api.objects import Object, condition, condition_is_true
from petset.cluster.api.times import format_time
from petset.cluster.kubelet.facts import ContainerFacts

Verdict = tuple[bool, str, str]
"""(true, reason, message)"""

TRUE: Verdict = (True, "", "")


def pod_conditions(
    pod: Object, *, phase: str, seen_facts: Sequence[ContainerFacts], statuses: Mapping[str, Object],
    has_sandbox: bool, now: float,
) -> list[Object]:  # fmt: skip
    """All conditions: the kubelet's own, judged anew, then what others wrote, as it was."""
    containers_ready = _containers_ready(seen_facts, statuses, phase=phase)
    verdicts = {
        "PodReadyToStartContainers": (has_sandbox, "", ""),
        "Initialized": _initialized(seen_facts, statuses, phase=phase),
        "Ready": _ready(pod, containers_ready),
        "ContainersReady": containers_ready,
    }
    if condition(pod, "PodScheduled") is None:
        verdicts["PodScheduled"] = TRUE
    own = [_condition(pod, type_, verdict, now=now) for type_, verdict in verdicts.items()]
    others = [each for each in (pod.get("status") or {}).get("conditions") or () if each["type"] not in verdicts]
    return own + others


def _condition(pod: Object, type_: str, verdict: Verdict, *, now: float) -> Object:
    true, reason, message = verdict
    status = "True" if true else "False"
    old = condition(pod, type_)
    same = old is not None and old.get("status") == status
    moved_at = old.get("lastTransitionTime") if same and old else None
    new: Object = {
        "type": type_,
        "status": status,
        "lastTransitionTime": moved_at or format_time(now),
    }
    return new | {key: text for key, text in (("reason", reason), ("message", message)) if text}


def _containers_ready(facts: Sequence[ContainerFacts], statuses: Mapping[str, Object], *, phase: str) -> Verdict:
    if phase == "Succeeded":
        return False, "PodCompleted", ""
    if phase == "Failed":
        return False, "PodFailed", ""
    unready = [each.name for each in facts if each.role in ("main", "sidecar") and not statuses[each.name]["ready"]]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return TRUE


def _ready(pod: Object, containers_ready: Verdict) -> Verdict:
    if not containers_ready[0]:
        return containers_ready
    messages = []
    for gate in pod["spec"].get("readinessGates") or ():
        type_ = gate["conditionType"]
        if condition(pod, type_) is None:
            messages.append(f'corresponding condition of pod readiness gate "{type_}" does not exist.')
        elif not condition_is_true(pod, type_):
            messages.append(f'the status of pod readiness gate "{type_}" is not "True", but False')
    return (False, "ReadinessGatesNotReady", ", ".join(messages)) if messages else TRUE


def _initialized(facts: Sequence[ContainerFacts], statuses: Mapping[str, Object], *, phase: str) -> Verdict:
    if any(each.last for each in facts if each.role == "main"):
        return TRUE
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    incomplete = []
    for each in facts:
        status = statuses[each.name]
        if (each.role == "init" and not status["ready"]) or (each.role == "sidecar" and not status["started"]):
            incomplete.append(each.name)
    if incomplete:
        return False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(incomplete)}]"
    return TRUE

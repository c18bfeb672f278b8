"""READY, STATUS and RESTARTS of a pod: a table over its phase and its container statuses."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.pod_status import summarize
from petset.cluster.api.times import format_time

NOW = 1_767_225_600.0


def ago(seconds: float) -> str:
    return format_time(NOW - seconds)


def pod(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (), **status: Any) -> dict[str, Any]:
    """A pod with these container statuses; `deleted`, `sidecars` and `ready` are about the pod itself."""
    metadata = {"name": "kubia-0"} | ({"deletionTimestamp": ago(0)} if status.pop("deleted", False) else {})
    sidecars = status.pop("sidecars", ())
    conditions = [{"type": "Ready", "status": "True"}] if status.pop("ready", False) else []
    conditions += status.pop("conditions", [])
    inits = [
        {"name": each["name"]} | ({"restartPolicy": "Always"} if each["name"] in sidecars else {}) for each in init
    ]
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": each["name"]} for each in containers], "initContainers": inits},
        "status": {
            "phase": "Running",
            "conditions": conditions,
            "containerStatuses": list(containers),
            "initContainerStatuses": list(init),
            **status,
        },
    }


def running(name: str = "c", *, ready: bool = True, restarts: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": name, "ready": ready, "restartCount": restarts, "state": {"running": {}}, **more}


def waiting(reason: str, *, restarts: int = 0, **more: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason}}
    return {"name": "c", "ready": False, "restartCount": restarts, "state": state, **more}


def ended(code: int, *, name: str = "c", **more: Any) -> dict[str, Any]:
    return {"name": name, "ready": False, "restartCount": 0, "state": {"terminated": {"exitCode": code, **more}}}


DONE = ended(0, reason="Completed")
GATED = [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]


class TestPodStatus:
    @pytest.mark.parametrize(
        ("obj", "ready", "status"),
        [
            pytest.param(pod(running(), ready=True), "1/1", "Running", id="running"),
            pytest.param(pod(phase="Pending"), "0/0", "Pending", id="pending"),
            pytest.param(pod(phase="Pending", conditions=GATED), "0/0", "SchedulingGated", id="gated"),
            pytest.param(pod(waiting("ContainerCreating"), phase="Pending"), "0/1", "ContainerCreating", id="creating"),
            pytest.param(pod(waiting("CrashLoopBackOff")), "0/1", "CrashLoopBackOff", id="crash loop"),
            pytest.param(pod(running(), waiting("ErrImagePull")), "1/2", "ErrImagePull", id="one of two waits"),
            pytest.param(pod(running(ready=False)), "0/1", "Running", id="running, not ready"),
            pytest.param(pod(ended(1, reason="Error"), phase="Failed"), "0/1", "Error", id="error"),
            pytest.param(pod(ended(3), phase="Failed"), "0/1", "ExitCode:3", id="exit code without a reason"),
            pytest.param(pod(ended(137, signal=9), phase="Failed"), "0/1", "Signal:9", id="signal without a reason"),
            pytest.param(pod(DONE, phase="Succeeded"), "0/1", "Completed", id="completed"),
            pytest.param(pod(DONE, running(), ready=True), "1/2", "Running", id="completed and running, ready"),
            pytest.param(pod(DONE, running()), "1/2", "NotReady", id="completed and running, not ready"),
            pytest.param(pod(ended(1, reason="Error"), DONE), "0/2", "Error", id="the first container's reason stays"),
            pytest.param(pod(phase="Failed", reason="Evicted"), "0/0", "Evicted", id="reason of the pod"),
            pytest.param(pod(running(), deleted=True), "1/1", "Terminating", id="terminating"),
            pytest.param(pod(DONE, phase="Succeeded", deleted=True), "0/1", "Completed", id="ended, then deleted"),
            pytest.param(pod(running(), reason="NodeLost", deleted=True), "1/1", "Unknown", id="node lost"),
        ],
    )
    def test_of_containers(self, obj: dict[str, Any], ready: str, status: str) -> None:
        summary = summarize(obj)
        assert (summary.ready_text, summary.status) == (ready, status)

    @pytest.mark.parametrize(
        ("init", "more", "ready", "status"),
        [
            pytest.param((running("i"), running("j")), {}, "0/1", "Init:0/2", id="the first of two"),
            pytest.param((ended(0, name="i"), running("j")), {}, "0/1", "Init:1/2", id="the second of two"),
            pytest.param((ended(1, name="i", reason="Error"),), {}, "0/1", "Init:Error", id="failed"),
            pytest.param((ended(2, name="i"),), {}, "0/1", "Init:ExitCode:2", id="failed without a reason"),
            pytest.param((ended(2, name="i", signal=9),), {}, "0/1", "Init:Signal:9", id="killed without a reason"),
            pytest.param((waiting("CrashLoopBackOff", name="i"),), {}, "0/1", "Init:CrashLoopBackOff", id="crashes"),
            pytest.param((waiting("PodInitializing", name="i"),), {}, "0/1", "Init:0/1", id="not yet started"),
            pytest.param((ended(0, name="i"),), {}, "0/1", "PodInitializing", id="all done"),
            pytest.param((running("s", started=True),), {"sidecars": ("s",)}, "1/2", "PodInitializing", id="sidecar"),
            pytest.param((running("s", started=False),), {"sidecars": ("s",)}, "0/2", "Init:0/1", id="slow sidecar"),
        ],
    )
    def test_of_init_containers(
        self, init: tuple[dict[str, Any], ...], more: dict[str, Any], ready: str, status: str
    ) -> None:
        summary = summarize(pod(waiting("PodInitializing"), init=init, phase="Pending", **more))
        assert (summary.ready_text, summary.status) == (ready, status)

    @pytest.mark.parametrize(
        ("obj", "text"),
        [
            pytest.param(pod(running()), "0", id="none"),
            pytest.param(pod(running(restarts=2)), "2", id="without a time"),
            pytest.param(
                pod(running(restarts=2, lastState={"terminated": {"finishedAt": ago(300)}})),
                "2 (5m ago)",
                id="with one",
            ),
            pytest.param(
                pod(
                    running("a", restarts=1, lastState={"terminated": {"finishedAt": ago(60)}}),
                    running("b", restarts=2, lastState={"terminated": {"finishedAt": ago(30)}}),
                ),
                "3 (30s ago)",
                id="the last of several",
            ),
            pytest.param(
                pod(running(), init=({**ended(0, name="i"), "restartCount": 4},)), "0", id="init containers are past"
            ),
            pytest.param(pod(running(), init=(waiting("x", name="i", restarts=4),)), "4", id="init containers restart"),
            pytest.param(
                pod(running(restarts=1), init=(running("s", restarts=2, started=True),), sidecars=("s",)),
                "3",
                id="sidecars count",
            ),
        ],
    )
    def test_restarts(self, obj: dict[str, Any], text: str) -> None:
        assert summarize(obj).restarts_text(NOW) == text

"""What `kubectl get pods` says of a pod: READY, STATUS and RESTARTS, from its phase and container statuses.

    phase ◀─ status.reason ◀─ SchedulingGated ◀─ init containers ◀─ containers ◀─ Unknown, Terminating
                              (what stands further right wins)

STATUS is not the phase: it is the most telling reason that can be found (printers.go printPod, 1.34; statefulset.md
2.5). READY counts the containers that are ready and running, not the Ready condition. RESTARTS counts the init
containers while they run, and the containers (with sidecars) afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from petset.cluster.api.objects import Object, condition, condition_is_true, is_terminating
from petset.cluster.api.table_cells import field, human_duration, seconds_of


@dataclass
class PodSummary:
    """The cells while they are being worked out."""

    status: str
    total: int
    ready: int = 0
    restarts: int = 0
    last_restart: float | None = None

    def count_restarts(self, container: Object) -> None:
        self.restarts += int(container.get("restartCount") or 0)
        finished = seconds_of(field(container, "lastState.terminated.finishedAt"))
        if finished is not None:
            self.last_restart = max(finished, self.last_restart or finished)

    @property
    def ready_text(self) -> str:
        return f"{self.ready}/{self.total}"

    def restarts_text(self, now: float) -> str:
        if not self.restarts or self.last_restart is None:
            return str(self.restarts)
        return f"{self.restarts} ({human_duration(now - self.last_restart)} ago)"


def summarize(pod: Object) -> PodSummary:
    """READY, STATUS and RESTARTS of a pod."""
    phase = str(field(pod, "status.phase", ""))
    sidecars = {
        str(each.get("name")) for each in field(pod, "spec.initContainers", ()) if each.get("restartPolicy") == "Always"
    }
    summary = PodSummary(
        status=str(field(pod, "status.reason", "")) or phase,
        total=len(field(pod, "spec.containers", ())) + len(sidecars),
    )
    if (condition(pod, "PodScheduled") or {}).get("reason") == "SchedulingGated":
        summary.status = "SchedulingGated"
    initializing = _read_init_containers(pod, summary, sidecars)
    if not initializing or condition_is_true(pod, "Initialized"):
        _read_containers(pod, summary, sidecars)
    if is_terminating(pod):
        if field(pod, "status.reason") == "NodeLost":
            summary.status = "Unknown"
        elif phase not in ("Succeeded", "Failed"):
            summary.status = "Terminating"
    return summary


def _read_init_containers(pod: Object, summary: PodSummary, sidecars: set[str]) -> bool:
    """Whether an init container still stands before the others; the first such one gives the status."""
    for index, container in enumerate(field(pod, "status.initContainerStatuses", ())):
        summary.count_restarts(container)
        terminated = field(container, "state.terminated")
        waiting = field(container, "state.waiting.reason", "")
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if container.get("name") in sidecars and container.get("started"):
            summary.ready += bool(container.get("ready"))
            continue
        if terminated is not None:
            summary.status = f"Init:{_end_reason(terminated)}"
        elif waiting and waiting != "PodInitializing":
            summary.status = f"Init:{waiting}"
        else:
            summary.status = f"Init:{index}/{len(field(pod, 'spec.initContainers', ()))}"
        return True
    return False


def _read_containers(pod: Object, summary: PodSummary, sidecars: set[str]) -> None:
    summary.restarts, summary.last_restart = 0, None
    for container in field(pod, "status.initContainerStatuses", ()):
        if container.get("name") in sidecars:
            summary.count_restarts(container)
    running = False
    # From the last to the first: the first container's reason is the one that stays.
    for container in reversed(field(pod, "status.containerStatuses", ())):
        summary.count_restarts(container)
        terminated = field(container, "state.terminated")
        if waiting := field(container, "state.waiting.reason", ""):
            summary.status = str(waiting)
        elif terminated is not None:
            summary.status = _end_reason(terminated)
        elif container.get("ready") and field(container, "state.running") is not None:
            running = True
            summary.ready += 1
    if summary.status == "Completed" and running:
        summary.status = "Running" if condition_is_true(pod, "Ready") else "NotReady"


def _end_reason(terminated: Object) -> str:
    if reason := terminated.get("reason"):
        return str(reason)
    if signal := terminated.get("signal"):
        return f"Signal:{signal}"
    return f"ExitCode:{terminated.get('exitCode') or 0}"

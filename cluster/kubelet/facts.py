"""What is known about each container of a pod: its spec, its attempts on the machine, and attempts that were lost.

The machine is the truth about processes. Where it knows nothing of a container that the API server has seen started
(the machine was rebooted, or the sandbox vanished), that attempt counts as ended: exit code 137, reason
`ContainerStatusUnknown`, so that the restart count goes on and nothing pretends to run (kubelet_pods.go,
convertToAPIContainerStatuses).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from petset.cluster.api.cri import ContainerStatus, SandboxStatus
from petset.cluster.api.objects import Object
from petset.cluster.api.times import parse_time

ContainerRole = Literal["init", "sidecar", "main", "ephemeral"]

ID_SCHEME = "petset://"
LOST_MESSAGE = "The container could not be located when the pod was terminated"
LOST_EXIT_CODE = 137
TERMINAL_PHASES = ("Succeeded", "Failed")
STATUS_FIELDS = {
    "initContainers": "initContainerStatuses",
    "containers": "containerStatuses",
    "ephemeralContainers": "ephemeralContainerStatuses",
}
"""Where a pod's spec has containers, and where its status tells of them."""


@dataclass(frozen=True)
class ContainerFacts:
    """One container: `current` is its newest attempt on the machine, `previous` the attempt before the newest.

    `lost` is the newest attempt that only the API server knows; it is set only while the machine knows none.
    """

    spec: Object
    role: ContainerRole
    current: ContainerStatus | None = None
    previous: ContainerStatus | None = None
    lost: ContainerStatus | None = None
    known: Object | None = None
    """The container's status at the API server."""

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def initializes(self) -> bool:
        """It stands before the main containers: an init container or a sidecar."""
        return self.role in ("init", "sidecar")

    @property
    def last(self) -> ContainerStatus | None:
        """The newest attempt that ever was, as far as anybody knows."""
        return self.current or self.lost

    @property
    def running(self) -> bool:
        return self.current is not None and self.current.state != "exited"

    @property
    def next_attempt(self) -> int:
        return self.last.attempt + 1 if self.last else 0


def container_facts(pod: Object, sandbox: SandboxStatus | None) -> list[ContainerFacts]:
    """The init containers (sidecars among them), the main ones, the ephemeral ones, each in the spec's order."""
    spec, status = pod["spec"], pod.get("status") or {}
    facts = []
    for field, status_field in STATUS_FIELDS.items():
        known = {each["name"]: each for each in status.get(status_field) or ()}
        for container in spec.get(field) or ():
            role = _role(field, container)
            facts.append(_facts_of(container, role=role, sandbox=sandbox, known=known.get(container["name"])))
    return facts


def every_container(pod: Object) -> list[Object]:
    """The specs of all containers of a pod, of whatever role."""
    return [each for field in STATUS_FIELDS for each in pod["spec"].get(field) or ()]


def exit_code_of(attempt: ContainerStatus) -> int:
    """The exit code as a shell would say it: 128 + signal for a process that a signal ended."""
    return attempt.exit_code or (128 + attempt.signal if attempt.signal else 0)


def grace_seconds_of(pod: Object) -> float:
    """The pod's own terminationGracePeriodSeconds (30 when unset)."""
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return 30.0 if grace is None else float(grace)


def any_lost(facts: Sequence[ContainerFacts]) -> bool:
    """Some container ran before and is unknown to the machine now."""
    return any(each.lost for each in facts)


def _role(field: str, container: Object) -> ContainerRole:
    if field != "initContainers":
        return "main" if field == "containers" else "ephemeral"
    return "sidecar" if container.get("restartPolicy") == "Always" else "init"


def _facts_of(
    container: Object, *, role: ContainerRole, sandbox: SandboxStatus | None, known: Object | None
) -> ContainerFacts:
    attempts = sorted(
        (each for each in (sandbox.containers if sandbox else ()) if each.name == container["name"]),
        key=lambda each: each.attempt,
    )
    remembered = _remembered(known) if known else []
    if not attempts:
        lost = remembered[0] if remembered else None
        previous = remembered[1] if len(remembered) > 1 else None
        return ContainerFacts(container, role, previous=previous, lost=lost, known=known)
    current = attempts[-1]
    older = attempts[:-1] or [each for each in remembered if each.id != current.id][:1]
    return ContainerFacts(container, role, current=current, previous=older[-1] if older else None, known=known)


def _remembered(known: Object) -> list[ContainerStatus]:
    """The attempts that a container status at the API server tells of, newest first."""
    attempt = int(known.get("restartCount") or 0)
    found = []
    state = known.get("state") or {}
    if running := state.get("running"):
        found.append(_lost_running(known, running, attempt=attempt))
    elif terminated := state.get("terminated"):
        found.append(_ended(known, terminated, attempt=attempt))
    last = (known.get("lastState") or {}).get("terminated")
    if last:
        found.append(_ended(known, last, attempt=max(attempt - len(found), 0)))
    return found


def _lost_running(known: Object, running: Object, *, attempt: int) -> ContainerStatus:
    return ContainerStatus(
        id=_bare_id(known.get("containerID")),
        name=known["name"],
        image=known.get("image", ""),
        image_id=known.get("imageID", ""),
        attempt=attempt,
        state="exited",
        started_at=_seconds(running.get("startedAt")),
        exit_code=LOST_EXIT_CODE,
        message=LOST_MESSAGE,
    )


def _ended(known: Object, terminated: Object, *, attempt: int) -> ContainerStatus:
    return ContainerStatus(
        id=_bare_id(terminated.get("containerID") or known.get("containerID")),
        name=known["name"],
        image=known.get("image", ""),
        image_id=known.get("imageID", ""),
        attempt=attempt,
        state="exited",
        started_at=_seconds(terminated.get("startedAt")),
        finished_at=_seconds(terminated.get("finishedAt")),
        exit_code=int(terminated.get("exitCode") or 0),
        message=str(terminated.get("message") or ""),
    )


def _bare_id(container_id: str | None) -> str:
    return (container_id or "").removeprefix(ID_SCHEME)


def _seconds(text: str | None) -> float:
    return parse_time(text) if text else 0.0

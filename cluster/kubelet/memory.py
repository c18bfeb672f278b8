"""What a kubelet remembers of a pod beyond its processes, and how results change it (pure).

Nothing here must survive the kubelet: a new one starts with an empty memory, finds the processes through the
runtime, and at worst counts a backoff or a grace period anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from signal import SIGKILL, SIGTERM
from typing import Literal

from petset.cluster.kubelet.backoff import Backoff, go_duration, stepped
from petset.cluster.kubelet.effects import (
    DisksAwaited,
    HookEnded,
    ImageFailed,
    ImagePulled,
    MachineSilent,
    ProbeEnded,
    Result,
    SandboxDelayed,
    SandboxReady,
    SandboxRemoved,
    Say,
    Signalled,
    Started,
    StartFailed,
)
from petset.cluster.kubelet.probes import ContainerProbes

CONFIG_RETRY_SECONDS = 10.0
"""Between two tries to create a container whose configuration is wrong (the kubelet's pod resync)."""
START_RETRY_SECONDS = 1.0
"""Before a program that could not be started is looked at again, as a container that crashed."""
FIRST_RETRY_SECONDS = 1.0
MAX_MOUNT_RETRY_SECONDS = 16.0
"""Kubernetes doubles up to 122 s; shorter here, because people wait in front of it."""
MAX_SILENCE_RETRY_SECONDS = 4.0
ATTACH_SECONDS = 123.0
"""A pod whose disks are not attached after this time says so, and again after as long (podAttachAndMountTimeout)."""

HookStage = Literal["due", "running", "done", "failed"]


@dataclass(frozen=True)
class Waiting:
    """Why a container is not running, as `state.waiting` shows it; told about at `since` (epoch seconds)."""

    reason: str
    message: str
    since: float


@dataclass(frozen=True)
class Stop:
    """A container attempt that is being stopped: preStop hook, then SIGTERM, then SIGKILL at `deadline`."""

    container_id: str
    deadline: float
    hook: HookStage
    termed: bool = False
    killed_at: float | None = None


@dataclass(frozen=True)
class ContainerMemory:
    crash: Backoff | None = None
    pull: Backoff | None = None
    pull_error: str = ""
    pulled_attempt: int = -1
    retry_at: float = 0.0
    waiting: Waiting | None = None
    probes: ContainerProbes | None = None
    post_start: HookStage = "done"
    """`due` from the container's start; only `done` counts as ready, and `failed` gets the container killed."""
    hooked_id: str = ""
    """The attempt whose postStart hook was run last: it may answer after that attempt's end."""
    stop: Stop | None = None
    time_scale: float = 1.0


NEW = ContainerMemory()


@dataclass(frozen=True)
class Ending:
    """The pod is being ended since the kubelet saw a grace period of `grace_seconds`."""

    grace_seconds: float
    deadline: float


@dataclass(frozen=True)
class PodMemory:
    containers: Mapping[str, ContainerMemory] = field(default_factory=dict)
    ending: Ending | None = None
    failure: tuple[str, str] | None = None
    """(reason, message) of a pod that the kubelet itself failed, e.g. `DeadlineExceeded`."""
    retry_at: float = 0.0
    """The node is silent: nothing is asked of it before this time."""
    sandbox_retry_at: float = 0.0
    """The sandbox could not be prepared: it is not tried again before this time."""
    retry_seconds: float = 0.0
    awaited_since: float | None = None
    """The pod waits for its disks to be attached, or for another word about it, since then."""
    time_scale: float = 1.0
    """How much shorter than Kubernetes' the pauses before another try of a container are."""

    def of(self, container: str) -> ContainerMemory:
        return self.containers.get(container) or ContainerMemory(time_scale=self.time_scale)

    def having(self, container: str, memory: ContainerMemory) -> PodMemory:
        return replace(self, containers={**self.containers, container: memory})


def absorb(memory: PodMemory, result: Result, *, images: Mapping[str, str], now: float) -> tuple[PodMemory, list[Say]]:
    """The memory after a result, and what is said about it. `images` maps container names to image references."""
    match result:
        case SandboxReady() | SandboxRemoved():
            return replace(memory, retry_seconds=0.0, awaited_since=None), []
        case DisksAwaited(message=message):
            since = now if memory.awaited_since is None else memory.awaited_since
            if now < since + ATTACH_SECONDS:
                return replace(memory, awaited_since=since), []
            return replace(memory, awaited_since=now), [Say("Warning", "FailedMount", message)]
        case SandboxDelayed(reason=reason, message=message):
            seconds = _longer(memory.retry_seconds, limit=MAX_MOUNT_RETRY_SECONDS)
            delayed = replace(memory, retry_seconds=seconds, sandbox_retry_at=now + seconds)
            return delayed, [Say("Warning", reason, message)]
        case MachineSilent():
            seconds = _longer(memory.retry_seconds, limit=MAX_SILENCE_RETRY_SECONDS)
            return replace(memory, retry_seconds=seconds, retry_at=now + seconds), []
    before = memory.of(result.container)
    image = images.get(result.container, "")
    after, said = _absorb_container(before, result, image=image, now=now)
    memory = replace(memory, retry_seconds=0.0) if isinstance(result, Started | Signalled) else memory
    return memory.having(result.container, after), [replace(each, container=result.container) for each in said]


def _longer(seconds: float, *, limit: float) -> float:
    """The pause after one more failure."""
    return min(max(seconds * 2, FIRST_RETRY_SECONDS), limit)


ContainerResult = ImagePulled | ImageFailed | Started | StartFailed | Signalled | HookEnded | ProbeEnded


def _absorb_container(
    memory: ContainerMemory, result: ContainerResult, *, image: str, now: float
) -> tuple[ContainerMemory, list[Say]]:
    match result:
        case ImagePulled():
            return replace(memory, pulled_attempt=result.attempt, pull_error="", retry_at=0.0), [_pulled(result, image)]
        case ImageFailed():
            return _pull_failed(memory, result.message, image=image, now=now)
        case Started():
            return _started(memory, result, now=now)
        case StartFailed():
            return _start_failed(memory, result, now=now)
        case Signalled():
            return _signalled(memory, result, now=now), []
        case HookEnded():
            return _hook_ended(memory, result)
        case ProbeEnded():
            return _probe_ended(memory, result)


def _pulled(result: ImagePulled, image: str) -> Say:
    if not result.fetched:
        return Say("Normal", "Pulled", f'Container image "{image}" already present on machine')
    took = go_duration(result.seconds)
    return Say("Normal", "Pulled", f'Successfully pulled image "{image}" in {took} ({took} including waiting)')


def _pull_failed(memory: ContainerMemory, error: str, *, image: str, now: float) -> tuple[ContainerMemory, list[Say]]:
    pull = stepped(memory.pull, failed_at=now, now=now, time_scale=memory.time_scale)
    after = replace(
        memory,
        pull=pull,
        pull_error=error,
        retry_at=now + pull.wait_seconds,
        waiting=Waiting("ErrImagePull", error, now),
    )
    return after, [
        Say("Warning", "Failed", f'Failed to pull image "{image}": {error}'),
        Say("Warning", "Failed", "Error: ErrImagePull"),
    ]


def _start_failed(memory: ContainerMemory, result: StartFailed, *, now: float) -> tuple[ContainerMemory, list[Say]]:
    """A container that ended before it ran counts as a crash; one that could not be made is tried again later."""
    said = [Say("Warning", "Failed", f"Error: {result.message}")]
    after = replace(memory, waiting=Waiting(result.reason, result.message, now))
    if result.reason != "RunContainerError":
        return replace(after, retry_at=now + CONFIG_RETRY_SECONDS), said
    crash = memory.crash
    if result.failed_at is not None:
        crash = stepped(crash, failed_at=result.failed_at, now=now, time_scale=memory.time_scale)
    return replace(after, crash=crash, retry_at=now + START_RETRY_SECONDS), said


def _started(memory: ContainerMemory, result: Started, *, now: float) -> tuple[ContainerMemory, list[Say]]:
    crash = memory.crash
    if result.failed_at is not None:
        crash = stepped(crash, failed_at=result.failed_at, now=now, time_scale=memory.time_scale)
    after = replace(memory, crash=crash, waiting=None, retry_at=0.0, stop=None, probes=None)
    after = replace(after, post_start="due", hooked_id="")
    return after, [
        Say("Normal", "Created", f"Created container: {result.container}"),
        Say("Normal", "Started", f"Started container {result.container}"),
    ]


def _signalled(memory: ContainerMemory, result: Signalled, *, now: float) -> ContainerMemory:
    stop = memory.stop
    if stop is None or stop.container_id != result.container_id:
        return memory
    if result.signal == SIGKILL:
        return replace(memory, stop=replace(stop, killed_at=now))
    return replace(memory, stop=replace(stop, termed=stop.termed or result.signal == SIGTERM))


def _hook_ended(memory: ContainerMemory, result: HookEnded) -> tuple[ContainerMemory, list[Say]]:
    if result.hook == "preStop":
        said = [Say("Warning", "FailedPreStopHook", "PreStopHook failed")] if result.error else []
        stop = memory.stop
        if stop is None or stop.container_id != result.container_id:
            return memory, said
        return replace(memory, stop=replace(stop, hook="done")), said
    if memory.hooked_id != result.container_id:  # of an attempt that is over: the next one has a hook of its own
        return memory, []
    if not result.error:
        return replace(memory, post_start="done"), []
    return replace(memory, post_start="failed"), [Say("Warning", "FailedPostStartHook", "PostStartHook failed")]


def _probe_ended(memory: ContainerMemory, result: ProbeEnded) -> tuple[ContainerMemory, list[Say]]:
    probes = memory.probes
    if probes is None or probes.container_id != result.container_id:
        return memory, []
    said = []
    if result.good is False:
        said = [Say("Warning", "Unhealthy", f"{result.kind.capitalize()} probe failed: {result.message}")]
    return replace(memory, probes=probes.answered(result.kind, good=result.good)), said

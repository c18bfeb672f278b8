"""Stopping containers: hook, SIGTERM, SIGKILL (pure; kuberuntime killContainer).

    Killing ─▶ preStop hook ─▶ SIGTERM ─────────────▶ SIGKILL, repeated until the node says that it is over
    │◀──────────────── grace period ───────────────▶│
               hook still running here: SIGTERM now, SIGKILL two seconds later

Main containers are stopped together; sidecars after them, the last one first, within the same grace period.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from signal import SIGKILL, SIGTERM

from petset.cluster.kubelet.effects import Effect, RunHook, Say, Signal
from petset.cluster.kubelet.facts import ContainerFacts
from petset.cluster.kubelet.memory import Ending, HookStage, Stop

MIN_GRACE_SECONDS = 1.0
"""Even a grace period of 0 leaves this much between SIGTERM and SIGKILL."""
HOOK_EXTENSION_SECONDS = 2.0
KILL_AGAIN_SECONDS = 5.0


@dataclass(frozen=True)
class StopStep:
    """What to do about one container now, and when (epoch seconds) to look again."""

    stop: Stop
    effects: tuple[Effect, ...] = ()
    again_at: float | None = None


def ending_of(earlier: Ending | None, *, grace_seconds: float, now: float) -> Ending:
    """The pod's ending under a grace period: a later, shorter one brings the end nearer, a longer one does nothing."""
    grace = max(grace_seconds, MIN_GRACE_SECONDS)
    if earlier is None:
        return Ending(grace, now + grace)
    if grace >= earlier.grace_seconds:
        return earlier
    return Ending(grace, min(earlier.deadline, now + grace))


def begin_stop(container: ContainerFacts, *, deadline: float) -> Stop:
    """The plan for stopping the running attempt of a container."""
    if container.current is None:
        raise ValueError(f"container {container.name} does not run")
    has_hook = bool((container.spec.get("lifecycle") or {}).get("preStop"))
    stage: HookStage = "due" if has_hook else "done"
    return Stop(container.current.id, deadline, stage)


def killing(container: str, message: str = "") -> Say:
    return Say("Normal", "Killing", message or f"Stopping container {container}", container)


def stop_step(container: str, stop: Stop, now: float) -> StopStep:
    """The next step of stopping one container. SIGTERM and SIGKILL count as done only when the node took them."""
    if stop.hook == "due":
        hook = RunHook(container, stop.container_id, "preStop", max(stop.deadline - now, 0.0))
        return StopStep(replace(stop, hook="running"), (hook,), stop.deadline)
    if stop.hook == "running" and now < stop.deadline:
        return StopStep(stop, (), stop.deadline)
    if stop.hook == "running":
        stop = replace(stop, hook="done", deadline=now + HOOK_EXTENSION_SECONDS)
    if not stop.termed:
        return StopStep(stop, (Signal(container, stop.container_id, SIGTERM),), stop.deadline)
    if now < stop.deadline:
        return StopStep(stop, (), stop.deadline)
    if stop.killed_at is not None and now < stop.killed_at + KILL_AGAIN_SECONDS:
        return StopStep(stop, (), stop.killed_at + KILL_AGAIN_SECONDS)
    return StopStep(stop, (Signal(container, stop.container_id, SIGKILL),), now + KILL_AGAIN_SECONDS)


def stoppable(facts: Sequence[ContainerFacts], *, deadline: float, now: float) -> list[ContainerFacts]:
    """The running containers whose turn it is: all but sidecars first; then sidecars from the last to the first."""
    others = [each for each in facts if each.running and each.role != "sidecar"]
    sidecars = [each for each in reversed(facts) if each.running and each.role == "sidecar"]
    if now >= deadline:
        return others + sidecars
    return others or sidecars[:1]

"""The pod machine: from what is known of one pod to what to do next (pure; the decisions of kubelet.SyncPod).

    pod (API) ─┐
    sandbox   ─┼─▶ plan ──▶ Plan(effects, memory, wake_at)          absorb(memory, result) after each effect
    memory    ─┘

A plan is level-triggered: it looks at what is, not at what happened, so it may be made at any time, twice, or by a
new kubelet that finds the containers running. Effects are given in steps: the worker performs them, absorbs their
results, and plans again until nothing is left to do before `wake_at`.

    sandbox ─▶ init containers, one after the other (sidecars stay) ─▶ main containers
            └▶ ephemeral containers, each once, whatever the others do
    exit ─▶ policy ─▶ backoff ─▶ pull ─▶ start               deletion ─▶ termination.py ─▶ RemoveSandbox

Left out: pod resizing, lifecycle.stopSignal, restart rules of single containers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from petset.cluster.api.cri import ContainerStatus, SandboxStatus
from petset.cluster.api.objects import Object, is_terminating, name_of, namespace_of, uid_of
from petset.cluster.api.times import parse_time
from petset.cluster.kubelet.backoff import go_duration, waits_until
from petset.cluster.kubelet.effects import (
    Effect,
    PullImage,
    RemoveSandbox,
    RunHook,
    RunProbe,
    RunSandbox,
    Say,
    StartContainer,
)
from petset.cluster.kubelet.facts import (
    TERMINAL_PHASES,
    ContainerFacts,
    any_lost,
    container_facts,
    exit_code_of,
    grace_seconds_of,
)
from petset.cluster.kubelet.memory import ContainerMemory, PodMemory, Waiting
from petset.cluster.kubelet.probes import new_probes
from petset.cluster.kubelet.termination import begin_stop, ending_of, killing, stop_step, stoppable

SHOWN_SECONDS = 1.0
"""How long a failure is shown as itself (`Error`, `ErrImagePull`) before its backoff is shown."""
FORCED_GRACE_SECONDS = 1.0
POST_START_SECONDS = 3600.0
"""A postStart hook is given up after this time (Kubernetes waits for ever)."""


@dataclass(frozen=True)
class Situation:
    """All that is known of one pod. `gone`: the API server no longer has it, or has another pod of that name.

    `images` are the references that this node fetched before.
    """

    pod: Object
    sandbox: SandboxStatus | None
    gone: bool = False
    images: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Plan:
    """`wake_at` (epoch seconds): plan again then even if nothing happens. `ended`: nothing of the pod runs, or will.
    `over`: the pod has no trace here any more, and if the API server still has it, its deletion may be completed."""

    effects: tuple[Effect, ...]
    memory: PodMemory
    wake_at: float | None
    over: bool = False
    ended: bool = False


def plan(situation: Situation, memory: PodMemory, now: float) -> Plan:
    """What to do about a pod now."""
    draft = _Draft(situation, memory, now)
    if now < memory.retry_at:
        draft.wake(memory.retry_at)
        return draft.plan()
    draft.check_deadline()
    if (grace_seconds := draft.grace_seconds()) is not None:
        return draft.end(grace_seconds)
    draft.run()
    return draft.plan()


def finished_for_good(container: ContainerFacts, pod: Object) -> bool:
    """The container ended and its policy does not start it again."""
    last = container.last
    if last is None or last.state != "exited":
        return False
    return not _restarts(container, pod, last)


def _restarts(container: ContainerFacts, pod: Object, ended: ContainerStatus) -> bool:
    policy = pod["spec"].get("restartPolicy", "Always")
    if container.role == "ephemeral":
        return False
    if container.role == "sidecar":
        return True
    if container.role == "init" and policy == "Always":
        policy = "OnFailure"
    return policy == "Always" or (policy == "OnFailure" and exit_code_of(ended) != 0)


def all_finished(facts: Sequence[ContainerFacts], pod: Object) -> bool:
    """No container of this pod will ever run again: the main ones ended for good, or an init container failed so."""
    main = [each for each in facts if each.role == "main"]
    if all(finished_for_good(each, pod) for each in main):
        return True
    return any(_init_failed(each, pod) for each in facts)


def _init_failed(container: ContainerFacts, pod: Object) -> bool:
    if container.role != "init" or not finished_for_good(container, pod):
        return False
    return container.last is not None and exit_code_of(container.last) != 0


class _Draft:
    """A plan in the making."""

    def __init__(self, situation: Situation, memory: PodMemory, now: float) -> None:
        self.situation = situation
        self.pod = situation.pod
        self.memory = memory
        self.now = now
        self.facts = container_facts(situation.pod, situation.sandbox)
        self.effects: list[Effect] = []
        self.wake_at: float | None = None

    def plan(self, *, over: bool = False, ended: bool = False) -> Plan:
        return Plan(tuple(self.effects), self.memory, self.wake_at, over, ended)

    def wake(self, at: float | None) -> None:
        if at is not None:
            self.wake_at = at if self.wake_at is None else min(self.wake_at, at)

    def remember(self, container: str, memory: ContainerMemory) -> None:
        self.memory = self.memory.having(container, memory)

    # -- ending ---------------------------------------------------------------------------------------------------

    def check_deadline(self) -> None:
        """`spec.activeDeadlineSeconds` from the pod's start on this node."""
        seconds, started = self.pod["spec"].get("activeDeadlineSeconds"), self.pod.get("status", {}).get("startTime")
        if seconds is None or started is None or self.memory.failure:
            return
        deadline = parse_time(started) + float(seconds)
        if self.now < deadline:
            self.wake(deadline)
        elif not all_finished(self.facts, self.pod):
            message = "Pod was active on the node longer than the specified deadline"
            self.memory = replace(self.memory, failure=("DeadlineExceeded", message))
            self.effects.append(Say("Normal", "DeadlineExceeded", message))

    def grace_seconds(self) -> float | None:
        """The grace period under which the pod must end; None while it may live."""
        if self.situation.gone:
            return FORCED_GRACE_SECONDS
        if is_terminating(self.pod):
            grace = self.pod["metadata"].get("deletionGracePeriodSeconds")
            return grace_seconds_of(self.pod) if grace is None else float(grace)
        phase = (self.pod.get("status") or {}).get("phase")
        if self.memory.failure or phase in TERMINAL_PHASES or all_finished(self.facts, self.pod):
            return grace_seconds_of(self.pod)
        return None

    def end(self, grace_seconds: float) -> Plan:
        """Stop what runs; a deleted pod then loses its sandbox, a finished one only the use of its volumes (its logs
        can be read)."""
        self.memory = replace(
            self.memory, ending=ending_of(self.memory.ending, grace_seconds=grace_seconds, now=self.now)
        )
        if any(each.running for each in self.facts):
            self._stop_all()
            return self.plan()
        deleted = self.situation.gone or is_terminating(self.pod)
        if not deleted:
            return self.plan(ended=True)
        if self.situation.sandbox is not None:
            self.effects.append(RemoveSandbox())
            return self.plan()
        return self.plan(over=True)

    def _stop_all(self) -> None:
        ending = self.memory.ending
        if ending is None:
            raise ValueError("a pod is stopped only while it ends")
        for container in stoppable(self.facts, deadline=ending.deadline, now=self.now):
            self._begin_stop(container, deadline=ending.deadline)
        for container in self.facts:
            if container.running:
                self._continue_stop(container)
                self._probe(container, terminating=True)
        self.wake(ending.deadline if self.now < ending.deadline else None)

    def _begin_stop(self, container: ContainerFacts, *, deadline: float, message: str = "") -> None:
        """Stop the running attempt by `deadline`, or earlier if it is being stopped already."""
        memory = self.memory.of(container.name)
        fresh = begin_stop(container, deadline=deadline)
        stop = memory.stop
        if stop is None or stop.container_id != fresh.container_id:
            self.effects.append(killing(container.name, message))
            stop = fresh
        self.remember(container.name, replace(memory, stop=replace(stop, deadline=min(stop.deadline, deadline))))

    def _continue_stop(self, container: ContainerFacts) -> None:
        memory = self.memory.of(container.name)
        stop = memory.stop
        if stop is None or container.current is None or stop.container_id != container.current.id:
            return
        step = stop_step(container.name, stop, self.now)
        self.effects += step.effects
        self.remember(container.name, replace(memory, stop=step.stop))
        self.wake(step.again_at)

    # -- living ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Bring the pod nearer to running."""
        if self.situation.sandbox is None and self.now < self.memory.sandbox_retry_at:
            self.wake(self.memory.sandbox_retry_at)
            return
        if self.situation.sandbox is None:
            if any_lost(self.facts):
                message = "Pod sandbox changed, it will be killed and re-created."
                self.effects.append(Say("Normal", "SandboxChanged", message))
            self.effects.append(RunSandbox())
            return
        for container in self.facts:
            if container.running:
                self._attend(container)
            elif container.role == "ephemeral":
                self._start(container)
        if not self._run_init():
            return
        for container in self.facts:
            if container.role == "main" and not container.running:
                self._start(container)

    def _run_init(self) -> bool:
        """Start what is next among the init containers and sidecars; True when the main containers may start."""
        main_started = any(each.current for each in self.facts if each.role == "main")
        for container in self.facts:
            if not container.initializes:
                break
            if container.role == "init":
                if main_started or _completed(container):
                    continue
                if not container.running:
                    self._start(container)
                return False
            if not container.running:
                self._start(container)
            if not main_started and not self._is_started(container):
                return False
        return True

    def _is_started(self, container: ContainerFacts) -> bool:
        """A sidecar lets the next container start once it runs and its startup probe is content."""
        probes = self.memory.of(container.name).probes
        return container.running and probes is not None and probes.started

    def _start(self, container: ContainerFacts) -> None:
        last = container.last
        if last is not None and container.role != "init" and finished_for_good(container, self.pod):
            return
        memory = self.memory.of(container.name)
        if last is not None and _is_of_its_image(container, last) and self._crash_looping(container, last, memory):
            return
        if self.now < memory.retry_at:
            self._show_pull_backoff(container, memory)
            self.wake(memory.retry_at)
            return
        attempt = container.next_attempt
        if memory.pulled_attempt != attempt:
            self._pull(container, attempt)
            return
        failed_at = None if last is None else last.finished_at or self.now
        self.effects.append(StartContainer(container.name, attempt, failed_at))

    def _crash_looping(self, container: ContainerFacts, last: ContainerStatus, memory: ContainerMemory) -> bool:
        """Whether the container must wait because it ended; shows and says so after a moment."""
        until = waits_until(memory.crash, last.finished_at)
        if self.now >= until or memory.crash is None:
            return False
        shown_until = last.finished_at + SHOWN_SECONDS
        if self.now < shown_until:
            self.wake(shown_until)
            return True
        if memory.waiting is None or memory.waiting.reason != "CrashLoopBackOff":
            whose = f"{name_of(self.pod)}_{namespace_of(self.pod)}({uid_of(self.pod)})"
            message = f"back-off {go_duration(memory.crash.seconds)} restarting failed "
            waiting = Waiting("CrashLoopBackOff", f"{message}container={container.name} pod={whose}", self.now)
            self.remember(container.name, replace(memory, waiting=waiting))
            text = f"Back-off restarting failed container {container.name} in pod {whose}"
            self.effects.append(Say("Warning", "BackOff", text, container.name))
        self.wake(until)
        return True

    def _pull(self, container: ContainerFacts, attempt: int) -> None:
        image, policy = container.spec.get("image", ""), container.spec.get("imagePullPolicy", "IfNotPresent")
        if policy == "Always" or (policy == "IfNotPresent" and image not in self.situation.images):
            self.effects.append(Say("Normal", "Pulling", f'Pulling image "{image}"', container.name))
        self.effects.append(PullImage(container.name, attempt))

    def _show_pull_backoff(self, container: ContainerFacts, memory: ContainerMemory) -> None:
        waiting = memory.waiting
        if waiting is None or waiting.reason != "ErrImagePull":
            return
        if self.now < waiting.since + SHOWN_SECONDS:
            self.wake(waiting.since + SHOWN_SECONDS)
            return
        text = f'Back-off pulling image "{container.spec.get("image", "")}"'
        shown = Waiting("ImagePullBackOff", f"{text}: ErrImagePull: {memory.pull_error}", self.now)
        self.remember(container.name, replace(memory, waiting=shown))
        self.effects.append(Say("Normal", "BackOff", text, container.name))
        self.effects.append(Say("Warning", "Failed", "Error: ImagePullBackOff", container.name))

    def _attend(self, container: ContainerFacts) -> None:
        """A running container: its postStart hook, its probes, and its end when they fail."""
        self._post_start(container)
        self._probe(container, terminating=False)
        memory, grace_seconds = self.memory.of(container.name), grace_seconds_of(self.pod)
        if memory.post_start == "failed":
            self._begin_stop(container, deadline=self.now + grace_seconds, message="FailedPostStartHook")
        elif memory.probes is not None and (kind := memory.probes.failed):
            own_grace = memory.probes.states[kind].probe.get("terminationGracePeriodSeconds")
            deadline = self.now + (grace_seconds if own_grace is None else float(own_grace))
            message = f"Container {container.name} failed {kind} probe, will be restarted"
            self._begin_stop(container, deadline=deadline, message=message)
        elif container.current is not None and not _is_of_its_image(container, container.current):
            message = f"Container {container.name} definition changed, will be restarted"
            self._begin_stop(container, deadline=self.now + grace_seconds, message=message)
        self._continue_stop(container)

    def _post_start(self, container: ContainerFacts) -> None:
        memory = self.memory.of(container.name)
        if memory.post_start != "due" or container.current is None:
            return
        if not (container.spec.get("lifecycle") or {}).get("postStart"):
            self.remember(container.name, replace(memory, post_start="done"))
            return
        self.remember(container.name, replace(memory, post_start="running", hooked_id=container.current.id))
        self.effects.append(RunHook(container.name, container.current.id, "postStart", POST_START_SECONDS))

    def _probe(self, container: ContainerFacts, *, terminating: bool) -> None:
        """Ask what is due. A container that is being stopped is asked for readiness only."""
        current = container.current
        if current is None:
            return
        memory = self.memory.of(container.name)
        probes = memory.probes
        if probes is None or probes.container_id != current.id:
            probes = new_probes(container.spec, current.id, started_at=current.started_at, known=container.known)
        stopping = terminating or (memory.stop is not None and memory.stop.container_id == current.id)
        for kind in probes.due(self.now, terminating=stopping):
            probes = probes.asked(kind, self.now)
            self.effects.append(RunProbe(container.name, current.id, kind))
        self.remember(container.name, replace(memory, probes=probes))
        self.wake(probes.next_at(terminating=stopping))


def _is_of_its_image(container: ContainerFacts, attempt: ContainerStatus) -> bool:
    """An image is all of a running container that may be changed; the new one owes nothing to the old one's crashes."""
    return not attempt.image or attempt.image == container.spec.get("image")


def _completed(container: ContainerFacts) -> bool:
    """An init container that did its work in this sandbox."""
    current = container.current
    return current is not None and current.state == "exited" and exit_code_of(current) == 0

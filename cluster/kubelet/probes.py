"""Startup, readiness and liveness: when to probe a container and what a series of answers means (pure).

    started ─ initialDelay ─▶ probe ─ period ─▶ probe ─ period ─▶ …      (period counted from the probe's start)
                                │
                                ▼
            successThreshold good or failureThreshold bad answers in a row turn the verdict

Before any answer a container is alive, not ready, and not known to have started; liveness and readiness are not
asked until the startup verdict is good (prober/worker.go). A container that is found running by a new kubelet keeps
the verdicts that the API server knows, so that a kubelet's restart makes no pod unready.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from petset.cluster.api.objects import Object
from petset.cluster.api.release import RELEASE

USER_AGENT = f"kube-probe/{RELEASE.rpartition('.')[0]}"
ProbeKind = Literal["startup", "readiness", "liveness"]

FIELDS: Mapping[ProbeKind, str] = {
    "startup": "startupProbe",
    "readiness": "readinessProbe",
    "liveness": "livenessProbe",
}
_FIRST_VERDICTS: Mapping[ProbeKind, bool | None] = {"startup": None, "readiness": False, "liveness": True}
_DEFAULTS = {
    "initialDelaySeconds": 0,
    "timeoutSeconds": 1,
    "periodSeconds": 10,
    "successThreshold": 1,
    "failureThreshold": 3,
}


def probe_number(probe: Object, field: str) -> int:
    """One of a probe's numbers, with Kubernetes' default where it is unset."""
    return int(probe.get(field) or _DEFAULTS[field])


@dataclass(frozen=True)
class ProbeState:
    """One probe of one running container.

    `verdict` None: not known yet. `next_at` is in epoch seconds; a probe under way (`asking`) is not asked again.
    `streak` counts the equal answers in a row, `streak_is_good` says which.
    """

    probe: Object
    verdict: bool | None
    next_at: float
    streak: int = 0
    streak_is_good: bool = False
    asking: bool = False

    def asked(self, now: float) -> ProbeState:
        return replace(self, asking=True, next_at=now + probe_number(self.probe, "periodSeconds"))

    def answered(self, good: bool | None) -> ProbeState:
        if good is None:
            return replace(self, asking=False)
        streak = self.streak + 1 if self.streak and self.streak_is_good == good else 1
        threshold = probe_number(self.probe, "successThreshold" if good else "failureThreshold")
        verdict = good if streak >= threshold else self.verdict
        return replace(self, asking=False, streak=streak, streak_is_good=good, verdict=verdict)


@dataclass(frozen=True)
class ContainerProbes:
    """The probes of one container attempt (`container_id`), by kind; kinds without a probe are absent."""

    container_id: str
    states: Mapping[ProbeKind, ProbeState]

    @property
    def started(self) -> bool:
        """No startup probe, or it succeeded."""
        return self._verdict("startup") is True

    @property
    def ready(self) -> bool:
        """Started, and no readiness probe or its verdict is good."""
        return self.started and self._verdict("readiness") is True

    @property
    def failed(self) -> ProbeKind | None:
        """The probe because of which the container must be killed."""
        kinds: tuple[ProbeKind, ...] = ("startup", "liveness")
        return next((kind for kind in kinds if self._verdict(kind) is False), None)

    def due(self, now: float, *, terminating: bool) -> list[ProbeKind]:
        """The probes to make now. Of a terminating pod only readiness is asked."""
        return [kind for kind, state in self._waiting(terminating) if state.next_at <= now]

    def next_at(self, *, terminating: bool) -> float | None:
        """When the next probe is due; None while all are under way or there is none."""
        return min((state.next_at for _, state in self._waiting(terminating)), default=None)

    def asked(self, kind: ProbeKind, now: float) -> ContainerProbes:
        """A probe begins now."""
        return replace(self, states={**self.states, kind: self.states[kind].asked(now)})

    def answered(self, kind: ProbeKind, *, good: bool | None) -> ContainerProbes:
        """A probe ended; None when it could not be made (then it counts for nothing)."""
        return replace(self, states={**self.states, kind: self.states[kind].answered(good)})

    def _verdict(self, kind: ProbeKind) -> bool | None:
        """What is known by this probe; a probe that does not exist is content."""
        state = self.states.get(kind)
        return True if state is None else state.verdict

    def _waiting(self, terminating: bool) -> Iterator[tuple[ProbeKind, ProbeState]]:
        """The probes that belong to this stage of the container's life and are not under way."""
        for kind, state in self.states.items():
            if state.asking or (terminating and kind != "readiness") or (kind == "startup") == self.started:
                continue
            yield kind, state


def new_probes(
    container: Object, container_id: str, *, started_at: float, known: Object | None = None
) -> ContainerProbes:
    """The probes of a container that runs since `started_at`.

    `known` is the container's status at the API server; when it is about this very attempt, its `started` and
    `ready` are taken over.
    """
    same = known is not None and str(known.get("containerID", "")).endswith(f"//{container_id}")
    states: dict[ProbeKind, ProbeState] = {}
    for kind, field in FIELDS.items():
        if probe := container.get(field):
            verdict = _FIRST_VERDICTS[kind]
            if same and known is not None:
                verdict = _known_verdict(kind, known, verdict)
            states[kind] = ProbeState(probe, verdict, started_at + probe_number(probe, "initialDelaySeconds"))
    return ContainerProbes(container_id, states)


def _known_verdict(kind: ProbeKind, known: Object, otherwise: bool | None) -> bool | None:
    if kind == "readiness":
        return bool(known.get("ready"))
    if kind == "startup" and known.get("started"):
        return True
    return otherwise

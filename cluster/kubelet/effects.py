"""What the pod machine asks for, and what it is told: frozen values, nothing that acts.

    plan (machine.py) ──Effect──▶ worker.py ──▶ runtime, prober, API server
          ▲                           │
          └── absorb (memory.py) ◀──Result

An effect may be asked for again after a failure or a kubelet's restart; each is safe to repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from petset.cluster.kubelet.probes import ProbeKind

Hook = Literal["postStart", "preStop"]


@dataclass(frozen=True)
class Say:
    """Record an Event about the pod; `container` names the container that it is about."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    container: str = ""


@dataclass(frozen=True)
class RunSandbox:
    """Mount the volumes and prepare the pod's place."""


@dataclass(frozen=True)
class PullImage:
    container: str
    attempt: int


@dataclass(frozen=True)
class StartContainer:
    """`failed_at` is the end of the attempt that this one replaces (None for a first attempt)."""

    container: str
    attempt: int
    failed_at: float | None = None


@dataclass(frozen=True)
class Signal:
    container: str
    container_id: str
    signal: int


@dataclass(frozen=True)
class RunHook:
    """Run a lifecycle hook beside everything else; it is given up after `seconds`."""

    container: str
    container_id: str
    hook: Hook
    seconds: float


@dataclass(frozen=True)
class RunProbe:
    """Probe a container beside everything else."""

    container: str
    container_id: str
    kind: ProbeKind


@dataclass(frozen=True)
class RemoveSandbox:
    """Kill what still runs and take the pod's place away."""


Effect = Say | RunSandbox | PullImage | StartContainer | Signal | RunHook | RunProbe | RemoveSandbox


@dataclass(frozen=True)
class SandboxReady:
    pass


@dataclass(frozen=True)
class SandboxDelayed:
    """The sandbox cannot be prepared for now: `FailedMount` or `FailedCreatePodSandBox`."""

    reason: str
    message: str


@dataclass(frozen=True)
class DisksAwaited:
    """Network disks are not attached to the node yet; `message` is what is said when that takes too long."""

    message: str


@dataclass(frozen=True)
class ImagePulled:
    """`fetched` is False when the image was on the machine already."""

    container: str
    attempt: int
    seconds: float = 0.0
    fetched: bool = True


@dataclass(frozen=True)
class ImageFailed:
    container: str
    message: str


@dataclass(frozen=True)
class Started:
    container: str
    container_id: str
    failed_at: float | None = None


@dataclass(frozen=True)
class StartFailed:
    """`CreateContainerConfigError`, `CreateContainerError` (no attempt was made) or `RunContainerError` (one was, which
    ended at once); `failed_at` is that of the StartContainer."""

    container: str
    reason: str
    message: str
    failed_at: float | None = None


@dataclass(frozen=True)
class Signalled:
    container: str
    container_id: str
    signal: int


@dataclass(frozen=True)
class HookEnded:
    """`error` is empty after success."""

    container: str
    container_id: str
    hook: Hook
    error: str = ""


@dataclass(frozen=True)
class ProbeEnded:
    """`message` says why the probe was not good; `good` None: it could not be made, nothing is known."""

    container: str
    container_id: str
    kind: ProbeKind
    good: bool | None
    message: str = ""


@dataclass(frozen=True)
class SandboxRemoved:
    pass


@dataclass(frozen=True)
class MachineSilent:
    """The node did not answer: nothing is known of what was asked."""

    message: str


Result = (
    SandboxReady
    | SandboxDelayed
    | DisksAwaited
    | ImagePulled
    | ImageFailed
    | Started
    | StartFailed
    | Signalled
    | HookEnded
    | ProbeEnded
    | SandboxRemoved
    | MachineSilent
)

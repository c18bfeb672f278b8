"""What was seen of a cluster during an experiment: plain values, from which every verdict and every figure follows.

    changes    watch events of pods, sets, claims, services, nodes, with the time at which they arrived
    gaps       when a watch could not be continued: what happened in between was not seen
    samples    the machines' own lists of processes, not what the API says about them
    writes     what the writers asked for, and what they were told
    journals   what each pod's disk held in the end
    probes     whether each identity and the service answered
    names      what the cluster's DNS answered to a pod, at the end
    injected   every fault, and every deed of the user

Nothing here waits, reads a clock or talks to anybody; times are seconds since the Unix epoch, of one clock. The same
values come from a real cluster (watching.py, workload.py) and from one in virtual time (tests/mutants).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from petset.cluster.api.objects import Object, name_of, namespace_of, uid_of

AFTERWARDS_SECONDS = 3.0
"""How much of what followed a violation belongs to its evidence."""
WATCHED = ("Pod", "StatefulSet", "PersistentVolumeClaim", "Service", "EndpointSlice", "Event", "Node")


@dataclass(frozen=True)
class Change:
    """One watch event. Of a DELETED object, the last state."""

    at: float
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Object

    @property
    def kind(self) -> str:
        return str(self.object["kind"])


@dataclass(frozen=True)
class Gap:
    """Changes of a kind between two times may be missing; what the list afterwards showed came as changes at `to`."""

    kind: str
    since: float
    to: float


@dataclass(frozen=True)
class Process:
    """The first process of a container, as its machine knows it."""

    node: str
    namespace: str
    pod: str
    uid: str
    container: str
    container_id: str
    pid: int
    started_at: float
    state: str = "running"

    @property
    def identity(self) -> str:
        return f"{self.namespace}/{self.pod}"


@dataclass(frozen=True)
class Sample:
    """All processes of all machines: each was there at some moment between the two times."""

    began_at: float
    ended_at: float
    processes: tuple[Process, ...]


@dataclass(frozen=True)
class Write:
    """One entry that a writer sent. `acknowledged_by` is the pod that said it was stored.

    `refused` certainly did not happen; of `unknown`, nobody can tell (a timeout, a broken connection).
    """

    entry: str
    asked: str
    began_at: float
    ended_at: float
    outcome: Literal["acknowledged", "refused", "unknown"]
    acknowledged_by: str = ""


@dataclass(frozen=True)
class Journal:
    """Every entry on a pod's disk, in its order. `error` says why it could not be read."""

    pod: str
    at: float
    entries: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Probe:
    """Whether a target (a pod's name, or `service/NAME`) answered."""

    at: float
    target: str
    answered: bool
    seconds: float


@dataclass(frozen=True)
class NameAnswer:
    """What DNS answered to a pod. `error` is empty for an answer, also for an empty one."""

    name: str
    addresses: tuple[str, ...]
    error: str = ""


@dataclass(frozen=True)
class Injected:
    """A fault or a deed that was done. `description` is the mapping it came from.

    `ended_at` is when it was healed; for what happens in one instant, when it happened. `error` says why it could not
    be done. `forced` are the uids of pods that a user declared over without asking their machine.
    """

    id: str
    description: Mapping[str, Any]
    began_at: float
    ended_at: float
    error: str = ""
    forced: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return str(self.description.get("fault") or self.description.get("deed") or "")

    @property
    def is_deed(self) -> bool:
        return "deed" in self.description

    @property
    def words(self) -> str:
        """`cut from=node/node-2 to=api-server`, as the command line takes it."""
        fields = [f"{key}={value}" for key, value in self.description.items() if key not in ("fault", "deed")]
        return " ".join([self.kind, *fields])


@dataclass
class Observations:
    """Everything seen in one run. `namespace` is the workload's."""

    namespace: str
    began_at: float
    converge_seconds: float
    """The bound within which the cluster must be whole again, counted from `healed_at`."""
    healed_at: float = 0.0
    """When the last fault was healed and the load was over."""
    converged_at: float | None = None
    removed_at: float = math.inf
    """When the workload's removal began: what goes from then on goes with its namespace."""
    unsettled: tuple[str, ...] = ()
    """What was still missing when the bound was over."""
    changes: list[Change] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    journals: list[Journal] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    names: list[NameAnswer] = field(default_factory=list)
    injected: list[Injected] = field(default_factory=list)
    final: list[Object] = field(default_factory=list)
    """The workload's objects after convergence, freshly listed."""
    sweeps: int = 0
    """How often the machines were asked what is left over, and told."""
    leftovers: list[str] = field(default_factory=list)
    """One line per process, namespace or folder on a machine that belongs to nothing."""

    def of_kind(self, kind: str) -> Iterator[Change]:
        """The changes of a kind; of namespaced kinds, those of the workload."""
        for change in self.changes:
            if change.kind == kind and namespace_of(change.object) in ("", self.namespace):
                yield change

    def shows(self, obj: Object) -> bool:
        """Whether any change was of this very object."""
        return any(uid_of(change.object) == uid_of(obj) for change in self.changes)

    def final_of(self, kind: str) -> list[Object]:
        return [obj for obj in self.final if obj["kind"] == kind]

    @property
    def forced(self) -> frozenset[str]:
        """Uids of pods that the user declared over by force."""
        return frozenset(uid for each in self.injected for uid in each.forced)

    @property
    def deleted(self) -> frozenset[str]:
        """Uids of pods that the user deleted in any way."""
        return frozenset(uid for each in self.injected for uid in (*each.forced, *each.deleted))

    def events_about(self, name: str, *, at: float = math.inf, limit: int = 20) -> list[str]:
        """The newest events about an object of the workload until shortly after a time, one line each: evidence."""
        lines = []
        for change in self.of_kind("Event"):
            regarding = change.object.get("involvedObject") or {}
            if change.at > at + AFTERWARDS_SECONDS:
                break
            if regarding.get("name") == name and change.type != "DELETED":
                reason, message = change.object.get("reason", ""), change.object.get("message", "")
                lines.append(f"{change.at - self.began_at:8.2f}s {reason}: {message}")
        return lines[-limit:]

    def history_of(self, kind: str, name: str, *, at: float = math.inf, limit: int = 20) -> list[Object]:
        """The newest states of an object until shortly after a time, without what its managers noted: evidence."""
        until = at + AFTERWARDS_SECONDS
        found = [change for change in self.of_kind(kind) if name_of(change.object) == name and change.at <= until]
        return [_evidence(change, self.began_at) for change in found[-limit:]]


def _evidence(change: Change, began_at: float) -> Object:
    metadata = {key: value for key, value in change.object["metadata"].items() if key != "managedFields"}
    return {"seconds": round(change.at - began_at, 3), "type": change.type, **change.object, "metadata": metadata}

"""The ordering rules of OrderedReady sets: who may be created, and who may be deleted, while the others are how.

    create N      every replica below N exists, is Ready and is not Terminating
    scale down N  no pod above N is left
    replace N     every replica above N is of one other revision, the new one, Ready and not Terminating

A controller decides on a cache that may be late. So its deed is right when the rule held in *some* state that was true
within the window before the deed. The window is WINDOW_SECONDS, and reaches back to before every fault that can keep
news from the controllers (killed, frozen or cut-off API server and controllers, disturbed watches) and that was there
in the meantime. A deed that nothing explains is not judged where changes went unseen (a gap of the watch).

A deletion counts as the set's own unless the user did it, an eviction marked the pod (DisruptionTarget) or the pod had
ended; of a replica within the set's bounds, it can only be an update. Which revision is the new one is known later
than the deletion (the status follows), so any that the set ever had will do. Rules: updateStatefulSet and
processCondemned in stateful_set_control.go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from petset.cluster.api.objects import (
    Object,
    condition,
    condition_is_true,
    controller_of,
    is_terminating,
    labels_of,
    name_of,
    uid_of,
)
from petset.cluster.chaos.observations import Change, Injected, Observations
from petset.cluster.chaos.oracles.verdict import Verdict, Violation
from petset.cluster.controllers.statefulset.pods import REVISION_LABEL, parent_and_ordinal

WINDOW_SECONDS = 10.0
AFTERMATH_SECONDS = 15.0
"""How long after its end a fault may still have kept news away: reconnecting backs off to 5 s, twice, and is slow."""
_COMPONENTS = ("api-server", "controller")
_STALE_KINDS = ("delay-watch", "duplicate-watch", "drop-watch")
_FINAL_PHASES = ("Failed", "Succeeded")


@dataclass(frozen=True)
class _Pod:
    uid: str
    revision: str
    ready: bool


@dataclass(frozen=True)
class _State:
    """One state of a set: its pods by ordinal, its bounds and the revision that it wants."""

    since: float
    pods: Mapping[int, _Pod]
    start: int = 0
    end: int = 0


@dataclass
class _Set:
    """A set and the states that its pods went through, oldest first; a state lasts until the next one."""

    object: Object
    states: list[_State] = field(default_factory=list)

    @property
    def monotonic(self) -> bool:
        return bool(self.object["spec"].get("podManagementPolicy") != "Parallel")

    def within(self, since: float) -> list[_State]:
        """Every state that was there at some moment after `since`."""
        later = [index for index, state in enumerate(self.states) if state.since > since]
        first = (later[0] if later else len(self.states)) - 1
        return self.states[max(first, 0) :]


def judge(seen: Observations) -> Verdict:
    """Every OrderedReady set of the workload's namespace."""
    walk = _Walk(seen)
    for change in seen.changes:
        if change.object["metadata"].get("namespace") == seen.namespace and change.at < seen.removed_at:
            walk.step(change)
    notes = (f"{walk.unseen} deeds fell into gaps of the watches and were not judged",) if walk.unseen else ()
    promise = "OrderedReady sets create, update and remove their pods one at a time, in order"
    return Verdict("ordering", promise, judged=walk.judged, violations=tuple(walk.violations), notes=notes)


class _Walk:
    """Through the changes, in their order."""

    def __init__(self, seen: Observations) -> None:
        self._seen = seen
        self._sets: dict[str, _Set] = {}
        self._doomed: set[str] = set()
        self._revisions: dict[str, set[str]] = defaultdict(set)
        for change in seen.of_kind("StatefulSet"):
            revision = (change.object.get("status") or {}).get("updateRevision")
            self._revisions[name_of(change.object)] |= {revision} if revision else set()
        self.judged = 0
        self.unseen = 0
        self.violations: list[Violation] = []

    def step(self, change: Change) -> None:
        if change.kind == "StatefulSet":
            self._take_set(change)
        elif change.kind == "Pod":
            owner = controller_of(change.object)
            named = parent_and_ordinal(name_of(change.object))
            found = self._sets.get(owner["name"]) if owner and owner["kind"] == "StatefulSet" else None
            if found is not None and named is not None:
                self._judge(found, named[1], change)
                self._take_pod(found, named[1], change)

    def _take_set(self, change: Change) -> None:
        name = name_of(change.object)
        found = self._sets.setdefault(name, _Set(change.object))
        found.object = change.object
        self._push(found, change.at, found.states[-1].pods if found.states else {})

    def _take_pod(self, found: _Set, ordinal: int, change: Change) -> None:
        pods = {**found.states[-1].pods}
        if change.type == "DELETED":
            pods.pop(ordinal, None)
        else:
            ready = condition_is_true(change.object, "Ready") and not is_terminating(change.object)
            revision = labels_of(change.object).get(REVISION_LABEL, "")
            pods[ordinal] = _Pod(uid_of(change.object), revision, ready)
        self._push(found, change.at, pods)

    def _push(self, found: _Set, at: float, pods: Mapping[int, _Pod]) -> None:
        spec = found.object["spec"]
        start = (spec.get("ordinals") or {}).get("start", 0)
        found.states.append(_State(at, pods, start, start + spec.get("replicas", 1)))

    def _judge(self, found: _Set, ordinal: int, change: Change) -> None:
        if not found.monotonic or is_terminating(found.object):
            return
        rule = self._rule(found, ordinal, change)
        if rule is None:
            return
        since = window_begin(change.at, self._seen.injected)
        states = found.within(since)
        others = self._other_revisions(change.object)
        if any(_holds(rule, ordinal, state, others) for state in states):
            self.judged += 1
        elif any(gap.since <= change.at and gap.to >= since for gap in self._seen.gaps):
            self.unseen += 1  # the state that allowed it may be one that nobody saw
        else:
            self.judged += 1
            self.violations.append(self._violation(rule, ordinal, change, states))

    def _rule(self, found: _Set, ordinal: int, change: Change) -> str | None:
        """What the change is a case of, if the set did it."""
        pod, state = change.object, found.states[-1]
        if change.type == "ADDED":
            return "create"
        is_going = change.type == "DELETED" or is_terminating(pod)  # one of no machine, or with no grace, goes at once
        if not is_going or uid_of(pod) in self._doomed:
            return None
        self._doomed.add(uid_of(pod))
        disrupted = condition(pod, "DisruptionTarget") is not None
        ended = (pod.get("status") or {}).get("phase") in _FINAL_PHASES
        if disrupted or ended or uid_of(pod) in self._seen.deleted:
            return None
        if not state.start <= ordinal < state.end:
            return "scale down"
        return "replace" if _one_at_a_time(found.object) else None

    def _other_revisions(self, pod: Object) -> frozenset[str]:
        """Every revision that the pod's set ever wanted, but the pod's own."""
        owner = controller_of(pod)
        names = self._revisions.get(owner["name"], set()) if owner else set()
        return frozenset(names - {labels_of(pod).get(REVISION_LABEL, "")})

    def _violation(self, rule: str, ordinal: int, change: Change, states: list[_State]) -> Violation:
        name = name_of(change.object)
        deed = {"create": "was created", "scale down": "was removed", "replace": "was replaced"}[rule]
        others = {
            f"pod {each}": {"uid": pod.uid, "ready": pod.ready, "revision": pod.revision}
            for each, pod in sorted(states[-1].pods.items())
            if each != ordinal
        }
        return Violation(
            f"{name} {deed} although {_BECAUSE[rule]}",
            at=change.at,
            evidence={
                "others": others,
                "events": self._seen.events_about(name, at=change.at),
                "objects": self._seen.history_of("Pod", name, at=change.at, limit=5),
            },
        )


_BECAUSE = {
    "create": "a replica below it was not Ready",
    "scale down": "a pod above it was still there",
    "replace": "a replica above it was not updated and Ready, or nothing was to be updated",
}


def _holds(rule: str, ordinal: int, state: _State, others: frozenset[str]) -> bool:
    if rule == "create":
        return all(_is_ready(state.pods.get(each)) for each in range(state.start, ordinal))
    if ordinal not in state.pods:
        return False  # a state from before the pod cannot have been the reason to delete it
    if rule == "scale down":
        return not any(each > ordinal for each in state.pods)
    above = range(ordinal + 1, state.end)
    return any(all(_is_ready(state.pods.get(each), revision) for each in above) for revision in others)


def _is_ready(pod: _Pod | None, revision: str | None = None) -> bool:
    return pod is not None and pod.ready and revision in (None, pod.revision)


def _one_at_a_time(stateful_set: Object) -> bool:
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    bound = (strategy.get("rollingUpdate") or {}).get("maxUnavailable")
    return strategy.get("type", "RollingUpdate") == "RollingUpdate" and bound in (None, 1)


def window_begin(at: float, injected: list[Injected]) -> float:
    """How old the news may be on which something was decided that was seen at `at`."""
    begin = at - WINDOW_SECONDS
    blinding = [each for each in injected if not each.error and each.began_at <= at and _blinds(each)]
    for each in sorted(blinding, key=lambda each: each.ended_at, reverse=True):
        if each.ended_at + AFTERMATH_SECONDS >= begin:
            begin = min(begin, each.began_at - WINDOW_SECONDS)
    return begin


def _blinds(injected: Injected) -> bool:
    return injected.kind in _STALE_KINDS or any(word in _COMPONENTS for word in injected.description.values())

"""Figures of a run (pure): availability of each identity and of the services, time to detect and to recover per fault.

    availability   the share of the time in which a target answered, and the longest time without an answer. A probe
                   stands for the time until the next one: those that hang are fewer than those that are refused
    detected       from the injection until the API first shows that something is not Ready: a pod of the workload that
                   stops being Ready (or goes), or a node whose Ready condition changes; at the latest at the next fault
    recovered      from the end of the fault (its heal; for what happens at once, its injection) until the workload's
                   sets have all their pods Ready and every target answers again

When faults overlap, a later one prolongs the recovery of an earlier one. A fault that nobody notices has no time to
detect and recovers at once. Percentiles are nearest-rank.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from petset.cluster.api.objects import condition_is_true, is_terminating, name_of, uid_of
from petset.cluster.chaos.observations import Injected, Observations, Probe

PERCENTILES = (50, 90, 99)


@dataclass(frozen=True)
class Span:
    """A time during which something was in one state."""

    since: float
    until: float
    state: str


@dataclass(frozen=True)
class Availability:
    """Of one target; `share` is from 0 to 1, an outage lasts from its first unanswered probe to the next answer."""

    target: str
    probes: int
    answered: int
    share: float
    outages: tuple[Span, ...]

    @property
    def longest_outage_seconds(self) -> float:
        return max((each.until - each.since for each in self.outages), default=0.0)


@dataclass(frozen=True)
class Reaction:
    """To one fault; None where nothing was noticed, or it had not recovered by the end."""

    injected: Injected
    detected_seconds: float | None
    recovered_seconds: float | None


def availability(seen: Observations) -> list[Availability]:
    """By target, pods first."""
    by_target: dict[str, list[Probe]] = defaultdict(list)
    for probe in seen.probes:
        by_target[probe.target].append(probe)
    return [
        _availability(target, probes)
        for target, probes in sorted(by_target.items(), key=lambda item: ("/" in item[0], item[0]))
    ]


def _availability(target: str, probes: list[Probe]) -> Availability:
    """Of one target's probes, at least one, oldest first."""
    ends = [probe.at for probe in probes[1:]] + [probes[-1].at + probes[-1].seconds]
    up = sum(end - probe.at for probe, end in zip(probes, ends, strict=True) if probe.answered)
    share = up / (ends[-1] - probes[0].at) if ends[-1] > probes[0].at else float(probes[0].answered)
    return Availability(target, len(probes), sum(each.answered for each in probes), share, tuple(_outages(probes)))


def _outages(probes: list[Probe]) -> Iterator[Span]:
    since: float | None = None
    for probe in probes:
        if not probe.answered:
            since = probe.at if since is None else since
        elif since is not None:
            yield Span(since, probe.at + probe.seconds, "unanswered")
            since = None
    if since is not None:
        yield Span(since, probes[-1].at + probes[-1].seconds, "unanswered")


def reactions(seen: Observations) -> list[Reaction]:
    """To every fault and deed that was done, in their order."""
    done = sorted((each for each in seen.injected if not each.error), key=lambda each: each.began_at)
    trouble = _trouble_began(seen)
    whole = _whole(seen)
    found = []
    for number, each in enumerate(done):
        until = done[number + 1].began_at if number + 1 < len(done) else math.inf
        first = next((at for at in trouble if each.began_at <= at < max(until, each.began_at + 0.001)), None)
        detected = None if first is None else first - each.began_at
        end = max(each.began_at, min(each.ended_at, seen.healed_at or math.inf))
        again = next((max(span.since, end) for span in whole if span.until > max(end, first or end)), None)
        found.append(Reaction(each, detected, None if again is None else again - end))
    return found


def _trouble_began(seen: Observations) -> list[float]:
    """When a pod stopped being Ready or went, or a node stopped being Ready."""
    ready: set[str] = set()
    times = []
    for change in seen.changes:
        if change.kind not in ("Pod", "Node") or change.at > _end(seen):
            continue
        uid, obj = uid_of(change.object), change.object
        is_ready = change.type != "DELETED" and condition_is_true(obj, "Ready") and not is_terminating(obj)
        if uid in ready and not is_ready:
            times.append(change.at)
        ready = ready | {uid} if is_ready else ready - {uid}
    return times


def _whole(seen: Observations) -> list[Span]:
    """The times in which every identity was Ready and no target's last probe had failed."""
    marks: list[tuple[float, str, bool]] = [(probe.at, probe.target, probe.answered) for probe in seen.probes]
    for lane, states in pod_lanes(seen):
        marks += [(span.since, f"pod {lane}", span.state in ("ready", "scaled away")) for span in states]
    if seen.converged_at is not None:  # the probes ended with the load; who was silent then answers now
        marks += [(seen.converged_at, each, True) for each in {who for _, who, _ in marks}]
    state: dict[str, bool] = {}
    spans: list[Span] = []
    since: float | None = None
    for at, who, ok in sorted(marks):
        state[who] = ok
        if all(state.values()):
            since = at if since is None else since
        elif since is not None:
            spans.append(Span(since, at, "whole"))
            since = None
    if since is not None:
        spans.append(Span(since, math.inf, "whole"))
    return spans


def pod_lanes(seen: Observations) -> list[tuple[str, list[Span]]]:
    """By identity: starting, ready, terminating, absent, or scaled away, which is nobody's loss."""
    end = _end(seen)
    wanted = _replicas(seen)
    lanes: dict[str, list[Span]] = defaultdict(list)
    for change in seen.of_kind("Pod"):
        obj = change.object
        if change.at > end:
            break
        if change.type == "DELETED":
            state = "absent"
        elif is_terminating(obj):
            state = "terminating"
        else:
            state = "ready" if condition_is_true(obj, "Ready") else "starting"
        name = name_of(obj)
        if state == "absent" and _is_beyond(name, wanted):
            state = "scaled away"
        _extend(lanes[name], change.at, state, end)
    return sorted(lanes.items())


def node_lanes(seen: Observations) -> list[tuple[str, list[Span]]]:
    """By node: ready or not ready, as the API says."""
    end = _end(seen)
    lanes: dict[str, list[Span]] = defaultdict(list)
    for change in seen.of_kind("Node"):
        if change.at > end:
            break
        state = "ready" if condition_is_true(change.object, "Ready") else "not ready"
        _extend(lanes[name_of(change.object)], change.at, state, end)
    return sorted(lanes.items())


def _extend(lane: list[Span], at: float, state: str, end: float) -> None:
    if lane and lane[-1].state == state:
        return
    if lane:
        lane[-1] = Span(lane[-1].since, at, lane[-1].state)
    lane.append(Span(at, max(at, end), state))


def _replicas(seen: Observations) -> dict[str, int]:
    """By set, the fewest replicas that it was ever told to have."""
    fewest: dict[str, int] = {}
    for change in seen.of_kind("StatefulSet"):
        replicas, name = change.object["spec"].get("replicas", 1), name_of(change.object)
        fewest[name] = min(replicas, fewest.get(name, replicas))
    return fewest


def _is_beyond(pod: str, replicas: dict[str, int]) -> bool:
    parent, _, ordinal = pod.rpartition("-")
    return parent in replicas and ordinal.isdecimal() and int(ordinal) >= replicas[parent]


def _end(seen: Observations) -> float:
    """Of what is measured: what goes afterwards, goes with the workload's removal."""
    last = seen.samples[-1].ended_at if seen.samples else 0.0
    return min(seen.removed_at, max(seen.converged_at or 0.0, seen.healed_at, last))


def percentiles(values: list[float]) -> dict[str, float]:
    """`{"p50": …, "p90": …, "p99": …, "max": …}`; empty for no values."""
    if not values:
        return {}
    ordered = sorted(values)
    ranks = {f"p{each}": ordered[math.ceil(each / 100 * len(ordered)) - 1] for each in PERCENTILES}
    return {name: round(value, 3) for name, value in {**ranks, "max": ordered[-1]}.items()}

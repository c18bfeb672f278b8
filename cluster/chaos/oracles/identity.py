"""At most one running process per identity: the promise for which a StatefulSet waits rather than replace a pod.

Two pods of one name are two uids; the machines' own lists say which of them runs where. A process is certainly alive
from its start until the beginning of the last sample that shows it:

    uid a on node-1   started ├───────────────────┤ last seen
    uid b on node-2                    started ├────────────────
                                               └─ two at once: certainly ─┘

so a sample that takes its time over several machines accuses nobody wrongly. A frozen process counts: it may wake up.
Two processes in different containers of one pod are one identity. When the user forced the older pod away, the
overlap is reported as waived, with its duration.

Who does not look sees nothing: a run whose machines never told of a process of a pod that was Ready is broken, and the
longest time between two samples is noted where it is longer than BLIND_SECONDS.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import pairwise

from petset.cluster.api.objects import condition_is_true, name_of
from petset.cluster.chaos.observations import Observations, Process, Sample
from petset.cluster.chaos.oracles.verdict import Verdict, Violation

BLIND_SECONDS = 10.0


@dataclass
class _Life:
    """Of one pod on one machine, all containers together."""

    process: Process
    since: float
    until: float


def judge(seen: Observations) -> Verdict:
    """Every identity of the workload's namespace."""
    lives = _lives(seen)
    unseen = sorted(_ready_pods(seen) - lives.keys())
    violations = [_blind(seen, unseen)] if unseen else []
    violations += [
        _violation(seen, older, newer)
        for identity in sorted(lives)
        for older, newer in _second_lives(lives[identity], forced=seen.forced)
    ]
    return Verdict(
        "identity",
        "at most one running process per identity",
        judged=sum(len(each) for each in lives.values()),
        violations=tuple(violations),
        notes=tuple(_blindness(seen)),
    )


def _blind(seen: Observations, unseen: list[str]) -> Violation:
    names = [identity.rpartition("/")[2] for identity in unseen]
    evidence = {"samples": len(seen.samples), "objects": [seen.history_of("Pod", name, limit=1) for name in names]}
    return Violation(f"no sample shows a process of {', '.join(names)}", seen.began_at, evidence=evidence)


def _ready_pods(seen: Observations) -> set[str]:
    """The identities that were Ready for so long that a sample must show them."""
    since: dict[str, float] = {}
    found = set()
    for change in seen.of_kind("Pod"):
        identity = f"{seen.namespace}/{name_of(change.object)}"
        if identity in since and change.at - since[identity] > BLIND_SECONDS:
            found.add(identity)
        if change.type != "DELETED" and condition_is_true(change.object, "Ready"):
            since.setdefault(identity, change.at)
        else:
            since.pop(identity, None)
    return found | {identity for identity, at in since.items() if seen.healed_at - at > BLIND_SECONDS}


def _blindness(seen: Observations) -> Iterator[str]:
    looks = [sample.began_at for sample in seen.samples if seen.began_at <= sample.began_at < seen.healed_at]
    times = [seen.began_at, *looks, seen.healed_at]
    longest = max((after - before for before, after in pairwise(times)), default=0.0)
    if longest > BLIND_SECONDS:
        yield f"the machines were not looked at for {longest:.0f} s"


def _lives(seen: Observations) -> dict[str, list[_Life]]:
    """By identity, each (uid, node) that ever ran."""
    found: dict[str, dict[tuple[str, str], _Life]] = defaultdict(dict)
    for sample in seen.samples:
        for process in sample.processes:
            if process.namespace == seen.namespace:
                _extend(found[process.identity], process, sample)
    return {identity: [*lives.values()] for identity, lives in found.items()}


def _extend(lives: dict[tuple[str, str], _Life], process: Process, sample: Sample) -> None:
    key = process.uid, process.node
    until = max(process.started_at, sample.began_at)
    life = lives.setdefault(key, _Life(process, process.started_at, until))
    life.since = min(life.since, process.started_at)
    life.until = max(life.until, until)


def _second_lives(lives: list[_Life], *, forced: Container[str]) -> Iterator[tuple[_Life, _Life]]:
    """Each life that began beside older ones, with the one of them that says most: not forced, then the longest."""
    by_begin = sorted(lives, key=lambda life: life.since)
    for index, newer in enumerate(by_begin):
        beside = [older for older in by_begin[:index] if _overlap(older, newer) > 0]
        if beside:
            yield max(beside, key=lambda older: (older.process.uid not in forced, _overlap(older, newer))), newer


def _overlap(first: _Life, second: _Life) -> float:
    return min(first.until, second.until) - max(first.since, second.since)


def _violation(seen: Observations, older: _Life, newer: _Life) -> Violation:
    was_forced = older.process.uid in seen.forced
    seconds = _overlap(older, newer)
    pod, at = older.process.pod, max(older.since, newer.since)
    return Violation(
        what=(
            f"{pod} ran twice for {seconds:.2f} s: uid {older.process.uid} on {older.process.node} (process "
            f"{older.process.pid}) and uid {newer.process.uid} on {newer.process.node} (process {newer.process.pid})"
        ),
        at=at,
        duration_seconds=seconds,
        waived="the user deleted the older pod by force" if was_forced else "",
        evidence={
            "processes": [_row(seen, older), _row(seen, newer)],
            "events": seen.events_about(pod, at=at + seconds),
            "objects": seen.history_of("Pod", pod, at=at + seconds),
        },
    )


def _row(seen: Observations, life: _Life) -> dict[str, object]:
    process = life.process
    return {
        "node": process.node,
        "pod": process.identity,
        "uid": process.uid,
        "pid": process.pid,
        "container": process.container,
        "alive_from_seconds": round(life.since - seen.began_at, 3),
        "last_seen_seconds": round(life.until - seen.began_at, 3),
    }

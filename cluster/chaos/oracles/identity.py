"""At most one running process per identity: the promise for which a StatefulSet waits rather than replace a pod.

Two pods of one name are two uids; the machines' own lists say which of them runs where. A process is certainly alive
from its start until the beginning of the last sample that shows it:

    uid a on node-1   started ├───────────────────┤ last seen
    uid b on node-2                    started ├────────────────
                                               └─ two at once: certainly ─┘

so a sample that takes its time over several machines accuses nobody wrongly. A frozen process counts: it may wake up.
Two processes in different containers of one pod are one identity. When the user forced the older pod away, the
overlap is reported as waived, with its duration.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations

from petset.cluster.chaos.observations import Observations, Process, Sample
from petset.cluster.chaos.oracles.verdict import Verdict, Violation


@dataclass
class _Life:
    """Of one pod on one machine, all containers together."""

    process: Process
    since: float
    until: float


def judge(seen: Observations) -> Verdict:
    """Every identity of the workload's namespace."""
    lives = _lives(seen)
    violations = [
        _violation(seen, *sorted(pair, key=lambda life: life.since))
        for identity in sorted(lives)
        for pair in combinations(lives[identity], 2)
        if _overlap(*pair) > 0
    ]
    return Verdict(
        "identity",
        "at most one running process per identity",
        judged=sum(len(each) for each in lives.values()),
        violations=tuple(violations),
    )


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


def _overlap(first: _Life, second: _Life) -> float:
    return min(first.until, second.until) - max(first.since, second.since)


def _violation(seen: Observations, older: _Life, newer: _Life) -> Violation:
    was_forced = older.process.uid in seen.forced
    seconds = _overlap(older, newer)
    pod = older.process.pod
    return Violation(
        what=(
            f"{pod} ran twice for {seconds:.2f} s: uid {older.process.uid} on {older.process.node} (process "
            f"{older.process.pid}) and uid {newer.process.uid} on {newer.process.node} (process {newer.process.pid})"
        ),
        at=max(older.since, newer.since),
        duration_seconds=seconds,
        waived="the user deleted the older pod by force" if was_forced else "",
        evidence={
            "processes": [_row(seen, older), _row(seen, newer)],
            "events": seen.events_about(pod),
            "objects": seen.history_of("Pod", pod),
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

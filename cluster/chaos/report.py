"""The report of a run: one JSON document, and one page that shows it (report_page.py).

    {"experiment", "seed", "duration_seconds", "cluster", "network", "time_scale", "replay", "held",
     "counts":       faults, deeds, writes acknowledged / refused / unknown / lost, violations, waived, samples, changes
     "verdicts":     per oracle: held, judged, notes, violations with their evidence
     "faults":       what was done, when, when it was healed, time to detect and to recover
     "percentiles":  detect and recover, over all faults and per kind
     "availability": per identity and service
     "timeline":     lanes of nodes, pods and silent targets, as spans of states}

All times are seconds since the first moment of the load. Both files are UTF-8, whatever the names and messages of the
cluster hold: what is no text there is written as `?` or an escape.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from petset.cluster.chaos.measures import (
    Reaction,
    Span,
    availability,
    node_lanes,
    percentiles,
    pod_lanes,
    reactions,
)
from petset.cluster.chaos.observations import Observations
from petset.cluster.chaos.oracles import Verdict, Violation
from petset.cluster.chaos.oracles.durability import lost_writes
from petset.cluster.chaos.report_page import page_of
from petset.cluster.chaos.run import Outcome

Report = dict[str, Any]


def write_report(outcome: Outcome, folder: Path, *, cluster: str, replay: str) -> tuple[Path, Path]:
    """Write report.json and report.html into a folder; their paths."""
    report = report_of(outcome, cluster=cluster, replay=replay)
    folder.mkdir(parents=True, exist_ok=True)
    document, page = folder / "report.json", folder / "report.html"
    document.write_text(json.dumps(report, indent=1), encoding="utf-8")
    page.write_text(page_of(report), encoding="utf-8", errors="replace")
    return document, page


def report_of(outcome: Outcome, *, cluster: str, replay: str) -> Report:
    """The document."""
    seen, plan = outcome.seen, outcome.plan
    reacted, available = reactions(seen), availability(seen)
    return {
        "experiment": plan.experiment.name,
        "describes": plan.experiment.describes,
        "seed": plan.seed,
        "duration_seconds": plan.duration_seconds,
        "cluster": cluster,
        "network": plan.network,
        "time_scale": plan.time_scale,
        "replay": replay,
        "held": outcome.held,
        "converged_seconds": None if seen.converged_at is None else round(seen.converged_at - seen.healed_at, 3),
        "counts": counts_of(outcome),
        "verdicts": [_verdict(verdict, seen) for verdict in outcome.verdicts],
        "faults": _faults(seen, reacted),
        "percentiles": _percentiles(reacted),
        "availability": [
            {
                "target": each.target,
                "probes": each.probes,
                "answered": each.answered,
                "share": round(each.share, 4),
                "longest_outage_seconds": round(each.longest_outage_seconds, 3),
            }
            for each in available
        ],
        "timeline": {
            "end_seconds": round(max(seen.converged_at or 0.0, seen.healed_at) - seen.began_at, 3),
            "healed_seconds": round(seen.healed_at - seen.began_at, 3),
            "nodes": _lanes(node_lanes(seen), seen),
            "pods": _lanes(pod_lanes(seen), seen),
            "silent": _lanes([(each.target, [*each.outages]) for each in available if each.outages], seen),
        },
    }


def counts_of(outcome: Outcome) -> dict[str, int]:
    """The figures by which runs are compared."""
    seen = outcome.seen
    done = [each for each in seen.injected if not each.error]
    writes = [write.outcome for write in seen.writes]
    return {
        "faults": sum(not each.is_deed for each in done),
        "deeds": sum(each.is_deed for each in done),
        "refused_steps": len(seen.injected) - len(done),
        "writes_acknowledged": writes.count("acknowledged"),
        "writes_refused": writes.count("refused"),
        "writes_unknown": writes.count("unknown"),
        "writes_lost": len(lost_writes(seen)),
        "violations": sum(len(verdict.broken) for verdict in outcome.verdicts),
        "waived": sum(len(verdict.waived) for verdict in outcome.verdicts),
        "samples": len(seen.samples),
        "changes": len(seen.changes),
    }


def _verdict(verdict: Verdict, seen: Observations) -> Report:
    return {
        "oracle": verdict.oracle,
        "promise": verdict.promise,
        "held": verdict.held,
        "word": verdict.word,
        "judged": verdict.judged,
        "notes": list(verdict.notes),
        "violations": [_violation(each, seen) for each in verdict.violations],
    }


def _violation(violation: Violation, seen: Observations) -> Report:
    seconds = violation.duration_seconds
    return {
        "what": violation.what,
        "at_seconds": round(violation.at - seen.began_at, 3),
        "duration_seconds": None if seconds is None else round(seconds, 3),
        "waived": violation.waived,
        "evidence": {**violation.evidence, "processes_then": _processes_at(violation.at, seen)},
    }


def _processes_at(at: float, seen: Observations) -> list[str]:
    """What ran on the machines at about that time: by the sample that is nearest."""
    nearest = min(seen.samples, key=lambda sample: abs(sample.began_at - at), default=None)
    if nearest is None:
        return []
    return [
        f"{each.node} {each.identity} uid {each.uid} process {each.pid} ({each.container}, {each.state})"
        for each in nearest.processes
    ]


def _faults(seen: Observations, reacted: list[Reaction]) -> list[Report]:
    known = {id(each.injected): each for each in reacted}
    rows = []
    for each in seen.injected:
        reaction = known.get(id(each))
        ended_at = min(each.ended_at, seen.healed_at)
        rows.append(
            {
                "id": each.id,
                "what": dict(each.description),
                "words": each.words,
                "began_seconds": round(each.began_at - seen.began_at, 3),
                "ended_seconds": round(max(ended_at, each.began_at) - seen.began_at, 3),
                "error": each.error,
                "detected_seconds": _rounded(reaction.detected_seconds) if reaction else None,
                "recovered_seconds": _rounded(reaction.recovered_seconds) if reaction else None,
            }
        )
    return rows


def _percentiles(reacted: list[Reaction]) -> Report:
    kinds: dict[str, list[Reaction]] = defaultdict(list)
    for each in reacted:
        kinds[each.injected.kind].append(each)
    return {"all": _both(reacted), **{kind: _both(each) for kind, each in sorted(kinds.items())}}


def _both(reacted: Iterable[Reaction]) -> Report:
    given = list(reacted)
    return {
        "count": len(given),
        "detect": percentiles([each.detected_seconds for each in given if each.detected_seconds is not None]),
        "recover": percentiles([each.recovered_seconds for each in given if each.recovered_seconds is not None]),
    }


def _lanes(lanes: list[tuple[str, list[Span]]], seen: Observations) -> list[Report]:
    return [
        {
            "name": name,
            "spans": [
                {
                    "since_seconds": round(span.since - seen.began_at, 3),
                    "until_seconds": round(span.until - seen.began_at, 3),
                    "state": span.state,
                }
                for span in spans
            ],
        }
        for name, spans in lanes
    ]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)

"""Acknowledged writes are readable afterwards: the history checker.

Every writer sends entries of its own, one after the other, each with a text that nobody else uses. When the cluster is
whole again, every pod's journal is read. Of each pod must hold:

    acknowledged by journal-1    is in journal-1's journal, exactly once        else: lost, or doubled
    refused                      is in no journal
    unknown                      is in one journal at most
    two entries of one writer    stand in the order in which they were acknowledged by this pod
    any entry of a journal       was sent by somebody; one asked of this pod, or of the service

An entry in another pod's journal than the one that acknowledged it betrays a swapped disk. A journal that cannot be
read although the cluster is whole makes every write that it acknowledged a lost one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from petset.cluster.chaos.observations import Journal, Observations, Write
from petset.cluster.chaos.oracles.verdict import Verdict, Violation

SHOWN = 10
"""Entries named in one violation; the rest is counted."""


def judge(seen: Observations) -> Verdict:
    """Every write of the load."""
    acknowledged = [write for write in seen.writes if write.outcome == "acknowledged"]
    stored = {journal.pod: journal for journal in seen.journals}
    lost = lost_writes(seen)
    violations = [*_lost(seen, lost, stored), *_wrong(seen, stored)]
    return Verdict(
        "durability",
        "every acknowledged write is readable afterwards, once, where it was written",
        judged=len(acknowledged),
        violations=tuple(violations),
        notes=(f"{len(acknowledged)} of {len(seen.writes)} writes acknowledged, {len(lost)} lost",),
    )


def lost_writes(seen: Observations) -> list[Write]:
    """The acknowledged writes that are not where they were written."""
    entries = {journal.pod: frozenset(journal.entries) for journal in seen.journals}
    return [
        write
        for write in seen.writes
        if write.outcome == "acknowledged" and write.entry not in entries.get(write.acknowledged_by, ())
    ]


def _lost(seen: Observations, lost: list[Write], stored: dict[str, Journal]) -> Iterator[Violation]:
    by_pod: dict[str, list[Write]] = defaultdict(list)
    for write in lost:
        by_pod[write.acknowledged_by].append(write)
    for pod, writes in sorted(by_pod.items()):
        journal = stored.get(pod)
        why = "it has no journal" if journal is None else journal.error or f"{len(journal.entries)} others are there"
        yield Violation(
            f"{pod} lost {len(writes)} acknowledged writes ({why}): {_some([each.entry for each in writes])}",
            at=writes[0].ended_at,
            evidence={
                "writes": [_row(seen, each) for each in writes[:SHOWN]],
                "events": seen.events_about(pod),
                "objects": seen.history_of("Pod", pod),
            },
        )


def _wrong(seen: Observations, stored: dict[str, Journal]) -> Iterator[Violation]:
    """Entries that stand where they must not, twice, out of order, or that nobody sent: by pod and kind of wrong."""
    sent = {write.entry: write for write in seen.writes}
    found: dict[tuple[str, str], list[_Wrong]] = defaultdict(list)
    for wrong in (*_misplaced(sent, stored), *_disordered(seen, stored)):
        found[wrong.pod, wrong.why].append(wrong)
    for (pod, why), wrongs in found.items():
        writes = [each.write for each in wrongs if each.write]
        yield Violation(
            f"{pod} has {_some([each.what for each in wrongs])}{why}",
            at=writes[0].ended_at if writes else stored[pod].at,
            evidence={
                "writes": [_row(seen, each) for each in writes[:SHOWN]],
                "events": seen.events_about(pod),
                "objects": seen.history_of("Pod", pod),
            },
        )


@dataclass(frozen=True)
class _Wrong:
    """`what` of a pod's journal is wrong, and `why`, as they follow one another in a sentence."""

    pod: str
    what: str
    why: str
    write: Write | None


def _misplaced(sent: dict[str, Write], stored: dict[str, Journal]) -> Iterator[_Wrong]:
    seen_in: dict[str, str] = {}
    for pod, journal in sorted(stored.items()):
        for entry, times in Counter(journal.entries).items():
            write, first = sent.get(entry), seen_in.setdefault(entry, pod)
            if times > 1:
                yield _Wrong(pod, entry, " more than once", write)
            if write is None:
                yield _Wrong(pod, entry, ", which nobody sent", None)
            elif write.outcome == "refused":
                yield _Wrong(pod, entry, ", which was refused", write)
            elif not _belongs(write, pod):
                yield _Wrong(pod, entry, f", which belongs to {write.acknowledged_by or write.asked}", write)
            elif first != pod and _belongs(write, first):
                yield _Wrong(pod, entry, f", which {first} has too", write)


def _belongs(write: Write, pod: str) -> bool:
    if write.outcome == "acknowledged":
        return pod == write.acknowledged_by
    return write.asked.startswith("service/") or pod == write.asked


def _disordered(seen: Observations, stored: dict[str, Journal]) -> Iterator[_Wrong]:
    """A writer waits for each answer, so its acknowledged entries must stand in their order."""
    place = {(pod, entry): number for pod, each in stored.items() for number, entry in enumerate(each.entries)}
    newest: dict[tuple[str, str], Write] = {}
    for write in seen.writes:
        pod = write.acknowledged_by
        if (pod, write.entry) not in place:
            continue
        before = newest.get((pod, write.asked))
        if before is not None and place[pod, before.entry] > place[pod, write.entry]:
            yield _Wrong(pod, f"{write.entry} before {before.entry}", ", which is older", write)
        newest[pod, write.asked] = write


def _some(entries: list[str]) -> str:
    more = f" and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
    return ", ".join(entries[:SHOWN]) + more


def _row(seen: Observations, write: Write) -> dict[str, object]:
    return {
        "entry": write.entry,
        "asked": write.asked,
        "outcome": write.outcome,
        "acknowledged_by": write.acknowledged_by,
        "sent_seconds": round(write.began_at - seen.began_at, 3),
        "answered_seconds": round(write.ended_at - seen.began_at, 3),
    }

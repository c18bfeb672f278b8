"""Observations by hand: a set `web` of three pods in namespace `default`, what happens to it, second by second."""

from __future__ import annotations

from typing import Any, Literal

from petset.cluster.api.objects import Object
from petset.cluster.chaos.observations import Change, Injected, Journal, Observations, Process, Sample, Write
from tests.builders import EPOCH, pod, stateful_set

SET = stateful_set("web", replicas=3, claims=["data"], status={"updateRevision": "web-new"})


def observations(*changes: Change, **fields: Any) -> Observations:
    """A run that began at EPOCH, was healed after 60 s and whole after 65 s."""
    given = {"healed_at": EPOCH + 60, "converged_at": EPOCH + 65, **fields}
    return Observations("default", EPOCH, 30.0, changes=list(changes), **given)


def change(at: float, obj: Object, type_: Literal["ADDED", "MODIFIED", "DELETED"] = "MODIFIED") -> Change:
    return Change(EPOCH + at, type_, obj)


def member(ordinal: int, *, revision: str = "web-old", **fields: Any) -> Object:
    """A pod of the set, with its own claim."""
    claim = {"claimName": f"data-web-{ordinal}"}
    labels = {"app": "web", "controller-revision-hash": revision}
    spec = {"volumes": [{"name": "data", "persistentVolumeClaim": claim}]}
    return pod(f"web-{ordinal}", **({"labels": labels, "owner": SET, "spec": spec} | fields))


def sample(at: float, *processes: Process, seconds: float = 0.1) -> Sample:
    return Sample(EPOCH + at, EPOCH + at + seconds, processes)


def process(name: str, uid: str, node: str, *, since: float = 0.0, container: str = "main") -> Process:
    return Process(node, "default", name, uid, container, f"{uid}-{container}", 100, EPOCH + since)


def injected(at: float, until: float | None = None, **fields: Any) -> Injected:
    """A fault, or a deed, that lasts `until`; `forced` and `deleted` are uids."""
    uids = {key: fields.pop(key) for key in ("forced", "deleted", "error") if key in fields}
    return Injected("f1", fields, EPOCH + at, EPOCH + (at if until is None else until), **uids)


def write(entry: str, outcome: Literal["acknowledged", "refused", "unknown"] = "acknowledged", by: str = "") -> Write:
    """`web-0:7` was sent to web-0, which acknowledged it unless `by` says who did."""
    asked, _, number = entry.rpartition(":")
    at = EPOCH + float(number)
    return Write(entry, asked, at, at + 0.1, outcome, (by or asked) if outcome == "acknowledged" else "")


def journal(name: str, *entries: str, error: str = "") -> Journal:
    return Journal(name, EPOCH + 70, entries, error)

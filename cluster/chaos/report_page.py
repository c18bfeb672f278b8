"""A report as one HTML page that needs nothing else: no script, no font, no picture from anywhere.

    heading, verdict    timeline (SVG): a lane per node, pod, silent target, kind of fault    tables    evidence

A pure function of the report's document (report.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

Report = Mapping[str, Any]

WIDTH = 1000
LABEL_WIDTH = 150
LANE_HEIGHT = 20
COLOURS = {
    "ready": "#4c9f70", "not ready": "#c8553d", "starting": "#e0a458", "terminating": "#8d6a9f",
    "absent": "#c8553d", "scaled away": "#d9d9d9", "unanswered": "#c8553d", "fault": "#2f4858", "deed": "#5b8bb0",
}  # fmt: skip
MAX_EVIDENCE = 20_000
"""Characters of one violation's evidence on the page; the JSON document has all of it."""
MAX_VIOLATIONS = 100
"""Violations of one promise on the page."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px; padding: 0 1rem; color: #222; }
h1 { margin-bottom: 0; } h2 { margin-top: 2rem; } code, pre { font: 13px/1.4 ui-monospace, monospace; }
table { border-collapse: collapse; margin: .5rem 0; } td, th { padding: .2rem .8rem .2rem 0; text-align: left;
vertical-align: top; border-bottom: 1px solid #e5e5e5; } td.number { text-align: right; }
.held { color: #2e7d4f; font-weight: 600; } .broken { color: #b3261e; font-weight: 600; } .waived { color: #96690a; }
pre { background: #f6f6f6; padding: .6rem; overflow: auto; max-height: 30rem; } svg { width: 100%; height: auto; }
.legend span { display: inline-block; margin-right: 1rem; } .legend i { display: inline-block; width: .8rem;
height: .8rem; margin-right: .3rem; }
"""


def page_of(report: Report) -> str:
    """The page."""
    title = escape(f"{report['experiment']}, seed {report['seed']}")
    verdict = '<span class="held">every promise held</span>' if report["held"] else (
        '<span class="broken">a promise was broken</span>'
    )  # fmt: skip
    parts = [
        f"<h1>{title}</h1>",
        f"<p>{escape(report['describes'])}<br>{verdict}. {report['duration_seconds']:g} s of faults on cluster "
        f"{escape(report['cluster'])}, network {escape(report['network'])}; its long times are "
        f"{_scale(report['time_scale'])}.<br>"
        f"Again: <code>{escape(report['replay'])}</code></p>",
        "<h2>Promises</h2>", _verdicts(report["verdicts"]),
        "<h2>Timeline</h2>", _legend(), _timeline(report),
        "<h2>Counts</h2>", _counts(report["counts"]),
        "<h2>Availability</h2>", _availability(report["availability"]),
        "<h2>Time to detect and to recover</h2>", _percentiles(report["percentiles"]),
        "<h2>Faults and deeds</h2>", _faults(report["faults"]),
        _violations(report["verdicts"]),
    ]  # fmt: skip
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _scale(time_scale: float) -> str:
    return "as in Kubernetes" if time_scale == 1 else f"{time_scale:g} times shorter"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Texts that are not `_Raw` are escaped; numbers stand right."""
    heading = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f"<table><tr>{heading}</tr>{body}</table>"


class _Raw(str):
    """HTML already."""

    __slots__ = ()


def _cell(value: object) -> str:
    if isinstance(value, _Raw):
        return f"<td>{value}</td>"
    if isinstance(value, int | float):
        return f'<td class="number">{value if isinstance(value, int) else f"{value:.6g}"}</td>'
    return f"<td>{escape('' if value is None else str(value))}</td>"


def _verdicts(verdicts: list[Report]) -> str:
    rows = []
    for each in verdicts:
        waived = sum(bool(violation["waived"]) for violation in each["violations"])
        kind = "broken" if not each["held"] else "held" if each["judged"] else "waived"
        word = _Raw(f'<span class="{kind}">{escape(each["word"])}</span>')
        rows.append((each["oracle"], each["promise"], word, f"{waived} waived" if waived else "", each["judged"],
                     "; ".join(each["notes"])))  # fmt: skip
    return _table(("oracle", "promise", "verdict", "", "judged", ""), rows)


def _counts(counts: Mapping[str, int]) -> str:
    return _table(("", "count"), ((name.replace("_", " "), value) for name, value in counts.items()))


def _availability(rows: list[Report]) -> str:
    return _table(
        ("target", "probes", "answered %", "longest outage (s)"),
        ((row["target"], row["probes"], row["share"] * 100, row["longest_outage_seconds"]) for row in rows),
    )


def _percentiles(kinds: Mapping[str, Report]) -> str:
    names = ("p50", "p90", "p99", "max")
    head = ("fault", "count", *(f"detect {each}" for each in names), *(f"recover {each}" for each in names))
    rows = [
        (
            kind,
            row["count"],
            *(row["detect"].get(each) for each in names),
            *(row["recover"].get(each) for each in names),
        )
        for kind, row in kinds.items()
    ]
    return _table(head, rows)


def _faults(rows: list[Report]) -> str:
    head = ("from (s)", "to (s)", "what", "detected after (s)", "recovered after (s)", "not done because")
    keys = ("began_seconds", "ended_seconds", "words", "detected_seconds", "recovered_seconds", "error")
    return _table(head, (tuple(row[key] for key in keys) for row in rows))


def _violations(verdicts: list[Report]) -> str:
    parts = []
    for verdict in verdicts:
        parts += [_violation(verdict["oracle"], each) for each in verdict["violations"][:MAX_VIOLATIONS]]
        if more := len(verdict["violations"]) - MAX_VIOLATIONS:
            parts += [f"<p>{escape(verdict['oracle'])}: {more} more are in report.json</p>"] if more > 0 else []
    return "<h2>Violations and their evidence</h2>" + "".join(parts) if parts else ""


def _violation(oracle: str, violation: Report) -> str:
    mark = '<span class="broken">violation</span>'
    if violation["waived"]:
        mark = f'<span class="waived">waived: {escape(violation["waived"])}</span>'
    evidence = json.dumps(violation["evidence"], indent=1, ensure_ascii=False)
    if len(evidence) > MAX_EVIDENCE:
        evidence = f"{evidence[:MAX_EVIDENCE]}\n… the rest is in report.json"
    return (
        f"<p>{escape(oracle)} at {violation['at_seconds']:.2f} s, {mark}<br>{escape(violation['what'])}</p>"
        f"<details><summary>evidence</summary><pre>{escape(evidence)}</pre></details>"
    )


def _legend() -> str:
    shown = (f'<span><i style="background:{colour}"></i>{name}</span>' for name, colour in COLOURS.items())
    return f'<p class="legend">{"".join(shown)}</p>'


def _timeline(report: Report) -> str:
    timeline, faults = report["timeline"], [row for row in report["faults"] if not row["error"]]
    scale = _Scale(max(timeline["end_seconds"], 0.1))
    lanes = [_lane(lane, number, scale) for number, lane in enumerate(timeline["nodes"] + timeline["pods"])]
    silent = [{**lane, "name": f"silent: {lane['name']}"} for lane in timeline["silent"]]
    lanes += [_lane(lane, len(lanes) + number, scale) for number, lane in enumerate(silent)]
    kinds = list(dict.fromkeys(_kind(row) for row in faults))
    lanes += [_faults_of(kind, faults, len(lanes) + number, scale) for number, kind in enumerate(kinds)]
    height = (len(lanes) + 2) * LANE_HEIGHT
    return f'<svg viewBox="0 0 {WIDTH} {height}" font-size="11" font-family="sans-serif">' + "".join(
        [_axis(scale, timeline["healed_seconds"], height), *lanes]
    ) + "</svg>"  # fmt: skip


class _Scale:
    """From seconds to places on the page."""

    def __init__(self, end_seconds: float) -> None:
        self.end_seconds = end_seconds

    def place(self, seconds: float) -> float:
        inside = min(max(seconds, 0.0), self.end_seconds)
        return round(LABEL_WIDTH + inside / self.end_seconds * (WIDTH - LABEL_WIDTH), 1)


def _top(number: int) -> int:
    return (number + 1) * LANE_HEIGHT


def _label(text: str, number: int) -> str:
    return f'<text x="0" y="{_top(number) + 13}">{escape(text[:26])}<title>{escape(text)}</title></text>'


def _bar(scale: _Scale, since: float, until: float, *, number: int, colour: str, title: str) -> str:
    left, right = scale.place(since), scale.place(until)
    return (
        f'<rect x="{left}" y="{_top(number) + 3}" width="{max(right - left, 1.5):.1f}" height="{LANE_HEIGHT - 6}" '
        f'fill="{colour}"><title>{escape(title)}</title></rect>'
    )


def _lane(lane: Report, number: int, scale: _Scale) -> str:
    bars = [
        _bar(
            scale, span["since_seconds"], span["until_seconds"], number=number, colour=COLOURS[span["state"]],
            title=f"{lane['name']} {span['state']} from {span['since_seconds']} to {span['until_seconds']} s",
        )
        for span in lane["spans"]
        if span["until_seconds"] > 0
    ]  # fmt: skip
    return _label(lane["name"], number) + "".join(bars)


def _kind(row: Report) -> str:
    return str(row["what"].get("fault") or row["what"]["deed"])


def _faults_of(kind: str, rows: list[Report], number: int, scale: _Scale) -> str:
    """One lane for all of a kind; each bar says what it was."""
    bars = [
        _bar(
            scale, row["began_seconds"], row["ended_seconds"],
            number=number, colour=COLOURS["deed" if "deed" in row["what"] else "fault"],
            title=f"{row['words']} from {row['began_seconds']} to {row['ended_seconds']} s",
        )
        for row in rows
        if _kind(row) == kind
    ]  # fmt: skip
    return _label(kind, number) + "".join(bars)


def _axis(scale: _Scale, healed_seconds: float, height: int) -> str:
    step = next(each for each in (1, 2, 5, 10, 30, 60, 120, 300, 600, 3600, 86400) if scale.end_seconds / each <= 20)
    marks = [
        f'<line x1="{scale.place(at)}" y1="{LANE_HEIGHT}" x2="{scale.place(at)}" y2="{height}" stroke="#e5e5e5"/>'
        f'<text x="{scale.place(at)}" y="14">{at} s</text>'
        for at in range(0, int(scale.end_seconds) + 1, step)
    ]
    healed = scale.place(healed_seconds)
    return "".join(marks) + (
        f'<line x1="{healed}" y1="{LANE_HEIGHT}" x2="{healed}" y2="{height}" stroke="#4c9f70" stroke-dasharray="4 3">'
        "<title>the last fault was healed</title></line>"
    )

"""Figures and reports from observations by hand: what is measured from when, and a page that needs nothing else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest

from petset.cluster.chaos.experiments import load_experiment
from petset.cluster.chaos.measures import availability, percentiles, pod_lanes, reactions
from petset.cluster.chaos.observations import Observations, Probe
from petset.cluster.chaos.oracles import judge_all
from petset.cluster.chaos.report import report_of, write_report
from petset.cluster.chaos.run import Outcome, Plan
from tests.builders import EPOCH
from tests.unit.chaos.seen import SET, change, injected, journal, member, observations, process, sample, write

REPLAY = "petset chaos run pod-kill --seed 7 --duration 30 --cluster x"


def probes(target: str, answers: str) -> list[Probe]:
    """One probe a second; `.` is answered, `x` is not."""
    return [Probe(EPOCH + at, target, answer == ".", 0.1) for at, answer in enumerate(answers)]


@pytest.mark.parametrize(
    ("answers", "share", "longest"),
    [
        pytest.param("....", 1.0, 0.0, id="always"),
        pytest.param("..xx..x.", 4.1 / 7.1, 2.1, id="the longest of two outages"),
        pytest.param("..xx", 2 / 3.1, 1.1, id="an outage that does not end"),
        pytest.param("x", 0.0, 0.1, id="never"),
        pytest.param(".", 1.0, 0.0, id="once"),
    ],
)
def test_availability(answers: str, share: float, longest: float) -> None:
    [found] = availability(observations(probes=probes("web-0", answers)))
    assert (found.share, found.longest_outage_seconds) == pytest.approx((share, longest))


def test_a_probe_that_hangs_stands_for_the_time_in_which_no_other_was_sent() -> None:
    quick = [Probe(EPOCH + number / 4, "web-0", True, 0.01) for number in range(40)]
    hanging = [Probe(EPOCH + 10 + number, "web-0", False, 1.0) for number in range(10)]
    [found] = availability(observations(probes=[*quick, *hanging]))
    assert (found.share, found.probes, found.answered) == (pytest.approx(0.5), 50, 40)


def test_the_workloads_removal_is_no_trouble_and_no_outage() -> None:
    up = member(0, ready=True)
    seen = observations(
        change(0, up, "ADDED"), change(71, up, "DELETED"), removed_at=EPOCH + 70, samples=[sample(90)],
        injected=[injected(10, fault="kill", component="dns")],
    )  # fmt: skip
    [reaction] = reactions(seen)
    assert (reaction.detected_seconds, reaction.recovered_seconds) == (None, 0.0)
    [(_, spans)] = pod_lanes(seen)
    assert [span.state for span in spans] == ["ready"]


@pytest.mark.parametrize(
    ("fault", "detected", "recovered"),
    [
        pytest.param(injected(10, fault="kill-pod", pod="web-0"), 2.0, 15.0, id="an instant fault, from its injection"),
        pytest.param(injected(10, 20, fault="freeze-pod", pod="web-0"), 2.0, 5.0, id="a lasting one, from its heal"),
        pytest.param(injected(10, 30, fault="freeze-pod", pod="web-0"), 2.0, 0.0, id="whole before its heal"),
        pytest.param(injected(30, fault="kill", component="dns"), None, 0.0, id="nobody noticed"),
    ],
)
def test_time_to_detect_and_to_recover(fault: object, detected: float | None, recovered: float | None) -> None:
    up, down = member(0, ready=True), member(0)
    seen = observations(change(0, up, "ADDED"), change(12, down), change(25, up), injected=[fault])
    [reaction] = reactions(seen)
    assert (reaction.detected_seconds, reaction.recovered_seconds) == (detected, recovered)


def test_a_scaled_away_identity_is_nobodys_loss() -> None:
    smaller = {**SET, "spec": {**SET["spec"], "replicas": 0}}
    seen = observations(
        change(0, smaller, "ADDED"), change(1, member(0, ready=True), "ADDED"), change(9, member(0), "DELETED")
    )
    [(name, spans)] = pod_lanes(seen)
    assert name == "web-0"
    assert [(span.since - EPOCH, span.state) for span in spans] == [(1, "ready"), (9, "scaled away")]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        pytest.param([], {}, id="none"),
        pytest.param([3.0], {"p50": 3.0, "p90": 3.0, "p99": 3.0, "max": 3.0}, id="one"),
        pytest.param(
            [float(number) for number in range(100, 0, -1)], {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0},
            id="a hundred",
        ),
    ],
)  # fmt: skip
def test_percentiles_are_nearest_ranks(values: list[float], found: dict[str, float]) -> None:
    assert percentiles(values) == found


def outcome(seen: Observations) -> Outcome:
    experiment, objects = load_experiment("pod-kill")
    plan = Plan(experiment, objects, seed=7, duration_seconds=30.0, network="namespaces", namespace="default")
    return Outcome(plan, (), seen, judge_all(seen))


def eventful() -> Observations:
    """A killed pod, a refused fault, a lost write, an identity that ran twice by force and one that did by itself."""
    up, down = member(0, ready=True), member(0)
    twice = sample(9, process("web-0", "a", "node-1"), process("web-0", "b", "node-2", since=5))
    again = sample(9, process("web-1", "c", "node-1"), process("web-1", "d", "node-2", since=6))
    return observations(
        change(0, SET, "ADDED"), change(0, up, "ADDED"), change(12, down), change(14, up),
        samples=[twice, again],
        injected=[
            injected(10, fault="kill-pod", pod="web-0"),
            injected(3, deed="delete-pod", pod="web-0", forced=("a",)),
            injected(11, fault="cut", error="<not> on this network"),
        ],
        probes=probes("web-0", "." * 12 + "x" * 3 + "." * 10) + probes("service/web", "." * 25),
        writes=[write("web-0:1"), write("web-0:2"), write("web-0:3", "unknown"), write("web-0:4", "refused")],
        journals=[journal("web-0", "web-0:1")],
    )  # fmt: skip


def test_the_document_counts_and_carries_the_evidence() -> None:
    report = report_of(outcome(eventful()), cluster="x", replay=REPLAY)
    assert report["counts"] == {
        "faults": 1, "deeds": 1, "refused_steps": 1, "writes_acknowledged": 2, "writes_refused": 1, "writes_unknown": 1,
        "writes_lost": 1, "violations": 2, "waived": 1, "samples": 2, "changes": 4,
    }  # fmt: skip
    assert not report["held"]
    assert report["replay"] == REPLAY
    verdicts = {each["oracle"]: each for each in report["verdicts"]}
    assert not verdicts["identity"]["held"]
    evidence = verdicts["identity"]["violations"][0]["evidence"]
    assert len(evidence["processes"]) == 2
    assert evidence["processes_then"][0] == "node-1 default/web-0 uid a process 100 (main, running)"
    assert report["percentiles"]["kill-pod"]["detect"]["max"] == 2.0
    json.dumps(report)


class _Page(HTMLParser):
    """Every tag is closed, and nothing comes from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.foreign += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "onload")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    document, page = write_report(outcome(eventful()), tmp_path / "run", cluster="x", replay=REPLAY)
    assert json.loads(document.read_text())["seed"] == 7
    text = page.read_text()
    reader = _Page()
    reader.feed(text)
    assert reader.open == []
    assert reader.foreign == []
    assert "<script" not in text
    assert "&lt;not&gt; on this network" in text
    picture = re.search(r"<svg.*</svg>", text, re.DOTALL)
    assert picture is not None
    lanes = [each.text for each in ElementTree.fromstring(picture[0]).iter("text")]
    assert {"web-0", "silent: web-0"} <= {(lane or "").strip() for lane in lanes}


def test_hostile_names_are_shown_as_they_are_and_spoil_nothing(tmp_path: Path) -> None:
    hostile = "</pre><script>alert(1)</script>\udcff"
    lost = "\ud800" + "x" * 30_000
    seen = observations(
        change(0, SET, "ADDED"), leftovers=[hostile, lost], injected=[injected(1, fault="cut", to=hostile)]
    )
    document, page = write_report(outcome(seen), tmp_path, cluster=hostile, replay=hostile)
    assert json.loads(document.read_bytes())["cluster"] == hostile
    text = page.read_bytes().decode()
    reader = _Page()
    reader.feed(text)
    assert reader.open == []
    assert "<script" not in text
    assert "… the rest is in report.json" in text


@pytest.mark.parametrize("seed", range(5))
def test_any_run_makes_a_page(seed: int, tmp_path: Path) -> None:
    chance = Random(seed)
    changes = [change(at, member(chance.randrange(3), ready=chance.random() < 0.5)) for at in range(40)]
    faults = [injected(at, at + chance.randrange(9), fault="cut", to="<&>") for at in range(0, 40, 7)]
    seen = observations(*changes, injected=faults, converged_at=chance.choice([None, EPOCH + 61]))
    write_report(outcome(seen), tmp_path, cluster="x", replay=REPLAY)

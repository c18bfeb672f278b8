"""Experiment files: the shipped ones parse, garbage is told in one line, and the same seed is the same timetable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from petset.cluster.chaos import schedule
from petset.cluster.chaos.experiment import ExperimentError, parse_experiment
from petset.cluster.chaos.experiments import library_names, load_experiment
from petset.cluster.chaos.schedule import Inventory, Item, Step, plan_steps

NODES = tuple(Item(f"node-{number}") for number in (1, 2, 3))
PODS = tuple(Item(f"journal-{number}", {"app": "journal"}, f"data-journal-{number}") for number in range(3))
CLAIMS = tuple(Item(pod.claim, {"app": "journal"}) for pod in PODS)
INVENTORY = Inventory("ns", PODS, NODES, CLAIMS, (Item("journal"),))

MINIMAL: dict[str, Any] = {
    "name": "mine",
    "workload": "journal.workload.yaml",
    "duration_seconds": 30,
    "converge_seconds": 60,
    "method": [{"at_seconds": 1, "fault": {"fault": "kill", "component": "dns"}}],
}


def parsed(**changes: Any) -> Any:
    return parse_experiment(yaml.safe_dump({**MINIMAL, **changes}), "mine.yaml")


def step(**fields: Any) -> list[dict[str, Any]]:
    return [{"at_seconds": 1, **fields}]


KILL_POD = {"fault": "kill-pod", "pod": "$pod"}


@pytest.mark.parametrize("name", library_names())
def test_the_library_can_be_planned(name: str) -> None:
    experiment, objects = load_experiment(name)
    assert experiment.name == name
    assert {"StatefulSet", "Service"} <= {obj["kind"] for obj in objects}
    steps = plan_steps(experiment, INVENTORY, seed=1, duration_seconds=14)
    assert steps, "its short form does nothing"


def test_the_library_is_what_the_manual_lists() -> None:
    assert set(library_names()) == {
        "pod-kill", "kubelet-crashes", "node-power-off", "rack-power-off", "partition-heal", "split-brain",
        "api-crash-update", "controller-storm", "dns-outage", "slow-disk", "everything",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"colour": "red"}, "there is no field 'colour'; there are name, describes", id="unknown field"),
        pytest.param(
            {"method": [{"at_second": 1, "fault": {"fault": "kill", "component": "dns"}}]},
            "method 1: there is no field 'at_second' (is it at_seconds?); there are at_seconds, every_seconds",
            id="misspelt field",
        ),
        pytest.param(
            {"random": {"every_second": 1, "choices": []}}, "random: there is no field 'every_second' (is it every_",
            id="misspelt field by chance",
        ),
        pytest.param({"needs": {1: 2}}, "needs: there is no field 1; there are nodes", id="a field that is a number"),
        pytest.param({"name": None}, "name is missing", id="missing field"),
        pytest.param({"duration_seconds": "long"}, "duration_seconds is 'long'; a number from 0.1", id="no number"),
        pytest.param({"duration_seconds": True}, "duration_seconds is True", id="a boolean is no number"),
        pytest.param({"needs": {"network": "token ring"}}, "network is 'token ring'", id="unknown network"),
        pytest.param({"load": {"writers": 3}}, "load: there is no field 'writers'", id="unknown load"),
        pytest.param({"method": []}, "it does nothing", id="no method"),
        pytest.param({"method": ["kill"]}, "method 1: it is no mapping", id="a step that is a text"),
        pytest.param({"method": step()}, "method 1: give it one of fault and deed", id="an empty step"),
        pytest.param(
            {"method": step(fault={"fault": "explode"})}, "method 1: no fault 'explode'; there are kill-pod",
            id="unknown fault",
        ),
        pytest.param(
            {"method": step(fault={"fault": "kill-pod", "pod": "a", "size": 3})}, "kill-pod has no field 'size'",
            id="unknown field of a fault",
        ),
        pytest.param({"method": step(fault={"fault": "kill-pod"})}, "kill-pod needs pod", id="a fault without target"),
        pytest.param({"method": step(deed={"deed": "sing"})}, "no deed 'sing'; there are", id="unknown deed"),
        pytest.param(
            {"method": step(deed={"deed": "scale", "set": "a", "replicas": -1})}, "scale: replicas is -1", id="bad deed"
        ),
        pytest.param({"method": step(fault=KILL_POD)}, "nothing is selected that gives $pod", id="no selector"),
        pytest.param(
            {"method": step(select={"node": "any"}, fault=KILL_POD)}, "gives $pod; there are $node, $number, $name",
            id="a selector of something else",
        ),
        pytest.param(
            {"method": step(select={"planet": "any"}, fault=KILL_POD)}, "one of pod, node, claim is wanted",
            id="unknown selector",
        ),
        pytest.param(
            {"method": step(select={"pod": 3}, fault=KILL_POD)}, "any, each, a name, or labels are wanted",
            id="a selector that selects nothing",
        ),
        pytest.param(
            {"method": step(select={"pod": "any"}, fault=KILL_POD, for_seconds=3)}, "kill-pod is over at once",
            id="a duration of what is over at once",
        ),
        pytest.param(
            {"method": step(select={"pod": "any"}, fault={"fault": "freeze-pod", "pod": "$pod"}, for_seconds=[5, 2])},
            "for_seconds is [5, 2]", id="a range that ends before it begins",
        ),
        pytest.param({"random": {"every_seconds": 1, "choices": []}}, "random: choices is empty", id="no choices"),
        pytest.param({"random": {"choices": []}}, "random: every_seconds is missing", id="missing number"),
        pytest.param({"needs": {"nodes": 1.5}}, "needs: nodes is 1.5; a whole number is wanted", id="half a node"),
        pytest.param({"method": step(fault={})}, "method 1: no `fault` is named", id="an empty fault"),
        pytest.param(
            {"method": step(deed={"deed": "delete-pod", "pod": "../services/journal"})},
            "delete-pod: pod is '../services/journal'", id="a deed to what can have no name",
        ),
        pytest.param({"describes": "a\x1b[31m"}, "describes is 'a\\x1b[31m'; a line of text is wanted", id="an escape"),
        pytest.param({"name": "a\nb"}, "name is 'a\\nb'; a line of text is wanted", id="two lines"),
    ],
)  # fmt: skip
def test_garbage_is_told_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        parsed(**changes)
    text = str(caught.value)
    assert message in text
    assert text.startswith("mine.yaml: ")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: [", "is no YAML", id="broken"),
        pytest.param("name: 2026-13-01", "is no YAML: month must be", id="a date that cannot be"),
        pytest.param("[" * 500, "is no YAML", id="hundreds of brackets"),
        pytest.param("- 1", "it is no mapping", id="a list"),
        pytest.param("", "it is no mapping", id="empty"),
    ],
)
def test_a_file_that_is_no_experiment(text: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        parse_experiment(text, "mine.yaml")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({}, "there is no experiment and no file .*; the library has api-crash-update", id="no file"),
        pytest.param({"mine.yaml": yaml.safe_dump({**MINIMAL, "workload": "w.yaml"})}, "there is no workload w.yaml",
                     id="no workload"),
        pytest.param({"mine.yaml": yaml.safe_dump({**MINIMAL, "workload": "w.yaml"}), "w.yaml": "just text"},
                     "w.yaml: no Kubernetes objects", id="a workload of something else"),
        pytest.param({"mine.yaml": yaml.safe_dump({**MINIMAL, "workload": "w.yaml"}), "w.yaml": "a: [\n"},
                     "w.yaml: no Kubernetes objects", id="a workload that is no YAML"),
        pytest.param({"mine.yaml": yaml.safe_dump({**MINIMAL, "workload": "w.yaml"}), "w.yaml": "\xd9\xff"},
                     "w.yaml: no Kubernetes objects", id="a workload that is no text"),
        pytest.param({"mine.yaml": yaml.safe_dump({**MINIMAL, "workload": "w.yaml"}), "w.yaml": "x: 2026-13-01"},
                     "w.yaml: no Kubernetes objects: ValueError: month", id="a workload with an impossible date"),
        pytest.param({"mine.yaml": yaml.safe_dump({**MINIMAL, "workload": "w.yaml"}), "w.yaml": "---\n"},
                     "w.yaml: it is empty", id="a workload of nothing"),
        pytest.param({"mine.yaml": yaml.safe_dump({**MINIMAL, "workload": "w.yaml"}),
                      "w.yaml": "{kind: PersistentVolume, metadata: {name: disk}}"},
                     "w.yaml: a PersistentVolume belongs to no namespace", id="what the removal would not remove"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_loaded(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="latin-1")
    with pytest.raises(ExperimentError, match=message):
        load_experiment(str(tmp_path / "mine.yaml"))


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(ExperimentError, match="cannot read xxx"):
        load_experiment("x" * 5000)


@pytest.mark.parametrize("name", ["everything", "pod-kill"])
def test_the_same_seed_is_the_same_timetable_and_another_is_not(name: str) -> None:
    experiment, _ = load_experiment(name)

    def plan(seed: int) -> tuple[Step, ...]:
        return plan_steps(experiment, INVENTORY, seed=seed, duration_seconds=120)

    assert plan(1) == plan(1)
    assert plan(1) != plan(2)


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    experiment, _ = load_experiment("everything")
    short = plan_steps(experiment, INVENTORY, seed=3, duration_seconds=60)
    long = plan_steps(experiment, INVENTORY, seed=3, duration_seconds=1200)
    assert long[: len(short)] == short


def test_something_happens_in_every_run_however_short() -> None:
    experiment, _ = load_experiment("everything")
    for seed in range(100):
        steps = plan_steps(experiment, INVENTORY, seed=seed, duration_seconds=2)
        assert steps[0].at_seconds < 2


def test_no_more_faults_last_at_a_time_than_allowed() -> None:
    experiment, _ = load_experiment("everything")
    assert experiment.by_chance is not None
    steps = plan_steps(experiment, INVENTORY, seed=5, duration_seconds=1200)
    spans = [(each.at_seconds, each.at_seconds + each.mapping.get("for_seconds", 0.0)) for each in steps]
    for at, _ in spans:
        assert sum(since <= at < until for since, until in spans) <= experiment.by_chance.at_most


def test_what_lasts_until_the_end_counts_among_those_at_a_time() -> None:
    choices = [{"fault": {"fault": "stop", "component": name}} for name in ("dns", "controller")]
    experiment = parsed(method=None, random={"every_seconds": 1, "at_most": 1, "choices": choices})
    assert len(plan_steps(experiment, INVENTORY, seed=1, duration_seconds=30)) == 1


def test_each_takes_one_after_the_other_again_and_again() -> None:
    fault = {"fault": "kill", "component": "kubelet-$number"}
    experiment = parsed(method=[{"at_seconds": 2, "every_seconds": 5, "select": {"node": "each"}, "fault": fault}])
    steps = plan_steps(experiment, INVENTORY, seed=1, duration_seconds=30)
    assert [(each.at_seconds, each.mapping["component"]) for each in steps] == [
        (2, "kubelet-1"), (7, "kubelet-2"), (12, "kubelet-3"), (17, "kubelet-1"), (22, "kubelet-2"), (27, "kubelet-3"),
    ]  # fmt: skip


def test_a_fault_gets_the_workloads_namespace_and_its_pods_claim() -> None:
    method = step(select={"pod": "journal-1"}, fault={"fault": "fill-disk", "claim": "$claim"}, for_seconds=4)
    [only] = plan_steps(parsed(method=method), INVENTORY, seed=1, duration_seconds=30)
    assert only.mapping == {"fault": "fill-disk", "claim": "data-journal-1", "namespace": "ns", "for_seconds": 4}


def test_a_pod_at_an_end_of_a_network_fault_is_the_workloads() -> None:
    fault = {"fault": "cut", "from": "pod/$pod", "to": "pod/other/journal-1"}
    [only] = plan_steps(
        parsed(method=step(select={"pod": "journal-2"}, fault=fault)), INVENTORY, seed=1, duration_seconds=9
    )
    assert (only.mapping["from"], only.mapping["to"]) == ("pod/ns/journal-2", "pod/other/journal-1")


def test_the_node_of_a_pod_is_filled_in_when_its_time_comes() -> None:
    method = step(select={"pod": "journal-1"}, fault={"fault": "cut", "from": "node/$node", "to": "everything"})
    [only] = plan_steps(parsed(method=method), INVENTORY, seed=1, duration_seconds=30)
    assert only.is_late
    assert only.pod == "journal-1"
    assert only.at_its_place("node-3")["from"] == "node/node-3"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"fault": {"fault": "kill-pod", "pod": "journal-9"}},
                     "there is no pod 'journal-9'; there are journal-0, journal-1, journal-2", id="pod"),
        pytest.param({"fault": {"fault": "power-off", "node": "node-7"}}, "there is no node 'node-7'", id="node"),
        pytest.param({"fault": {"fault": "fill-disk", "claim": "other"}}, "there is no claim 'other'", id="claim"),
        pytest.param({"fault": {"fault": "kill", "component": "kubelet-8"}}, "there is no kubelet-8", id="component"),
        pytest.param({"fault": {"fault": "cut", "from": "node/node-9", "to": "everything"}}, "there is no node/node-9",
                     id="endpoint"),
        pytest.param({"select": {"pod": {"app": "other"}}, "fault": KILL_POD}, "no pod is app=other", id="labels"),
        pytest.param({"select": {"pod": "web-0"}, "fault": KILL_POD}, "no pod is web-0", id="selected name"),
        pytest.param({"deed": {"deed": "delete-pod", "pod": "web-0"}}, "there is no pod 'web-0'", id="deed"),
        pytest.param({"deed": {"deed": "restart", "set": "web"}}, "there is no set 'web'; there are journal", id="set"),
        pytest.param({"at_seconds": 30, "fault": {"fault": "kill", "component": "dns"}},
                     "mine: nothing happens within 30 s, nothing is proved", id="a step after the end"),
        pytest.param({"every_seconds": 0.1, "fault": {"fault": "kill", "component": "dns"}},
                     "mine: more than 200 steps", id="too many steps"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_before_anything_is_injected(
    fields: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "MAX_STEPS", 200)
    with pytest.raises(ExperimentError, match=message):
        plan_steps(parsed(method=step(**fields)), INVENTORY, seed=1, duration_seconds=30)

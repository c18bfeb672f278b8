"""What is a fault, and what is said of a mapping that is none."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.chaos.errors import BadFault
from petset.cluster.chaos.faults import FAULTS, Endpoint, Fault, fault_from_words, faults_from_yaml, parse_endpoint
from petset.cluster.chaos.faults import parse_fault as parse

EVERY_KIND: tuple[dict[str, Any], ...] = (
    {"fault": "kill-pod", "pod": "kubia-0", "signal": "TERM", "container": "main"},
    {"fault": "freeze-pod", "pod": "kubia-0", "namespace": "shop", "for_seconds": 5},
    {"fault": "kill", "component": "controller"},
    {"fault": "freeze", "component": "kubelet-2"},
    {"fault": "stop", "component": "service-proxy-1"},
    {"fault": "power-off", "node": "node-2"},
    {"fault": "cut", "from": "node/node-1", "to": "everything", "one_way": True},
    {"fault": "loss", "from": "pod/kubia-0", "to": "dns", "share": 0.3},
    {"fault": "delay", "from": "pod/shop/cart", "to": "api-server", "delay_ms": 50, "jitter_ms": 5},
    {"fault": "bandwidth", "from": "node/node-1", "to": "node/node-2", "kbit_per_second": 512},
    {"fault": "fill-disk", "claim": "data-kubia-0"},
    {"fault": "read-only-disk", "claim": "data-kubia-0"},
    {"fault": "fail-fsync", "claim": "data-kubia-0"},
    {"fault": "slow-fsync", "claim": "data-kubia-0", "delay_ms": 200},
    {"fault": "skew-clock", "node": "node-1", "seconds": -3600},
    {"fault": "delay-watch", "controller": "statefulset-controller", "seconds": 2},
    {"fault": "duplicate-watch", "controller": "kubelet-1"},
    {"fault": "drop-watch", "controller": "controller", "share": 1},
)


def test_the_examples_here_are_all_kinds() -> None:
    assert [each["fault"] for each in EVERY_KIND] == [*FAULTS]


@pytest.mark.parametrize("mapping", EVERY_KIND, ids=lambda mapping: mapping["fault"])
def test_a_fault_survives_being_written_down(mapping: dict[str, Any]) -> None:
    fault = parse(mapping)
    assert parse(fault.as_json()) == fault
    assert fault.as_json().items() >= mapping.items()


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        pytest.param([], "a fault is a mapping", id="no mapping"),
        pytest.param({}, "no `fault` is named; there are kill-pod,", id="no kind"),
        pytest.param({"fault": "explode"}, "no fault 'explode'; there are kill-pod,", id="unknown kind"),
        pytest.param({"fault": ["kill"]}, r"no fault \['kill'\]", id="a kind that is no text"),
        pytest.param({"fault": "kill-pod"}, "kill-pod needs pod", id="missing field"),
        pytest.param(
            {"fault": "stop", "component": "dns", "when": 3},
            "stop has no field 'when'; it has component, for_seconds",
            id="unknown field",
        ),
        pytest.param(
            {"fault": "kill", "component": "dns", "for_seconds": 3},
            "kill has no field",
            id="instant faults do not last",
        ),
        pytest.param({"fault": "kill-pod", "pod": 7}, "kill-pod: pod is 7; give a name", id="wrong type"),
        pytest.param({"fault": "kill-pod", "pod": "a/b"}, "give a name of lower-case", id="a name that cannot be"),
        pytest.param({"fault": "kill-pod", "pod": "a", "signal": "BOOM"}, "give a signal: KILL", id="no such signal"),
        pytest.param({"fault": "kill-pod", "pod": "a", "signal": True}, "give a signal: KILL", id="true is no signal"),
        pytest.param({"fault": "kill-pod", "pod": "a", "signal": "STOP"}, "freeze-pod stops it", id="nothing to heal"),
        pytest.param({"fault": "kill", "component": "scheduler"}, "give api-server, controller,", id="no component"),
        pytest.param({"fault": "power-off", "node": "kubelet-1"}, "give a node: node-1", id="no node"),
        pytest.param({"fault": "loss", "from": "dns", "to": "pod/a", "share": 1.5}, "from 0 to 1", id="share above 1"),
        pytest.param({"fault": "loss", "from": "dns", "to": "pod/a", "share": 0}, "share above 0", id="share of 0"),
        pytest.param(
            {"fault": "cut", "from": "node-1", "to": "dns"}, "cut: from is 'node-1'; give node/node-1", id="no endpoint"
        ),
        pytest.param({"fault": "cut", "from": "dns", "to": "pod/a/b/c"}, "give node/node-1", id="too many names"),
        pytest.param(
            {"fault": "cut", "from": "dns", "to": "pod/a", "one_way": "yes"}, "true or false", id="a yes in words"
        ),
        pytest.param({"fault": "freeze", "component": "dns", "for_seconds": -1}, "from 0 to", id="negative duration"),
        pytest.param(
            {"fault": "freeze", "component": "dns", "for_seconds": float("nan")}, "from 0 to", id="not a number"
        ),
    ],
)
def test_a_bad_fault_is_named_in_one_line(mapping: object, said: str) -> None:
    with pytest.raises(BadFault, match=said) as error:
        parse(mapping)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["TERM", "SIGTERM", "sigterm", 15, "15"], ids=str)
def test_a_signal_has_many_names_and_is_kept_by_one(value: object) -> None:
    assert parse({"fault": "kill-pod", "pod": "a", "signal": value})["signal"] == "TERM"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        pytest.param(
            ["freeze-pod", "pod=1", "for_seconds=2.5"],
            {"fault": "freeze-pod", "pod": "1", "namespace": "default", "for_seconds": 2.5},
            id="names stay text, numbers become numbers",
        ),
        pytest.param(
            ["cut", "from=node/node-1", "to=dns", "one_way=true"],
            {"fault": "cut", "from": "node/node-1", "to": "dns", "one_way": True},
            id="true is true",
        ),
    ],
)
def test_faults_of_the_command_line(words: list[str], fault: dict[str, Any]) -> None:
    assert fault_from_words(words[0], words[1:]) == parse(fault)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["pod"], "'pod': give fields as NAME=VALUE", id="no value"),
        pytest.param(["pod=a", "pod=b"], "pod is given twice", id="twice"),
        pytest.param(["pod=a", "for_seconds=["], "no value", id="garbage"),
        pytest.param(["pod=a", "for_seconds=2026-13-01"], "no value", id="a date that cannot be"),
    ],
)
def test_bad_words(words: list[str], said: str) -> None:
    with pytest.raises(BadFault, match=said):
        fault_from_words("freeze-pod", words)


def test_a_file_holds_documents_and_lists_of_faults() -> None:
    text = "fault: stop\ncomponent: dns\n---\n- {fault: kill, component: dns}\n- {fault: kill, component: controller}\n"
    assert [fault.kind for fault in faults_from_yaml(text)] == ["stop", "kill", "kill"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "no fault in it", id="empty"),
        pytest.param("{", "no YAML", id="no YAML"),
        pytest.param("3", "a fault is a mapping", id="a number"),
    ],
)
def test_a_bad_file(text: str, said: str) -> None:
    with pytest.raises(BadFault, match=said):
        faults_from_yaml(text)


def test_endpoints() -> None:
    assert parse_endpoint("node/node-2") == Endpoint("node", "node-2")
    assert parse_endpoint("pod/kubia-0") == Endpoint("pod", "kubia-0", "default")
    assert parse_endpoint("pod/shop/cart") == Endpoint("pod", "cart", "shop")
    assert [parse_endpoint(name).kind for name in ("api-server", "everything")] == ["api-server", "everything"]


def test_an_absent_option_is_none() -> None:
    fault: Fault = parse({"fault": "stop", "component": "dns"})
    assert (fault["for_seconds"], fault.for_seconds, fault.is_instant) == (None, None, False)

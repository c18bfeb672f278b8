from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.kubelet.probes import ContainerProbes, ProbeKind, new_probes
from tests.unit.kubelet.builders import T0, container

PROBE = {"tcpSocket": {"port": 80}}


def probes(**fields: Any) -> ContainerProbes:
    return new_probes(container(**fields), "main-0", started_at=T0)


def answers(state: ContainerProbes, kind: ProbeKind, *series: bool | None) -> ContainerProbes:
    for good in series:
        state = state.asked(kind, T0).answered(kind, good=good)
    return state


def test_without_probes_a_container_is_started_ready_and_alive() -> None:
    state = probes()
    assert (state.started, state.ready, state.failed, state.next_at(terminating=False)) == (True, True, None, None)


@pytest.mark.parametrize(
    ("series", "ready"),
    [
        pytest.param([], False, id="not ready before any answer"),
        pytest.param([True], False, id="one success below the threshold"),
        pytest.param([True, True], True, id="successThreshold reached"),
        pytest.param([True, False, True], False, id="a failure breaks the row"),
        pytest.param([True, True, False, False], True, id="failures below failureThreshold"),
        pytest.param([True, True, False, False, False], False, id="failureThreshold reached"),
        pytest.param(
            [True, True, False, None, False, None], True, id="a probe that could not be made counts for nothing"
        ),
    ],
)
def test_readiness_turns_at_its_thresholds(series: list[bool | None], ready: bool) -> None:
    state = probes(readinessProbe={"successThreshold": 2, "failureThreshold": 3})
    assert answers(state, "readiness", *series).ready is ready


@pytest.mark.parametrize(
    ("kind", "series", "failed"),
    [
        pytest.param("liveness", [], None, id="alive before any answer"),
        pytest.param("liveness", [False, False], None, id="two failures of three"),
        pytest.param("liveness", [False, False, False], "liveness", id="three failures"),
        pytest.param("startup", [], None, id="starting is not failing"),
        pytest.param("startup", [False, False], None, id="startup fails below its threshold"),
        pytest.param("startup", [False, False, False], "startup", id="startup gives up"),
    ],
)
def test_a_failed_probe_condemns_the_container(kind: ProbeKind, series: list[bool], failed: ProbeKind | None) -> None:
    assert answers(probes(**{f"{kind}Probe": PROBE}), kind, *series).failed == failed


def test_the_first_probe_waits_for_the_initial_delay_and_the_next_for_the_period() -> None:
    state = probes(readinessProbe={"initialDelaySeconds": 4, "periodSeconds": 3})
    assert state.due(T0 + 3.9, terminating=False) == []
    assert state.due(T0 + 4, terminating=False) == ["readiness"]
    asked = state.asked("readiness", T0 + 4)
    assert asked.due(T0 + 99, terminating=False) == []
    assert asked.answered("readiness", good=True).next_at(terminating=False) == T0 + 7


def test_other_probes_wait_until_startup_has_succeeded() -> None:
    state = probes(startupProbe=PROBE, readinessProbe=PROBE, livenessProbe=PROBE)
    assert state.due(T0, terminating=False) == ["startup"]
    started = answers(state, "startup", True)
    assert started.due(T0, terminating=False) == ["readiness", "liveness"]
    assert not started.ready


def test_a_terminating_container_is_asked_for_readiness_only() -> None:
    assert probes(readinessProbe=PROBE, livenessProbe=PROBE).due(T0, terminating=True) == ["readiness"]


@pytest.mark.parametrize(
    ("container_id", "ready"),
    [
        pytest.param("petset://main-0", True, id="the same attempt stays ready"),
        pytest.param("petset://main-1", False, id="another attempt begins anew"),
    ],
)
def test_an_adopted_container_keeps_what_the_api_server_knows(container_id: str, ready: bool) -> None:
    known = {"containerID": container_id, "ready": True, "started": True}
    spec = container(readinessProbe=PROBE, startupProbe=PROBE)
    assert new_probes(spec, "main-0", started_at=T0, known=known).ready is ready

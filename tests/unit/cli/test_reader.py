"""How the commands read nodes and pods, against answers as the API gives them."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.cli.lifecycle import short_age
from petset.cluster.cli.reader import Pod, pod_from_object


def pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": "kubia-0"},
        "spec": {"nodeName": "node-1"},
        "status": {"podIP": "10.1.2.3", **status},
    }


@pytest.mark.parametrize(
    ("item", "status", "ready"),
    [
        pytest.param(pod(), "Pending", False, id="no-phase-yet"),
        pytest.param(pod(phase="Running"), "Running", False, id="running-not-ready"),
        pytest.param(
            pod(phase="Running", conditions=[{"type": "Ready", "status": "True"}]), "Running", True, id="ready"
        ),
        pytest.param(
            pod(phase="Pending", containerStatuses=[{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]),
            "ImagePullBackOff",
            False,
            id="what-a-container-waits-for",
        ),
        pytest.param(
            pod(phase="Running") | {"metadata": {"name": "kubia-0", "namespace": "default", "deletionTimestamp": "t"}},
            "Terminating",
            False,
            id="being-deleted",
        ),
    ],
)
def test_pod_status_is_what_kubectl_shows(item: dict[str, Any], status: str, ready: bool) -> None:
    assert pod_from_object(item) == Pod("default", "kubia-0", "node-1", "10.1.2.3", status, ready)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (-3, "0s"), (59, "59s"), (61, "1m"), (3600, "1h"), (86399, "23h"), (200_000, "2d")],
)
def test_ages_are_shown_by_the_largest_unit(seconds: float, text: str) -> None:
    assert short_age(seconds) == text

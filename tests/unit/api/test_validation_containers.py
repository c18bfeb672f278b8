"""What a container may not say: each rule refused with Kubernetes' words, and its harmless neighbour accepted."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.validation_containers import validate_contents

PATH = "spec.containers[0]"
REGULAR = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no-quantity", {"resources": {"requests": {"cpu": "lots"}}},
     f'resources.requests[cpu]: Invalid value: "lots": {REGULAR}'),
    ("negative", {"resources": {"limits": {"cpu": "-2"}}},
     'resources.limits[cpu]: Invalid value: "-2": must be greater than or equal to 0'),
    ("request-over-limit", {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}},
     'resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1500m'),
    ("nameless-variable", {"env": [{"value": "a"}]}, "env[0].name: Required value"),
    ("variable-with-equals", {"env": [{"name": "A"}, {"name": "1=2"}]},
     "env[1].name: Invalid value: \"1=2\": a valid environment variable name must consist only of printable ASCII "
     "characters other than '='"),
    ("no-mount-path", {"volumeMounts": [{"name": "d"}]}, "volumeMounts[0].mountPath: Required value"),
    ("sub-path-up", {"volumeMounts": [{"name": "d", "mountPath": "/a", "subPath": "b/../../etc"}]},
     "volumeMounts[0].subPath: Invalid value: \"b/../../etc\": must not contain '..'"),
    ("absolute-sub-path", {"volumeMounts": [{"name": "d", "mountPath": "/a", "subPathExpr": "/etc"}]},
     'volumeMounts[0].subPathExpr: Invalid value: "/etc": must be a relative path'),
    ("probe-without-handler", {"readinessProbe": {"periodSeconds": 5}},
     "readinessProbe: Required value: must specify a handler type"),
    ("pull-policy", {"imagePullPolicy": "Maybe"},
     'imagePullPolicy: Unsupported value: "Maybe": supported values: "Always", "IfNotPresent", "Never"'),
]  # fmt: skip


@pytest.mark.parametrize(("container", "text"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_refused(container: dict[str, Any], text: str) -> None:
    assert [str(error) for error in validate_contents(container, PATH)] == [f"{PATH}.{text}"]


@pytest.mark.parametrize(
    "container",
    [
        pytest.param({}, id="nothing-said"),
        pytest.param({"resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": "1"}}}, id="as-much-as"),
        pytest.param({"env": [{"name": "a.b-C 1"}]}, id="printable-variable"),
        pytest.param({"volumeMounts": [{"name": "d", "mountPath": "/a", "subPath": "..a/b.."}]}, id="dots-in-names"),
        pytest.param({"livenessProbe": {"tcpSocket": {"port": 80}}, "imagePullPolicy": "Never"}, id="with-handler"),
    ],
)
def test_accepted(container: dict[str, Any]) -> None:
    assert validate_contents(container, PATH) == []

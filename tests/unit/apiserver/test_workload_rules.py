"""Defaults and rules of Deployment, ReplicaSet, ReplicationController and PodDisruptionBudget, through the API."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.errors import Invalid
from tests.apis import causes, new_api
from tests.builders import LABELS, pod_template


def workload(kind: str, **spec: Any) -> dict[str, Any]:
    """A valid object of one of the kinds, as a user would write it, with changes to its spec."""
    selector: Any = LABELS if kind == "ReplicationController" else {"matchLabels": LABELS}
    own = {"selector": copy.deepcopy(selector)}
    if kind != "PodDisruptionBudget":
        own["template"] = pod_template()
    group = {"ReplicationController": "v1", "PodDisruptionBudget": "policy/v1"}.get(kind, "apps/v1")
    meta = {"name": "web", "namespace": "default"}
    merged = {name: value for name, value in {**own, **spec}.items() if value is not None}
    return {"apiVersion": group, "kind": kind, "metadata": meta, "spec": merged}


DEFAULTS: list[tuple[str, dict[str, Any], str, Any]] = [
    ("Deployment", {}, "replicas", 1),
    ("Deployment", {"replicas": 0}, "replicas", 0),
    ("Deployment", {}, "revisionHistoryLimit", 10),
    ("Deployment", {}, "progressDeadlineSeconds", 600),
    ("Deployment", {}, "strategy",
     {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}),
    ("Deployment", {"strategy": {"rollingUpdate": {"maxSurge": 1}}}, "strategy",
     {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 1}}),
    ("Deployment", {"strategy": {"type": "Recreate"}}, "strategy", {"type": "Recreate"}),
    ("ReplicaSet", {}, "replicas", 1),
    ("ReplicationController", {}, "replicas", 1),
    ("ReplicationController", {"selector": None}, "selector", LABELS),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spec", "field", "expected"), DEFAULTS, ids=lambda each: str(each)[:40])
async def test_defaults(kind: str, spec: dict[str, Any], field: str, expected: Any) -> None:
    stored = await LoopbackClient(await new_api()).create(workload(kind, **spec))
    assert stored["spec"][field] == expected
    assert stored["metadata"]["generation"] == 1
    assert stored["spec"]["template"]["spec"]["restartPolicy"] == "Always"


NEVER = pod_template(restartPolicy="Never")
DEADLINE = pod_template(activeDeadlineSeconds=5)
OTHER = {"matchLabels": {"app": "other"}}
ROLLING = "spec.strategy.rollingUpdate"

REFUSED: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("rs-negative", "ReplicaSet", {"replicas": -1}, "spec.replicas", "must be greater than or equal to 0"),
    ("rs-empty-selector", "ReplicaSet", {"selector": {}}, "spec.selector", "empty selector is invalid for deployment"),
    ("rs-no-selector", "ReplicaSet", {"selector": None}, "spec.selector", "Required value"),
    ("rs-other-selector", "ReplicaSet", {"selector": OTHER}, "spec.template.metadata.labels",
     "`selector` does not match template `labels`"),
    ("rs-restart", "ReplicaSet", {"template": NEVER}, "spec.template.spec.restartPolicy", '"Always"'),
    ("rs-deadline", "ReplicaSet", {"template": DEADLINE}, "spec.template.spec.activeDeadlineSeconds",
     "activeDeadlineSeconds in ReplicaSet is not Supported"),
    ("rs-no-container", "ReplicaSet", {"template": {"metadata": {"labels": LABELS}, "spec": {"containers": []}}},
     "spec.template.spec.containers", "Required value"),
    ("rc-no-template", "ReplicationController", {"template": None}, "spec.template", "Required value"),
    ("rc-other-selector", "ReplicationController", {"selector": {"app": "other"}}, "spec.template.metadata.labels",
     "`selector` does not match template `labels`"),
    ("deploy-min-ready", "Deployment", {"minReadySeconds": -1}, "spec.minReadySeconds",
     "must be greater than or equal to 0"),
    ("deploy-history", "Deployment", {"revisionHistoryLimit": -1}, "spec.revisionHistoryLimit",
     "must be greater than or equal to 0"),
    ("deploy-deadline", "Deployment", {"progressDeadlineSeconds": 0}, "spec.progressDeadlineSeconds",
     "must be greater than minReadySeconds"),
    ("deploy-type", "Deployment", {"strategy": {"type": "OnDelete"}}, "spec.strategy.type",
     'supported values: "Recreate", "RollingUpdate"'),
    ("deploy-recreate-rolls", "Deployment", {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}},
     ROLLING, "may not be specified when strategy `type` is 'Recreate'"),
    ("deploy-nothing-moves", "Deployment", {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
     f"{ROLLING}.maxUnavailable", "may not be 0 when `maxSurge` is 0"),
    ("deploy-more-than-all", "Deployment", {"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
     f"{ROLLING}.maxUnavailable", "must not be greater than 100%"),
    ("deploy-no-percentage", "Deployment", {"strategy": {"rollingUpdate": {"maxSurge": "half"}}},
     f"{ROLLING}.maxSurge", "(e.g. '1%',  or '93%')"),
    ("pdb-both", "PodDisruptionBudget", {"minAvailable": 1, "maxUnavailable": 1}, "spec",
     "minAvailable and maxUnavailable cannot be both set"),
    ("pdb-negative", "PodDisruptionBudget", {"minAvailable": -1}, "spec.minAvailable",
     "must be greater than or equal to 0"),
    ("pdb-more-than-all", "PodDisruptionBudget", {"maxUnavailable": "200%"}, "spec.maxUnavailable",
     "must not be greater than 100%"),
    ("pdb-policy", "PodDisruptionBudget", {"unhealthyPodEvictionPolicy": "Never"}, "spec.unhealthyPodEvictionPolicy",
     'supported values: "AlwaysAllow", "IfHealthyBudget"'),
    ("pdb-operator", "PodDisruptionBudget", {"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
     "spec.selector", "is not a valid label selector operator"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spec", "field", "text"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
async def test_refused(kind: str, spec: dict[str, Any], field: str, text: str) -> None:
    with pytest.raises(Invalid) as refused:
        await LoopbackClient(await new_api()).create(workload(kind, **spec))
    [(where, message)] = causes(refused.value.details)
    assert where == field
    assert message.endswith(text)


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet"])
async def test_a_selector_is_chosen_once(kind: str) -> None:
    client = LoopbackClient(await new_api())
    stored = copy.deepcopy(await client.create(workload(kind)))
    stored["spec"]["selector"] = {"matchLabels": {"tier": "a"}}
    stored["spec"]["template"]["metadata"]["labels"] = {"tier": "a"}
    with pytest.raises(Invalid) as refused:
        await client.update(stored)
    [(where, message)] = causes(refused.value.details)
    assert (where, message.endswith("field is immutable")) == ("spec.selector", True)


async def test_the_selector_of_a_replicationcontroller_may_change() -> None:
    client = LoopbackClient(await new_api())
    stored = copy.deepcopy(await client.create(workload("ReplicationController")))
    stored["spec"]["selector"] = {"tier": "a"}
    stored["spec"]["template"]["metadata"]["labels"] = {"tier": "a"}
    assert (await client.update(stored))["metadata"]["generation"] == 2

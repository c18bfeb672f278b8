"""The registry against the official definitions: every stable kind is served, under its own schema."""

from __future__ import annotations

import pytest

from petset.cluster.api.kinds import BUILT_IN, REVIEWS, VIEWS, Kind, Registry
from petset.cluster.api.schema import load_schemas
from petset.cluster.api.versions import in_version

NOT_SERVED = {
    "Binding": "a subresource of pods",
    "ComponentStatus": "deprecated since 1.19",
    "Status": "an answer",
    "Scale": "a subresource",
    "Eviction": "a subresource of pods",
    "TokenRequest": "a subresource of ServiceAccounts",
}
ROWS = [*BUILT_IN, *VIEWS, *REVIEWS]


def test_every_stable_kind_of_the_definitions_is_served() -> None:
    stable = {
        (row["group"], row["version"], row["kind"])
        for definition in load_schemas().definitions.values()
        for row in definition.get("x-kubernetes-group-version-kind") or []
        if row["version"] in ("v1", "v2") and "metadata" in definition.get("properties", {})
        if not row["kind"].endswith("List") and row["kind"] not in ("DeleteOptions", *NOT_SERVED)
    }
    served = {(kind.group, kind.version, kind.kind) for kind in ROWS}
    assert sorted(stable - served) == []
    assert sorted(served - stable) == []


@pytest.mark.parametrize("kind", ROWS, ids=lambda kind: f"{kind.api_version} {kind.kind}")
def test_a_row_agrees_with_its_definition(kind: Kind) -> None:
    name = load_schemas().definition_name(kind)
    assert name is not None
    properties = load_schemas().definitions[name]["properties"]
    if kind.status:
        assert "status" in properties
    assert kind.plural == kind.plural.lower()


def test_stored_kinds_have_names_of_their_own() -> None:
    """The control-loop kit names kinds by their `kind` alone."""
    names = [kind.kind for kind in BUILT_IN]
    assert len(names) == len(set(names))
    assert Registry().of_kind("Event").api_version == "v1"
    assert Registry().of_kind("HorizontalPodAutoscaler").api_version == "autoscaling/v2"


class TestVersions:
    def test_an_event_there_and_back(self) -> None:
        event = {
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "a"}, "involvedObject": {"name": "p"},
            "message": "text", "count": 2, "source": {"component": "kubelet"},
        }  # fmt: skip
        shown = in_version(event, "events.k8s.io/v1")
        assert (shown["note"], shown["regarding"], shown["deprecatedCount"]) == ("text", {"name": "p"}, 2)
        assert in_version(shown, "v1") == event

    def test_an_autoscaler_there_and_back(self) -> None:
        old = {
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50},
        }  # fmt: skip
        new = in_version(old, "autoscaling/v2")
        assert new["spec"]["metrics"] == [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
            }
        ]
        assert in_version(new, "autoscaling/v1") == old

    def test_the_same_version_is_the_same_object(self) -> None:
        obj = {"apiVersion": "v1", "kind": "Pod"}
        assert in_version(obj, "v1") is obj

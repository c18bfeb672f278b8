"""The patch rules of the official definitions, and of every form that a definition can have."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.patch_schema import DefinitionsPatchSchema
from petset.cluster.api.schema import load_schemas

DEFINITIONS = load_schemas().definitions
POD = DefinitionsPatchSchema(DEFINITIONS, "io.k8s.api.core.v1.Pod")
STATEFUL_SET = DefinitionsPatchSchema(DEFINITIONS, "#/$defs/io.k8s.api.apps.v1.StatefulSet")
DEPLOYMENT = DefinitionsPatchSchema(DEFINITIONS, "io.k8s.api.apps.v1.Deployment")
BUDGET = DefinitionsPatchSchema(DEFINITIONS, "io.k8s.api.policy.v1.PodDisruptionBudget")


@pytest.mark.parametrize(
    ("schema", "path", "strategy", "merge_key"),
    [
        (POD, "spec.containers", {"merge"}, "name"),
        (POD, "spec.containers.ports", {"merge"}, "containerPort"),
        (POD, "spec.volumes", {"merge", "retainKeys"}, "name"),
        (POD, "spec.tolerations", set(), ""),
        (POD, "metadata.finalizers", {"merge"}, ""),
        (POD, "metadata.labels.anything", set(), ""),
        (POD, "no.such.field", set(), ""),
        (STATEFUL_SET, "spec.template.spec.containers.env", {"merge"}, "name"),
        (STATEFUL_SET, "spec.volumeClaimTemplates", set(), ""),
        (STATEFUL_SET, "spec.volumeClaimTemplates.metadata.ownerReferences", {"merge"}, "uid"),
        (DEPLOYMENT, "spec.strategy", {"retainKeys"}, ""),
        (BUDGET, "spec.selector", {"replace"}, ""),
    ],
)
def test_official_rules(schema: DefinitionsPatchSchema, path: str, strategy: set[str], merge_key: str) -> None:
    *parents, name = path.split(".")
    at: Any = schema
    for parent in parents:
        at = at.field(parent).child
    rule = at.field(name)
    assert (set(rule.strategy), rule.merge_key) == (strategy, merge_key)


def test_every_form_of_a_schema() -> None:
    definitions = {
        "Tree": {
            "allOf": [{"$ref": "#/$defs/Base"}, {"$ref": "#/$defs/Tree"}],
            "properties": {"inline": {"properties": {"list": {"x-kubernetes-patch-strategy": "merge"}}}},
        },
        "Base": {
            "properties": {"children": {"items": {"$ref": "#/$defs/Tree"}}, "lost": {"$ref": "#/$defs/Nowhere"}},
            "additionalProperties": {"x-kubernetes-patch-strategy": "replace"},
        },
    }
    tree = DefinitionsPatchSchema(definitions, "Tree")
    assert tree.field("inline").child.field("list").strategy == {"merge"}
    assert tree.field("children").child.field("children").child.field("inline").strategy == set()
    assert tree.field("other").strategy == {"replace"}
    assert tree.field("lost").child.field("x").strategy == set()


def test_names_that_clients_choose_are_not_kept() -> None:
    labels = POD.field("metadata").child.field("labels").child
    assert labels.field("app") is not labels.field("app")
    assert POD.field("spec") is POD.field("spec")

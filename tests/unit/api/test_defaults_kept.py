"""What is filled in for kinds that are only kept: what clients read without asking whether it is there."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.defaults import fill_defaults

CONTAINERS = [{"name": "c", "image": "i:1"}]
FILLED: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("priorities preempt", "PriorityClass", {}, {"preemptionPolicy": "PreemptLowerPriority"}),
    ("priorities that say otherwise", "PriorityClass", {"preemptionPolicy": "Never"}, {"preemptionPolicy": "Never"}),
    ("a job runs one pod", "Job", {"spec": {}},
     {"spec": {"completions": 1, "parallelism": 1, "backoffLimit": 6, "suspend": False,
               "completionMode": "NonIndexed", "podReplacementPolicy": "TerminatingOrFailed"}}),
    ("a job of workers has no number of completions", "Job", {"spec": {"parallelism": 3, "podFailurePolicy": {"x": 1}}},
     {"spec": {"parallelism": 3, "podFailurePolicy": {"x": 1}, "backoffLimit": 6, "suspend": False,
               "completionMode": "NonIndexed", "podReplacementPolicy": "Failed"}}),
    ("schedules keep some history", "CronJob", {"spec": {}},
     {"spec": {"concurrencyPolicy": "Allow", "suspend": False, "successfulJobsHistoryLimit": 3,
               "failedJobsHistoryLimit": 1}}),
    ("daemons roll one by one", "DaemonSet", {"spec": {"updateStrategy": {}}},
     {"spec": {"revisionHistoryLimit": 10,
               "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}}}),
    ("daemons that roll on deletion", "DaemonSet", {"spec": {"updateStrategy": {"type": "OnDelete"}}},
     {"spec": {"revisionHistoryLimit": 10, "updateStrategy": {"type": "OnDelete"}}}),
    ("policies are about what comes in", "NetworkPolicy", {"spec": {"ingress": [{"ports": [{"port": 80}]}]}},
     {"spec": {"ingress": [{"ports": [{"port": 80, "protocol": "TCP"}]}], "policyTypes": ["Ingress"]}}),
    ("and about what goes out", "NetworkPolicy", {"spec": {"egress": [{}]}},
     {"spec": {"egress": [{}], "policyTypes": ["Ingress", "Egress"]}}),
    ("autoscalers leave one pod", "HorizontalPodAutoscaler", {"spec": {}}, {"spec": {"minReplicas": 1}}),
    ("bindings are to the group of rights", "RoleBinding",
     {"roleRef": {"kind": "Role"}, "subjects": [{"kind": "User"}, {"kind": "ServiceAccount"}]},
     {"roleRef": {"kind": "Role", "apiGroup": "rbac.authorization.k8s.io"},
      "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io"}, {"kind": "ServiceAccount"}]}),
    ("parameters of a class are the cluster's", "IngressClass", {"spec": {"parameters": {"kind": "K"}}},
     {"spec": {"parameters": {"kind": "K", "scope": "Cluster"}}}),
    ("webhooks fail closed", "ValidatingWebhookConfiguration",
     {"webhooks": [{"rules": [{}], "clientConfig": {"service": {"name": "s"}}}]},
     {"webhooks": [{"rules": [{"scope": "*"}], "clientConfig": {"service": {"name": "s", "port": 443}},
                    "failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {},
                    "objectSelector": {}, "timeoutSeconds": 10}]}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given", "then"), [row[1:] for row in FILLED], ids=[row[0] for row in FILLED])
def test_what_is_filled_in(kind: str, given: dict[str, Any], then: dict[str, Any]) -> None:
    fill_defaults(kind, given)
    assert given == then
    fill_defaults(kind, given)
    assert given == then


@pytest.mark.parametrize(
    ("kind", "obj"),
    [
        ("DaemonSet", {"spec": {"template": {"spec": {"containers": [*CONTAINERS]}}}}),
        ("Job", {"spec": {"template": {"spec": {"containers": [*CONTAINERS]}}}}),
        ("CronJob", {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [*CONTAINERS]}}}}}}),
        ("PodTemplate", {"template": {"spec": {"containers": [*CONTAINERS]}}}),
    ],
)
def test_templates_have_the_defaults_of_pods(kind: str, obj: dict[str, Any]) -> None:
    fill_defaults(kind, obj)
    assert "'dnsPolicy': 'ClusterFirst'" in str(obj)

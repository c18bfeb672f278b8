"""What `kubectl get` shows of kinds that are only kept, and that users look at."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.table_kept import KEPT
from petset.cluster.api.tables import columns_for, row_cells
from petset.cluster.api.times import format_time

NOW = 1_767_225_600.0
METADATA = {"name": "x", "creationTimestamp": format_time(NOW - 90)}
CONTAINERS = [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}]
JOB = {"spec": {"template": {"spec": {"containers": CONTAINERS}}}}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
MEMORY = {"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "100Mi"}}}
PODS = {"type": "Pods", "pods": {"metric": {"name": "hits"}, "target": {"averageValue": "5"}}}
EXTERNAL = {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"averageValue": "5"}}}
SUBJECTS = [
    {"kind": "User", "name": "bob"}, {"kind": "User", "name": "eve"}, {"kind": "Group", "name": "ops"},
    {"kind": "ServiceAccount", "name": "bot", "namespace": "ci"},
]  # fmt: skip

ROWS: list[tuple[str, str, dict[str, Any], list[Any]]] = [
    ("accounts count secrets", "ServiceAccount", {"secrets": [{"name": "s"}]}, ["x", 1, "90s"]),
    ("schedules", "CronJob",
     {"spec": {"schedule": "*/5 * * * *", "suspend": False, "jobTemplate": JOB},
      "status": {"active": [{}], "lastScheduleTime": format_time(NOW - 60)}},
     ["x", "*/5 * * * *", "<none>", "False", 1, "60s", "90s", "a,b", "a:1,b:2", "<none>"]),
    ("schedules that never ran", "CronJob", {"spec": {"schedule": "@daily", "timeZone": "Etc/UTC", "suspend": True}},
     ["x", "@daily", "Etc/UTC", "True", 0, "<none>", "90s", "", "", "<none>"]),
    ("routes", "Ingress",
     {"spec": {"ingressClassName": "nginx", "rules": [{"host": "a"}, {"host": "b"}], "tls": [{}]},
      "status": {"loadBalancer": {"ingress": [{"hostname": "lb"}, {"ip": "1.2.3.4"}]}}},
     ["x", "nginx", "a,b", "1.2.3.4,lb", "80, 443", "90s"]),
    ("routes of every host", "Ingress", {"spec": {"rules": [{"http": {}}]}}, ["x", "<none>", "*", "", "80", "90s"]),
    ("routes of many hosts", "Ingress", {"spec": {"rules": [{"host": each} for each in "abcde"]}},
     ["x", "<none>", "a,b,c + 2 more...", "", "80", "90s"]),
    ("classes of routes", "IngressClass",
     {"spec": {"controller": "c", "parameters": {"apiGroup": "g", "kind": "K", "name": "n"}}},
     ["x", "c", "K.g/n", "90s"]),
    ("policies", "NetworkPolicy", {"spec": {"podSelector": {"matchLabels": {"a": "1"}}}}, ["x", "a=1", "90s"]),
    ("policies of all pods", "NetworkPolicy", {"spec": {"podSelector": {}}}, ["x", "<none>", "90s"]),
    ("bindings", "RoleBinding", {"roleRef": {"kind": "Role", "name": "r"}, "subjects": SUBJECTS},
     ["x", "Role/r", "90s", "bob, eve", "ops", "ci/bot"]),
    ("bindings of the cluster", "ClusterRoleBinding", {"roleRef": {"kind": "ClusterRole", "name": "r"}},
     ["x", "ClusterRole/r", "90s", "", "", ""]),
    ("autoscalers", "HorizontalPodAutoscaler",
     {"spec": {"scaleTargetRef": {"kind": "StatefulSet", "name": "db"}, "maxReplicas": 4, "minReplicas": 2,
               "metrics": [CPU, MEMORY]},
      "status": {"currentReplicas": 3, "currentMetrics": [{"resource": {"current": {"averageUtilization": 12}}}]}},
     ["x", "StatefulSet/db", "cpu: 12%/80%, memory: <unknown>/100Mi", "2", 4, 3, "90s"]),
    ("autoscalers of many metrics", "HorizontalPodAutoscaler", {"spec": {"metrics": [PODS, EXTERNAL, CPU]}},
     ["x", "/", "<unknown>/5, <unknown>/5 (avg) + 1 more...", "<unset>", 0, 0, "90s"]),
    ("quotas", "ResourceQuota",
     {"status": {"hard": {"pods": "10", "limits.cpu": "2", "cpu": "1"}, "used": {"pods": "3", "cpu": "500m"}}},
     ["x", "cpu: 500m/1, pods: 3/10", "limits.cpu: 0/2", "90s"]),
    ("priorities", "PriorityClass", {"value": 1000, "preemptionPolicy": "Never"}, ["x", 1000, False, "90s", "Never"]),
    ("runtimes", "RuntimeClass", {"handler": "runc"}, ["x", "runc", "90s"]),
    ("requests that wait", "CertificateSigningRequest", {"spec": {"signerName": "s", "expirationSeconds": 600}},
     ["x", "90s", "s", "", "10m", "Pending"]),
    ("requests that were granted", "CertificateSigningRequest",
     {"spec": {"signerName": "s", "username": "bob"},
      "status": {"conditions": [{"type": "Approved", "status": "True"}], "certificate": "Zm9v"}},
     ["x", "90s", "s", "bob", "<none>", "Approved,Issued"]),
    ("templates", "PodTemplate", {"template": {"metadata": {"labels": {"a": "1"}}, "spec": {"containers": CONTAINERS}}},
     ["x", "a,b", "a:1,b:2", "a=1"]),
    ("webhooks", "MutatingWebhookConfiguration", {"webhooks": [{}, {}]}, ["x", 2, "90s"]),
    ("attachments", "VolumeAttachment",
     {"spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}},
      "status": {"attached": True}},
     ["x", "a", "v", "n", True, "90s"]),
    ("what has no table", "Role", {"rules": []}, ["x", METADATA["creationTimestamp"]]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "rest", "cells"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_rows(kind: str, rest: dict[str, Any], cells: list[Any]) -> None:
    assert row_cells(kind, {"metadata": METADATA, **rest}, NOW) == cells
    assert len(columns_for(kind)) == len(cells)


@pytest.mark.parametrize("kind", KEPT)
@pytest.mark.parametrize("rest", [{}, {"spec": None, "status": None}, {"spec": {}, "status": {}}])
def test_an_incomplete_object_has_a_whole_row(kind: str, rest: dict[str, Any]) -> None:
    cells = row_cells(kind, {"metadata": {"name": "x"}, **rest}, NOW)
    assert cells[0] == "x"
    assert None not in cells

"""What `kubectl get` shows: a row per kind as Kubernetes prints it, and the rules behind the cells."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.tables import columns_for, row_cells
from petset.cluster.api.times import format_micro_time, format_time

NOW = 1_767_225_600.0
KINDS = [
    "Namespace", "Node", "Pod", "Service", "Endpoints", "EndpointSlice", "PersistentVolume", "PersistentVolumeClaim",
    "StorageClass", "StatefulSet", "ControllerRevision", "ConfigMap", "Secret", "ServiceAccount", "Event", "Lease",
    "ReplicaSet", "Deployment", "ReplicationController", "DaemonSet", "Job", "PodDisruptionBudget", "Widget",
]  # fmt: skip


def ago(seconds: float) -> str:
    return format_time(NOW - seconds)


def meta(name: str, **fields: Any) -> dict[str, Any]:
    """Metadata of an object that is 90 seconds old."""
    return {"name": name, "creationTimestamp": ago(90), **fields}


def shown(kind: str, obj: dict[str, Any], *, wide: bool = True) -> dict[str, Any]:
    """Column name to cell, as kubectl would print them."""
    pairs = zip(columns_for(kind), row_cells(kind, obj, NOW), strict=True)
    return {column["name"]: cell for column, cell in pairs if wide or column["priority"] == 0}


TEMPLATE = {"spec": {"containers": [{"name": "web", "image": "web:1"}, {"name": "log", "image": "log:2"}]}}
SELECTOR = {"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]}


class TestColumns:
    @pytest.mark.parametrize(
        ("kind", "names"),
        [
            ("Namespace", "Name Status Age"),
            ("Node", "Name Status Roles Age Version Internal-IP* External-IP* OS-Image* Kernel-Version* "
                     "Container-Runtime*"),
            ("Pod", "Name Ready Status Restarts Age IP* Node* Nominated_Node* Readiness_Gates*"),
            ("Service", "Name Type Cluster-IP External-IP Port(s) Age Selector*"),
            ("Endpoints", "Name Endpoints Age"),
            ("EndpointSlice", "Name AddressType Ports Endpoints Age"),
            ("PersistentVolume", "Name Capacity Access_Modes Reclaim_Policy Status Claim StorageClass "
                                 "VolumeAttributesClass Reason Age VolumeMode*"),
            ("PersistentVolumeClaim", "Name Status Volume Capacity Access_Modes StorageClass VolumeAttributesClass Age "
                                      "VolumeMode*"),
            ("StorageClass", "Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age"),
            ("StatefulSet", "Name Ready Age Containers* Images*"),
            ("ControllerRevision", "Name Controller Revision Age"),
            ("ConfigMap", "Name Data Age"),
            ("Secret", "Name Type Data Age"),
            ("ServiceAccount", "Name Secrets Age"),
            ("Event", "Last_Seen Type Reason Object Subobject* Source* Message First_Seen* Count* Name*"),
            ("Lease", "Name Holder Age"),
            ("ReplicaSet", "Name Desired Current Ready Age Containers* Images* Selector*"),
            ("ReplicationController", "Name Desired Current Ready Age Containers* Images* Selector*"),
            ("Deployment", "Name Ready Up-to-date Available Age Containers* Images* Selector*"),
            ("DaemonSet", "Name Desired Current Ready Up-to-date Available Node_Selector Age Containers* Images* "
                          "Selector*"),
            ("Job", "Name Status Completions Duration Age Containers* Images* Selector*"),
            ("PodDisruptionBudget", "Name Min_Available Max_Unavailable Allowed_Disruptions Age"),
            ("Widget", "Name Created_At"),
        ],
    )  # fmt: skip
    def test_names_and_priorities(self, kind: str, names: str) -> None:
        """A star marks a column of `-o wide`."""
        columns = columns_for(kind)
        assert [each["name"].replace(" ", "_") + "*" * each["priority"] for each in columns] == names.split()
        assert [each["name"] for each in columns if each["format"] == "name"] == ["Name"]

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_column_says_all_that_a_client_reads(self, kind: str) -> None:
        for column in columns_for(kind):
            assert list(column) == ["name", "type", "format", "description", "priority"]
            assert column["type"] in ("string", "integer", "date")

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("rest", [{}, {"spec": None, "status": None}, {"spec": {}, "status": {}}])
    def test_an_incomplete_object_has_a_whole_row(self, kind: str, rest: dict[str, Any]) -> None:
        cells = shown(kind, {"metadata": {"name": "x"}, **rest})
        assert cells["Name"] == "x"
        assert cells.get("Age", cells.get("Last Seen", cells.get("Created At"))) in ("<unknown>", "")
        assert None not in cells.values()

    def test_a_table_is_the_callers_own(self) -> None:
        columns_for("Pod")[0]["name"] = "changed"
        assert columns_for("Pod")[0]["name"] == "Name"


class TestPod:
    def test_row(self) -> None:
        container = {"name": "c", "ready": True, "restartCount": 0, "state": {"running": {}}}
        gates = [{"conditionType": "A"}, {"conditionType": "B"}]
        pod = {
            "metadata": meta("kubia-0"),
            "spec": {"containers": [{"name": "c"}], "nodeName": "node-1", "readinessGates": gates},
            "status": {
                "phase": "Running",
                "podIPs": [{"ip": "10.244.1.5"}],
                "containerStatuses": [container],
                "conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "False"}],
            },
        }
        assert row_cells("Pod", pod, NOW) == [
            "kubia-0", "1/1", "Running", "0", "90s", "10.244.1.5", "node-1", "<none>", "1/2",
        ]  # fmt: skip

    def test_row_of_an_unscheduled_pod(self) -> None:
        pod = {"metadata": meta("kubia-0"), "spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Pending"}}
        assert row_cells("Pod", pod, NOW) == ["kubia-0", "0/1", "Pending", "0", "90s", *["<none>"] * 4]


class TestNode:
    @pytest.mark.parametrize(
        ("conditions", "unschedulable", "status"),
        [
            ([{"type": "Ready", "status": "True"}], False, "Ready"),
            ([{"type": "Ready", "status": "False"}], False, "NotReady"),
            ([{"type": "Ready", "status": "Unknown"}], False, "NotReady"),
            ([], False, "Unknown"),
            ([{"type": "Ready", "status": "True"}], True, "Ready,SchedulingDisabled"),
        ],
    )
    def test_status(self, conditions: list[dict[str, str]], unschedulable: bool, status: str) -> None:
        node = {"metadata": meta("n"), "spec": {"unschedulable": unschedulable}, "status": {"conditions": conditions}}
        assert shown("Node", node)["Status"] == status

    def test_row(self) -> None:
        labels = {
            "node-role.kubernetes.io/worker": "",
            "node-role.kubernetes.io/control-plane": "",
            "kubernetes.io/role": "spare",
            "node-role.kubernetes.io/": "",
        }
        info = {"kubeletVersion": "v1.33.0", "osImage": "petset", "kernelVersion": "6.1"}
        addresses = [
            {"type": "Hostname", "address": "n"},
            {"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "InternalIP", "address": "10.0.0.2"},
        ]
        node = {"metadata": meta("n", labels=labels), "status": {"nodeInfo": info, "addresses": addresses}}
        assert row_cells("Node", node, NOW) == [
            "n", "Unknown", "control-plane,spare,worker", "90s", "v1.33.0", "10.0.0.1", "<none>", "petset", "6.1",
            "<unknown>",
        ]  # fmt: skip


class TestService:
    @pytest.mark.parametrize(
        ("spec", "ingress", "cluster_ip", "external", "ports"),
        [
            pytest.param({"type": "ClusterIP", "clusterIP": "None", "ports": [{"port": 80, "protocol": "TCP"}]}, [],
                         "None", "<none>", "80/TCP", id="headless"),
            pytest.param({"type": "NodePort", "clusterIPs": ["10.96.0.9"], "externalIPs": ["1.2.3.4"],
                          "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"},
                                    {"port": 53, "protocol": "UDP"}]}, [],
                         "10.96.0.9", "1.2.3.4", "80:30080/TCP,53/UDP", id="node port"),
            pytest.param({"type": "LoadBalancer", "clusterIPs": ["10.96.0.9"]}, [],
                         "10.96.0.9", "<pending>", "<none>", id="load balancer, pending"),
            pytest.param({"type": "LoadBalancer", "externalIPs": ["9.9.9.9"]}, [{"ip": "2.2.2.2"}, {"hostname": "a.b"}],
                         "<none>", "2.2.2.2,a.b,9.9.9.9", "<none>", id="load balancer"),
            pytest.param({"type": "ExternalName", "externalName": "example.com"}, [],
                         "<none>", "example.com", "<none>", id="external name"),
        ],
    )  # fmt: skip
    def test_row(self, spec: dict[str, Any], ingress: list[Any], cluster_ip: str, external: str, ports: str) -> None:
        status = {"loadBalancer": {"ingress": ingress}}
        obj = {"metadata": meta("s"), "spec": {"selector": {"b": "2", "a": "1"}, **spec}, "status": status}
        assert row_cells("Service", obj, NOW) == ["s", spec["type"], cluster_ip, external, ports, "90s", "a=1,b=2"]


class TestEndpointSlice:
    def test_slice(self) -> None:
        slice_ = {
            "metadata": meta("s"),
            "addressType": "IPv4",
            "ports": [{"port": 80}, {"name": "any"}, {}],
            "endpoints": [{"addresses": [f"10.0.0.{each}"]} for each in range(1, 5)],
        }
        text = "10.0.0.1,10.0.0.2,10.0.0.3 + 1 more..."
        assert row_cells("EndpointSlice", slice_, NOW) == ["s", "IPv4", "80,any,*", text, "90s"]

    def test_empty_slice(self) -> None:
        assert shown("EndpointSlice", {"metadata": meta("s"), "ports": None, "endpoints": None})["Ports"] == "<unset>"


class TestVolumes:
    def test_volume(self) -> None:
        spec = {
            "capacity": {"storage": "1024Mi"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": "default", "name": "data-kubia-0"},
            "storageClassName": "standard",
            "volumeMode": "Filesystem",
        }
        volume = {"metadata": meta("pv"), "spec": spec, "status": {"phase": "Bound"}}
        assert row_cells("PersistentVolume", volume, NOW) == [
            "pv", "1Gi", "RWO,RWX", "Retain", "Bound", "default/data-kubia-0", "standard", "<unset>", "", "90s",
            "Filesystem",
        ]  # fmt: skip

    def test_bound_claim_shows_what_it_got(self) -> None:
        claim = {
            "metadata": meta("c"),
            "spec": {"volumeName": "pv", "storageClassName": "standard", "accessModes": ["ReadWriteMany"]},
            "status": {"phase": "Bound", "capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"]},
        }
        assert row_cells("PersistentVolumeClaim", claim, NOW) == [
            "c", "Bound", "pv", "5Gi", "RWO", "standard", "<unset>", "90s", "<unset>",
        ]  # fmt: skip

    def test_pending_claim(self) -> None:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        claim = {"metadata": meta("c"), "spec": spec, "status": {"phase": "Pending"}}
        assert row_cells("PersistentVolumeClaim", claim, NOW)[1:6] == ["Pending", "", "", "", ""]

    @pytest.mark.parametrize("kind", ["PersistentVolume", "PersistentVolumeClaim"])
    def test_terminating(self, kind: str) -> None:
        obj = {"metadata": meta("x", deletionTimestamp=ago(0)), "spec": {}, "status": {"phase": "Bound"}}
        assert shown(kind, obj)["Status"] == "Terminating"

    def test_class_in_the_old_annotation(self) -> None:
        metadata = meta("c", annotations={"volume.beta.kubernetes.io/storage-class": "old"})
        assert shown("PersistentVolumeClaim", {"metadata": metadata, "spec": {}})["StorageClass"] == "old"

    def test_storage_class(self) -> None:
        metadata = meta("standard", annotations={"storageclass.kubernetes.io/is-default-class": "true"})
        assert row_cells("StorageClass", {"metadata": metadata, "provisioner": "petset/local"}, NOW) == [
            "standard (default)", "petset/local", "Delete", "Immediate", False, "90s",
        ]  # fmt: skip


WORKLOAD = {"replicas": 3, "selector": SELECTOR, "template": TEMPLATE}


@pytest.mark.parametrize(
    ("kind", "rest", "cells"),
    [
        ("Namespace", {"status": {"phase": "Active"}}, ["x", "Active", "90s"]),
        ("StatefulSet", {"spec": WORKLOAD, "status": {"readyReplicas": 2}},
         ["x", "2/3", "90s", "web,log", "web:1,log:2"]),
        ("StatefulSet", {"spec": WORKLOAD}, ["x", "0/3", "90s", "web,log", "web:1,log:2"]),
        ("Deployment", {"spec": WORKLOAD, "status": {"readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2}},
         ["x", "2/3", 1, 2, "90s", "web,log", "web:1,log:2", "a=1,b=2,c"]),
        ("ReplicaSet", {"spec": WORKLOAD, "status": {"replicas": 2, "readyReplicas": 1}},
         ["x", 3, 2, 1, "90s", "web,log", "web:1,log:2", "a=1,b=2,c"]),
        ("ReplicationController", {"spec": {**WORKLOAD, "selector": {"a": "1"}}},
         ["x", 3, 0, 0, "90s", "web,log", "web:1,log:2", "a=1"]),
        ("DaemonSet", {"spec": WORKLOAD, "status": {"desiredNumberScheduled": 5, "currentNumberScheduled": 4,
                       "numberReady": 3, "updatedNumberScheduled": 2, "numberAvailable": 1}},
         ["x", 5, 4, 3, 2, 1, "<none>", "90s", "web,log", "web:1,log:2", "a=1,b=2,c"]),
        ("PodDisruptionBudget", {"spec": {"maxUnavailable": "50%"}, "status": {"disruptionsAllowed": 1}},
         ["x", "N/A", "50%", 1, "90s"]),
        ("ConfigMap", {"data": {"a": "1"}, "binaryData": {"b": "Mg=="}}, ["x", 2, "90s"]),
        ("Secret", {"type": "Opaque", "data": {"a": "MQ=="}}, ["x", "Opaque", 1, "90s"]),
        ("ServiceAccount", {}, ["x", 0, "90s"]),
        ("Lease", {"spec": {"holderIdentity": "node-1"}}, ["x", "node-1", "90s"]),
        ("ControllerRevision", {"revision": 3}, ["x", "<none>", 3, "90s"]),
        ("Widget", {"spec": {"size": 3}}, ["x", ago(90)]),
    ],
)  # fmt: skip
def test_rows(kind: str, rest: dict[str, Any], cells: list[Any]) -> None:
    assert row_cells(kind, {"metadata": meta("x"), **rest}, NOW) == cells


def test_controller_revision_names_its_controller() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "kubia", "uid": "u", "controller": True}
    revision = {"metadata": meta("kubia-5d", ownerReferences=[owner]), "revision": 2}
    assert row_cells("ControllerRevision", revision, NOW) == ["kubia-5d", "statefulset.apps/kubia", 2, "90s"]


class TestJob:
    @pytest.mark.parametrize(
        ("conditions", "deleted", "status"),
        [
            ([], False, "Running"),
            (["SuccessCriteriaMet", "Complete"], False, "Complete"),
            (["FailureTarget"], False, "FailureTarget"),
            (["FailureTarget", "Failed"], True, "Failed"),
            (["Suspended"], True, "Terminating"),
            (["Suspended"], False, "Suspended"),
        ],
    )
    def test_status(self, conditions: list[str], deleted: bool, status: str) -> None:
        metadata = meta("j", deletionTimestamp=ago(0)) if deleted else meta("j")
        states = [{"type": each, "status": "True"} for each in conditions]
        assert shown("Job", {"metadata": metadata, "status": {"conditions": states}})["Status"] == status

    @pytest.mark.parametrize(
        ("spec", "text"),
        [({"completions": 3}, "2/3"), ({}, "2/1"), ({"parallelism": 4}, "2/1 of 4"), ({"completions": 0}, "2/0")],
    )
    def test_completions(self, spec: dict[str, int], text: str) -> None:
        assert shown("Job", {"metadata": meta("j"), "spec": spec, "status": {"succeeded": 2}})["Completions"] == text

    @pytest.mark.parametrize(
        ("status", "text"),
        [
            pytest.param({}, "", id="not started"),
            pytest.param({"startTime": ago(60)}, "60s", id="running"),
            pytest.param({"startTime": ago(60), "completionTime": ago(50)}, "10s", id="complete"),
        ],
    )
    def test_duration(self, status: dict[str, str], text: str) -> None:
        assert shown("Job", {"metadata": meta("j"), "status": status})["Duration"] == text


class TestEvent:
    BASE: dict[str, Any] = {
        "metadata": {"name": "kubia-0.1"},
        "type": "Warning",
        "reason": "BackOff",
        "message": " Back-off restarting\n",
        "involvedObject": {"kind": "Pod", "name": "kubia-0", "fieldPath": "spec.containers{web}"},
    }

    def test_row(self) -> None:
        times = {"firstTimestamp": ago(300), "lastTimestamp": ago(10), "count": 4}
        event = {**self.BASE, **times, "source": {"component": "kubelet", "host": "node-1"}}
        assert row_cells("Event", event, NOW) == [
            "10s", "Warning", "BackOff", "pod/kubia-0", "spec.containers{web}", "kubelet, node-1",
            "Back-off restarting", "5m", 4, "kubia-0.1",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("fields", "last", "first", "count"),
        [
            pytest.param({"eventTime": format_micro_time(NOW - 20)}, "20s", "20s", 1, id="new API, once"),
            pytest.param({"eventTime": format_micro_time(NOW - 20),
                          "series": {"lastObservedTime": format_micro_time(NOW - 5), "count": 7}},
                         "5s", "20s", 7, id="new API, series"),
            pytest.param({"firstTimestamp": ago(30), "lastTimestamp": None}, "30s", "30s", 1, id="no last time"),
            pytest.param({}, "<unknown>", "<unknown>", 1, id="no time"),
        ],
    )  # fmt: skip
    def test_times(self, fields: dict[str, Any], last: str, first: str, count: int) -> None:
        cells = shown("Event", {**self.BASE, **fields})
        assert (cells["Last Seen"], cells["First Seen"], cells["Count"]) == (last, first, count)

    def test_reporter_of_the_new_api(self) -> None:
        cells = shown("Event", {**self.BASE, "reportingComponent": "sched", "reportingInstance": ""})
        assert cells["Source"] == "sched"

    def test_about_something_without_a_name(self) -> None:
        assert shown("Event", {**self.BASE, "involvedObject": {"kind": "Node"}})["Object"] == "node"

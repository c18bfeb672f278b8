from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import NOTHING, Create, Delete, Update, Write
from petset.cluster.controllers.endpoints import (
    ENDPOINTS,
    MANAGED_BY,
    MAX_ENDPOINTS,
    SERVICE_NAME,
    SLICES,
    plan_endpoints,
    plan_slices,
)
from tests import builders

KEY = ("default", "web")


def service(**spec: Any) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": builders.metadata("Service", "web", labels={"team": "a"}),
        "spec": {"selector": dict(builders.LABELS), "clusterIP": "None", "ports": ports} | spec,
    }


def pod(name: str = "web-0", **options: Any) -> Object:
    return builders.pod(name, **({"ready": True, "node": "node-1", "ip": f"10.0.0.{len(name)}"} | options))


def node() -> Object:
    return builders.node("node-1", labels={"topology.kubernetes.io/zone": "z1"})


def slices_of(*objects: Object) -> tuple[Write, ...]:
    return plan_slices(KEY, Snapshot.of(objects), 0.0).writes


def only_slice(*objects: Object) -> Object:
    (write,) = slices_of(*objects)
    assert isinstance(write, Create | Update)
    return write.object


def stored(made: Object, name: str = "web-abc") -> Object:
    return {**made, "metadata": {**made["metadata"], "name": name, "uid": f"uid-{name}", "resourceVersion": "5"}}


def test_a_ready_pod_becomes_an_endpoint() -> None:
    made = only_slice(service(), pod(), node())
    assert made["metadata"]["generateName"] == "web-"
    assert made["metadata"]["labels"] == {
        "team": "a",
        SERVICE_NAME: "web",
        MANAGED_BY: "endpointslice-controller.k8s.io",
        "service.kubernetes.io/headless": "",
    }
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-service-web"
    assert made["addressType"] == "IPv4"
    assert made["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert made["endpoints"] == [
        {
            "addresses": ["10.0.0.5"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {"kind": "Pod", "namespace": "default", "name": "web-0", "uid": "uid-pod-web-0"},
            "nodeName": "node-1",
            "zone": "z1",
        }
    ]


@pytest.mark.parametrize(
    ("ready", "terminating", "publish", "conditions"),
    [
        pytest.param(False, False, False, (False, False, False), id="unready"),
        pytest.param(True, True, False, (False, True, True), id="terminating-serves-but-is-not-ready"),
        pytest.param(False, True, True, (True, False, True), id="publishing-makes-all-ready"),
    ],
)
def test_conditions(ready: bool, terminating: bool, publish: bool, conditions: tuple[bool, bool, bool]) -> None:
    one = pod(phase="Running", ready=ready, terminating=terminating)
    made = only_slice(service(publishNotReadyAddresses=publish), one, node())
    found = made["endpoints"][0]["conditions"]
    assert (found["ready"], found["serving"], found["terminating"]) == conditions


@pytest.mark.parametrize(
    ("one", "spec"),
    [
        pytest.param(pod(ip=""), {}, id="no-address-yet"),
        pytest.param(pod(ready=False, phase="Failed"), {}, id="failed"),
        pytest.param(pod(ready=False, phase="Succeeded"), {"publishNotReadyAddresses": True}, id="succeeded"),
        pytest.param(pod(labels={"app": "db"}), {}, id="not-selected"),
        pytest.param(pod(namespace="other"), {}, id="other-namespace"),
    ],
)
def test_without_a_pod_there_is_a_placeholder(one: Object, spec: dict[str, Any]) -> None:
    made = only_slice(service(**spec), one, node())
    assert (made["endpoints"], made["ports"]) == ([], [])


@pytest.mark.parametrize(
    ("spec", "hostname"),
    [
        pytest.param({"hostname": "web-0", "subdomain": "web"}, "web-0", id="subdomain-is-the-service"),
        pytest.param({"hostname": "web-0", "subdomain": "other"}, None, id="subdomain-of-another-service"),
        pytest.param({"subdomain": "web"}, None, id="no-hostname"),
    ],
)
def test_hostname(spec: dict[str, Any], hostname: str | None) -> None:
    assert only_slice(service(), pod(spec=spec), node())["endpoints"][0].get("hostname") == hostname
    (legacy,) = plan_endpoints(KEY, Snapshot.of([service(), pod(spec=spec)]), 0.0).writes
    assert isinstance(legacy, Create)
    assert legacy.object["subsets"][0]["addresses"][0].get("hostname") == hostname


def test_a_pod_on_an_unknown_node_is_left_out_and_tried_again() -> None:
    outcome = plan_slices(KEY, Snapshot.of([service(), pod()]), 0.0)
    assert outcome.error == "skipping pods of default/web: node node-1 not found"
    (write,) = outcome.writes
    assert isinstance(write, Create)
    assert write.object["endpoints"] == []
    published = plan_slices(KEY, Snapshot.of([service(publishNotReadyAddresses=True), pod()]), 0.0)
    assert not published.error


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"selector": None}, id="no-selector"),
        pytest.param({"type": "ExternalName"}, id="ExternalName"),
    ],
)
def test_unmanaged_services_get_nothing(spec: dict[str, Any]) -> None:
    snapshot = Snapshot.of([service(**spec), pod(), node()])
    assert plan_slices(KEY, snapshot, 0.0) == NOTHING
    assert plan_endpoints(KEY, snapshot, 0.0) == NOTHING


def container(port_name: str, number: int) -> dict[str, Any]:
    return {"containers": [{"name": "main", "ports": [{"name": port_name, "containerPort": number}]}]}


def test_named_target_ports_are_resolved_per_pod() -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]
    pods = [
        pod("web-0", spec=container("web", 8080)),
        pod("web-1", spec=container("web", 9090)),
        pod("web-2", spec=container("other", 1)),
    ]
    found = slices_of(service(ports=ports), *pods, node())
    by_port = {
        tuple(port["port"] for port in write.object["ports"]): write.object["endpoints"][0]["targetRef"]["name"]
        for write in found
        if isinstance(write, Create)
    }
    assert by_port == {(): "web-2", (8080,): "web-0", (9090,): "web-1"}


def test_headless_without_ports_has_endpoints_without_ports() -> None:
    made = only_slice(service(ports=[]), pod(), node())
    assert made["ports"] == []
    assert len(made["endpoints"]) == 1


def test_nothing_to_do_when_the_slice_is_right() -> None:
    made = stored(only_slice(service(), pod(), node()))
    assert slices_of(service(), pod(), node(), made) == ()


def test_an_empty_slice_is_reused_for_the_first_pod_and_for_the_last() -> None:
    placeholder = stored(only_slice(service(), node()))
    (write,) = slices_of(service(), pod(), node(), placeholder)
    assert isinstance(write, Update)
    assert write.object["metadata"]["name"] == "web-abc"
    assert write.object["metadata"]["resourceVersion"] == "5"
    (back,) = slices_of(service(), node(), stored(write.object))
    assert isinstance(back, Update)
    assert (back.object["endpoints"], back.object["ports"]) == ([], [])


def test_changed_readiness_rewrites_the_endpoint_in_place() -> None:
    made = stored(only_slice(service(), pod("web-0"), pod("web-1"), node()))
    (write,) = slices_of(service(), pod("web-0", ready=False, phase="Running"), pod("web-1"), node(), made)
    assert isinstance(write, Update)
    assert [each["conditions"]["ready"] for each in write.object["endpoints"]] == [False, True]


def test_slices_hold_a_hundred_endpoints_and_fill_before_they_split() -> None:
    pods = [pod(f"web-{number:03}") for number in range(MAX_ENDPOINTS + 1)]
    first, second = (write.object for write in slices_of(service(), *pods, node()) if isinstance(write, Create))
    assert [len(first["endpoints"]), len(second["endpoints"])] == [MAX_ENDPOINTS, 1]
    present = [stored(first, "web-a"), stored(second, "web-b")]
    (write,) = slices_of(service(), *pods, pod("web-new"), node(), *present)
    assert isinstance(write, Update)
    assert write.object["metadata"]["name"] == "web-b"
    (gone,) = slices_of(service(), *pods[:-1], node(), *present)
    assert gone == Delete("EndpointSlice", "default", "web-b", uid="uid-web-b")


def test_foreign_slices_are_left_alone() -> None:
    made = only_slice(service(), pod(), node())
    foreign = stored(made, "web-mine")
    foreign["metadata"]["labels"] = {SERVICE_NAME: "web"}
    (write,) = slices_of(service(), pod(), node(), foreign)
    assert isinstance(write, Create)


def legacy_of(*objects: Object) -> Object:
    (write,) = plan_endpoints(KEY, Snapshot.of(objects), 0.0).writes
    assert isinstance(write, Create | Update)
    return write.object


def test_legacy_endpoints_split_ready_and_not_ready() -> None:
    made = legacy_of(service(), pod("web-0"), pod("web-10", ready=False, phase="Running"), pod("x", terminating=True))
    (subset,) = made["subsets"]
    assert [each["targetRef"]["name"] for each in subset["addresses"]] == ["web-0"]
    assert [each["targetRef"]["name"] for each in subset["notReadyAddresses"]] == ["web-10"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert made["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"] == "endpoint-controller"


def test_legacy_publishes_terminating_pods_when_asked() -> None:
    made = legacy_of(service(publishNotReadyAddresses=True), pod(terminating=True, ready=False, phase="Running"))
    assert len(made["subsets"][0]["addresses"]) == 1


def test_legacy_pod_without_the_named_port_is_no_address() -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    assert "subsets" not in legacy_of(service(ports=ports), pod())


def test_legacy_endpoints_settle() -> None:
    made = legacy_of(service(), pod())
    assert plan_endpoints(KEY, Snapshot.of([service(), pod(), made]), 0.0) == NOTHING
    empty = legacy_of(service())
    assert plan_endpoints(KEY, Snapshot.of([service(), empty]), 0.0) == NOTHING


def test_legacy_endpoints_go_with_their_service() -> None:
    present = stored(legacy_of(service(), pod()), "web")
    assert plan_endpoints(KEY, Snapshot.of([present]), 0.0).writes == (
        Delete("Endpoints", "default", "web", uid="uid-web"),
    )


def test_triggers() -> None:
    snapshot = Snapshot.of([service()])
    assert list(SLICES.triggers["Pod"](pod(), snapshot)) == [KEY]
    assert list(SLICES.triggers["Pod"](pod(labels={"app": "db"}), snapshot)) == []
    made = stored(only_slice(service(), pod(), node()))
    assert list(SLICES.triggers["EndpointSlice"](made, snapshot)) == [KEY]
    by_hand = {"kind": "Endpoints", "metadata": {"name": "web", "namespace": "default"}}
    assert list(ENDPOINTS.triggers["Endpoints"](by_hand, snapshot)) == []

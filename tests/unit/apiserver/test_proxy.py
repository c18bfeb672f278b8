"""Where a proxy request goes: names, ports and endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.apiserver.proxy import Target, pod_target, service_targets, split_name
from petset.cluster.errors import BadRequest, NotFound, Unavailable

NAMES = {
    "name": ("kubia", ("", "kubia", "")),
    "name and port": ("kubia:80", ("", "kubia", "80")),
    "scheme, name and port": ("https:kubia:web", ("https", "kubia", "web")),
    "empty scheme": (":kubia:80", ("", "kubia", "80")),
}


@pytest.mark.parametrize(("text", "parts"), NAMES.values(), ids=NAMES)
def test_names(text: str, parts: tuple[str, str, str]) -> None:
    assert split_name(text) == parts


@pytest.mark.parametrize("text", ["ftp:kubia:80", "a:b:c:d"])
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(BadRequest):
        split_name(text)


def pod(*ports: dict[str, Any], address: str = "127.64.1.2") -> dict[str, Any]:
    return {
        "metadata": {"name": "kubia-0"},
        "spec": {"containers": [{"name": "a"}, {"name": "b", "ports": list(ports)}]},
        "status": {"podIP": address},
    }


PODS = {
    "first container port": ("", (pod({"containerPort": 8080}, {"containerPort": 9090}),), 8080),
    "no ports": ("", (pod(),), 80),
    "number": ("9", (pod({"containerPort": 8080}),), 9),
    "name": ("web", (pod({"containerPort": 8080}, {"name": "web", "containerPort": 9090}),), 9090),
}


@pytest.mark.parametrize(("port", "pods", "expected"), PODS.values(), ids=PODS)
def test_pod_ports(port: str, pods: tuple[dict[str, Any]], expected: int) -> None:
    assert pod_target(pods[0], scheme="", port=port) == Target("http", "127.64.1.2", expected)


def test_a_pod_without_address_or_port() -> None:
    with pytest.raises(BadRequest, match="address not allowed"):
        pod_target(pod(address=""), scheme="", port="")
    with pytest.raises(NotFound, match='no port named "x"'):
        pod_target(pod(), scheme="", port="x")


def service(*ports: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "kubia"}, "spec": {"ports": list(ports)}}


SLICE = {
    "ports": [{"name": "http", "port": 8080}, {"name": "admin", "port": 9090}],
    "endpoints": [
        {"addresses": ["127.64.1.2"], "conditions": {"ready": True}},
        {"addresses": ["127.64.1.3"], "conditions": {"ready": False}},
        {"addresses": ["127.64.1.4"]},
    ],
}
HTTP, ADMIN = {"name": "http", "port": 80}, {"name": "admin", "port": 90}

SERVICES = {
    "by number": (service(HTTP, ADMIN), "90", 9090),
    "by name": (service(HTTP, ADMIN), "admin", 9090),
}


@pytest.mark.parametrize(("obj", "port", "expected"), SERVICES.values(), ids=SERVICES)
def test_ready_endpoints_of_the_port(obj: dict[str, Any], port: str, expected: int) -> None:
    targets = service_targets(obj, [SLICE], scheme="", port=port)
    assert targets == [Target("http", "127.64.1.2", expected), Target("http", "127.64.1.4", expected)]


def test_a_named_port_is_not_found_without_its_name() -> None:
    assert service_targets(service(HTTP), [SLICE], scheme="", port="") == []


def test_an_unnamed_port_needs_no_name() -> None:
    unnamed = {**SLICE, "ports": [{"name": "", "port": 8080}]}
    targets = service_targets(service({"port": 80}), [unnamed], scheme="https", port="")
    assert targets[0] == Target("https", "127.64.1.2", 8080)


def test_no_such_service_port() -> None:
    with pytest.raises(Unavailable, match="no service port 81 found"):
        service_targets(service(HTTP), [SLICE], scheme="", port="81")

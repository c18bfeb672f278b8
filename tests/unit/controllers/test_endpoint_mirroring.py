"""Hand-made Endpoints as slices."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import Create, Delete, Update, Write
from petset.cluster.controllers.endpoint_mirroring import CONTROLLER
from petset.cluster.controllers.endpoints import MANAGED_BY, SERVICE_NAME
from tests import builders

KEY = ("default", "db")
PORT = {"name": "sql", "port": 5432, "protocol": "TCP"}
SUBSET = {
    "addresses": [{"ip": "192.0.2.1", "hostname": "one"}],
    "notReadyAddresses": [{"ip": "192.0.2.2"}],
    "ports": [PORT],
}


def service(**spec: Any) -> Object:
    meta = builders.metadata("Service", "db")
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 5432}], **spec}}


def endpoints(*subsets: Object, **meta: Any) -> Object:
    made = builders.metadata("Endpoints", "db", **meta)
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": made, "subsets": list(subsets)}


def writes(*objects: Object) -> tuple[Write, ...]:
    return CONTROLLER.plan(KEY, Snapshot.of(objects), 0.0).writes


def mirrored(*objects: Object, name: str = "db-1") -> Object:
    [write] = writes(*objects)
    assert isinstance(write, Create)
    return {**write.object, "metadata": {**write.object["metadata"], "name": name, "uid": name, "resourceVersion": "9"}}


def test_a_subset_becomes_a_slice() -> None:
    made = mirrored(service(), endpoints(SUBSET, labels={"team": "a"}))
    assert made["metadata"]["generateName"] == "db-"
    assert made["metadata"]["ownerReferences"][0]["kind"] == "Endpoints"
    assert made["metadata"]["labels"] == {
        "team": "a", SERVICE_NAME: "db", MANAGED_BY: "endpointslicemirroring-controller.k8s.io",
    }  # fmt: skip
    assert made["endpoints"] == [
        {"addresses": ["192.0.2.1"], "conditions": {"ready": True}, "hostname": "one"},
        {"addresses": ["192.0.2.2"], "conditions": {"ready": False}},
    ]
    assert (made["ports"], made["addressType"]) == ([PORT], "IPv4")


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([endpoints(SUBSET)], id="no Service"),
        pytest.param([service(selector={"app": "db"}), endpoints(SUBSET)], id="a selector"),
        pytest.param(
            [service(), endpoints(SUBSET, labels={"endpointslice.kubernetes.io/skip-mirror": "true"})], id="told not to"
        ),
        pytest.param(
            [service(), endpoints(SUBSET, annotations={"control-plane.alpha.kubernetes.io/leader": "{}"})], id="a lock"
        ),
        pytest.param([service()], id="no Endpoints"),
    ],
)
def test_what_is_not_mirrored_and_what_no_longer_is(objects: list[Object]) -> None:
    assert writes(*objects) == ()
    old = mirrored(service(), endpoints(SUBSET))
    assert writes(*objects, old) == (Delete("EndpointSlice", "default", "db-1", uid="db-1"),)


def test_a_change_is_one_update_and_no_change_is_none() -> None:
    old = mirrored(service(), endpoints(SUBSET))
    assert writes(service(), endpoints(SUBSET), old) == ()
    [write] = writes(service(), endpoints({**SUBSET, "notReadyAddresses": []}), old)
    assert isinstance(write, Update)
    assert [each["addresses"] for each in write.object["endpoints"]] == [["192.0.2.1"]]


def test_subsets_with_other_ports_have_slices_of_their_own() -> None:
    other = {"addresses": [{"ip": "192.0.2.3"}], "ports": [{"port": 80}]}
    old = mirrored(service(), endpoints(SUBSET))
    [write] = writes(service(), endpoints(SUBSET, other), old)
    assert isinstance(write, Create)
    assert write.object["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
    made, gone = writes(service(), endpoints(other), old)
    assert (isinstance(made, Create), gone) == (True, Delete("EndpointSlice", "default", "db-1", uid="db-1"))


def test_slices_of_others_are_left_alone() -> None:
    other = mirrored(service(), endpoints(SUBSET))
    other["metadata"]["labels"] = {SERVICE_NAME: "db", MANAGED_BY: "me"}
    assert writes(service(), other) == ()


def test_ipv6_addresses_are_left_out() -> None:
    assert writes(service(), endpoints({"addresses": [{"ip": "fd00::1"}], "ports": [PORT]})) == ()

"""Which address a Service of type LoadBalancer gets."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import Outcome, Patch, Record
from petset.cluster.controllers.load_balancers import load_balancer_controller, load_balancer_pool
from petset.cluster.network.addresses import loopback_plan
from tests import builders

SERVICES = IPv4Network("10.96.0.0/12")
CONTROLLER = load_balancer_controller(SERVICES)


def service(name: str = "web", address: str = "", *, kind: str = "LoadBalancer", **spec: Any) -> Object:
    status = {"loadBalancer": {"ingress": [{"ip": address}]} if address else {}}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": builders.metadata("Service", name),
        "spec": {"type": kind, "clusterIP": "10.96.0.7", **spec},
        "status": status,
    }


def plan(*objects: Object) -> Outcome:
    return CONTROLLER.plan(("default", "web"), Snapshot.of(objects), 0.0)


def given(*objects: Object) -> str | None:
    """The address that `web` gets; None when nothing is written."""
    match plan(*objects).writes:
        case ():
            return None
        case (Patch(body={"status": {"loadBalancer": {"ingress": ingress}}}, subresource="status"),):
            return "" if ingress is None else str(ingress[0]["ip"])
        case writes:
            raise AssertionError(writes)


OTHERS = [service(f"other-{number}", f"10.111.254.{number}") for number in range(1, 255)]


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        pytest.param([service()], "10.111.254.1", id="the lowest"),
        pytest.param([service(), *OTHERS[:3]], "10.111.254.4", id="the lowest that is free"),
        pytest.param(
            [service(), service("ip", kind="ClusterIP", clusterIP="10.111.254.1")], "10.111.254.2", id="in use"
        ),
        pytest.param([service(loadBalancerIP="10.111.254.9")], "10.111.254.9", id="the one asked for"),
        pytest.param([service(address="10.111.254.9")], None, id="it keeps its own"),
        pytest.param([service(loadBalancerClass="example.com/other")], None, id="somebody else's"),
        pytest.param([service(kind="NodePort")], None, id="another type"),
        pytest.param([service(address="10.111.254.9", kind="ClusterIP")], "", id="no longer a load balancer"),
        pytest.param([], None, id="gone"),
    ],
)
def test_addresses(objects: list[Object], expected: str | None) -> None:
    assert given(*objects) == expected


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([service(), *OTHERS], id="pool used up"),
        pytest.param([service(loadBalancerIP="10.111.254.1"), OTHERS[0]], id="taken"),
        pytest.param([service(loadBalancerIP="192.0.2.1")], id="outside the pool"),
    ],
)
def test_without_an_address_it_says_so_and_tries_again(objects: list[Object]) -> None:
    outcome = plan(*objects)
    [said] = outcome.writes
    assert isinstance(said, Record)
    assert (said.type, said.reason) == ("Warning", "SyncLoadBalancerFailed")
    assert outcome.error


def test_the_pool_of_a_loopback_cluster_is_inside_its_slot() -> None:
    assert load_balancer_pool(loopback_plan(2).services) == IPv4Network("127.130.254.0/24")

"""Which frontends a node's service proxy answers, and which endpoints stand behind each."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.node.service_table import MAX_TRIES, Backends, Balancer, Endpoint, ServiceTable

NODE_ADDRESS = "127.64.0.1"
KEY = ("default", "web")


def service(*ports: Object, kind: str = "ClusterIP", **spec: Any) -> Object:
    body = {"type": kind, "clusterIP": "10.96.0.7", "ports": list(ports) or [port()]} | spec
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": body}


def port(number: int = 80, name: str = "", protocol: str = "TCP", **fields: Any) -> Object:
    return {"port": number, "protocol": protocol} | ({"name": name} if name else {}) | fields


def endpoint(address: str, node: str = "node-1", **conditions: bool) -> Object:
    return {"addresses": [address], "nodeName": node, "conditions": conditions or {"ready": True}}


def endpoint_slice(*endpoints: Object, ports: list[Object] | None = None, suffix: str = "a", **fields: Any) -> Object:
    labels = {"kubernetes.io/service-name": "web"}
    return {
        "metadata": {"name": f"web-{suffix}", "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [port(8080)] if ports is None else ports,
    } | fields


TERMINATING = {"ready": False, "serving": True, "terminating": True}
READY = endpoint("10.244.1.2")


def table(svc: Object | None, *slices: Object) -> ServiceTable:
    made = ServiceTable("node-1", ("127.0.0.1", NODE_ADDRESS))
    for each in slices:
        made.put("EndpointSlice", each)
    if svc is not None:
        made.put("Service", svc)
    return made


def frontends(svc: Object | None, *slices: Object) -> dict[str, list[str]]:
    found = table(svc, *slices).frontends(KEY)
    return {str(each): [f"{at.address}:{at.port}" for at in behind.endpoints] for each, behind in found.items()}


WEB = "10.96.0.7:80/TCP"
NODE_PORT = ("127.0.0.1:30080/TCP", f"{NODE_ADDRESS}:30080/TCP")


@pytest.mark.parametrize(
    ("svc", "slices", "expected"),
    [
        pytest.param(service(), [endpoint_slice(READY)], {WEB: ["10.244.1.2:8080"]}, id="one ready endpoint"),
        pytest.param(service(), [], {}, id="no slice: nobody listens"),
        pytest.param(service(), [endpoint_slice(endpoint("10.96.0.7"))], {}, id="it listens on the cluster IP itself"),
        pytest.param(
            service(port(nodePort=30080)),
            [endpoint_slice(endpoint(NODE_ADDRESS))],
            {each: [f"{NODE_ADDRESS}:8080"] for each in (WEB, *NODE_PORT)},
            id="it listens on the node itself",
        ),
        pytest.param(None, [endpoint_slice(READY)], {}, id="a slice without its Service"),
        pytest.param(
            service(),
            [endpoint_slice({"addresses": ["10.244.1.2"]})],
            {WEB: ["10.244.1.2:8080"]},
            id="unknown readiness counts as ready",
        ),
        pytest.param(service(), [endpoint_slice(endpoint("10.244.1.2", ready=False, serving=False))], {}, id="unready"),
        pytest.param(
            service(),
            [endpoint_slice(READY, endpoint("10.244.1.3", **TERMINATING))],
            {WEB: ["10.244.1.2:8080"]},
            id="a terminating endpoint gets nothing while another is ready",
        ),
        pytest.param(
            service(),
            [endpoint_slice(endpoint("10.244.1.3", **TERMINATING))],
            {WEB: ["10.244.1.3:8080"]},
            id="terminating ones that still serve take over when none is ready",
        ),
        pytest.param(
            service(),
            [endpoint_slice(endpoint("10.244.1.3", ready=False, serving=False, terminating=True))],
            {},
            id="terminating and not serving",
        ),
        pytest.param(service(clusterIP="None"), [endpoint_slice(READY)], {}, id="headless"),
        pytest.param(
            service(kind="ExternalName", clusterIP="", externalName="a.b"), [endpoint_slice(READY)], {}, id="external"
        ),
        pytest.param(
            service(port(80, "http"), port(443, "https")),
            [endpoint_slice(READY, ports=[port(8080, "http"), port(8443, "https")])],
            {WEB: ["10.244.1.2:8080"], "10.96.0.7:443/TCP": ["10.244.1.2:8443"]},
            id="ports belong together by name",
        ),
        pytest.param(
            service(port(53, "dns", "UDP"), port(53, "dns-tcp")),
            [endpoint_slice(READY, ports=[port(1053, "dns", "UDP"), port(1054, "dns-tcp")])],
            {"10.96.0.7:53/UDP": ["10.244.1.2:1053"], "10.96.0.7:53/TCP": ["10.244.1.2:1054"]},
            id="one number, two protocols",
        ),
        pytest.param(
            service(port(53, "dns", "UDP")), [endpoint_slice(READY, ports=[port(53, "dns")])], {}, id="other protocol"
        ),
        pytest.param(service(port(80, protocol="SCTP")), [endpoint_slice(READY)], {}, id="SCTP is not served"),
        pytest.param(
            service(),
            [endpoint_slice(READY), endpoint_slice(READY, endpoint("10.244.1.4"), suffix="b", ports=[port(9090)])],
            {WEB: ["10.244.1.2:8080", "10.244.1.2:9090", "10.244.1.4:9090"]},
            id="slices are joined, each with its own port",
        ),
        pytest.param(
            service(), [endpoint_slice(READY), endpoint_slice(READY, suffix="b")], {WEB: ["10.244.1.2:8080"]},
            id="one endpoint in two slices counts once",
        ),
        pytest.param(service(), [endpoint_slice(READY, addressType="IPv6")], {}, id="IPv6 slices are not served"),
        pytest.param(
            service(), [endpoint_slice(READY, ports=[{"name": ""}])], {}, id="a slice port without a number"
        ),
        pytest.param(
            service(port(80, nodePort=30080), kind="NodePort"),
            [endpoint_slice(READY)],
            {each: ["10.244.1.2:8080"] for each in (WEB, *NODE_PORT)},
            id="NodePort",
        ),
        pytest.param(
            service(kind="LoadBalancer") | {"status": {"loadBalancer": {"ingress": [{"ip": "10.96.9.1"}]}}},
            [endpoint_slice(READY)],
            {WEB: ["10.244.1.2:8080"], "10.96.9.1:80/TCP": ["10.244.1.2:8080"]},
            id="LoadBalancer address",
        ),
        pytest.param(
            service(kind="LoadBalancer")
            | {"status": {"loadBalancer": {"ingress": [{"ip": "10.96.9.1", "ipMode": "Proxy"}, {"hostname": "lb"}]}}},
            [endpoint_slice(READY)],
            {WEB: ["10.244.1.2:8080"]},
            id="a load balancer that is not the proxy's to answer",
        ),
        pytest.param(
            service(port(80, nodePort=30080), kind="NodePort", internalTrafficPolicy="Local"),
            [endpoint_slice(endpoint("10.244.2.2", "node-2"), READY)],
            {WEB: ["10.244.1.2:8080"]} | {each: ["10.244.1.2:8080", "10.244.2.2:8080"] for each in NODE_PORT},
            id="internalTrafficPolicy Local is about the cluster IP",
        ),
        pytest.param(
            service(port(80, nodePort=30080), kind="NodePort", externalTrafficPolicy="Local"),
            [endpoint_slice(endpoint("10.244.2.2", "node-2"))],
            {WEB: ["10.244.2.2:8080"]},
            id="externalTrafficPolicy Local without endpoints here",
        ),
    ],
)  # fmt: skip
def test_frontends(svc: Object | None, slices: list[Object], expected: dict[str, list[str]]) -> None:
    assert frontends(svc, *slices) == expected


def test_a_slice_may_change_its_service() -> None:
    made = table(service(), endpoint_slice(READY))
    moved = endpoint_slice(READY)
    moved["metadata"]["labels"] = {"kubernetes.io/service-name": "other"}
    assert made.put("EndpointSlice", moved) == {KEY, ("default", "other")}
    assert made.frontends(KEY) == {}


def test_what_is_gone_is_gone() -> None:
    made = table(service(), endpoint_slice(READY))
    assert made.discard("EndpointSlice", endpoint_slice()) == {KEY}
    assert made.frontends(KEY) == {}
    made.put("EndpointSlice", endpoint_slice(READY))
    assert made.discard("Service", service()) == {KEY}
    assert (made.frontends(KEY), made.service(KEY)) == ({}, None)


POOL = tuple(Endpoint(f"10.244.1.{number}", 8080) for number in range(2, 8))


def test_every_endpoint_gets_its_turn() -> None:
    balancer = Balancer(Backends(POOL), turn=4)
    firsts = Counter(balancer.choices("10.0.0.1")[0] for _ in range(60))
    assert firsts == dict.fromkeys(POOL, 10)


def test_tries_are_different_endpoints_and_bounded() -> None:
    for affinity_seconds in (0, 60):
        choices = Balancer(Backends(POOL, affinity_seconds)).choices("10.0.0.1")
        assert len(set(choices)) == len(choices) == MAX_TRIES
        assert len(Balancer(Backends(POOL[:2], affinity_seconds)).choices("10.0.0.1")) == 2


def test_affinity_is_the_same_on_every_node_and_spreads_clients() -> None:
    one, other = (Balancer(Backends(POOL, affinity_seconds=60), turn=turn) for turn in (0, 3))
    clients = [f"10.0.{number // 250}.{number % 250}" for number in range(600)]
    chosen = {client: one.choices(client)[0] for client in clients}
    assert all(other.choices(client)[0] == first for client, first in chosen.items())
    assert all(50 < count < 150 for count in Counter(chosen.values()).values())


def test_affinity_moves_only_the_clients_of_an_endpoint_that_left() -> None:
    before = Balancer(Backends(POOL, affinity_seconds=60))
    after = Balancer(Backends(POOL[1:], affinity_seconds=60))
    clients = [f"10.0.0.{number}" for number in range(200)]
    moved = {client for client in clients if before.choices(client)[0] != after.choices(client)[0]}
    assert moved == {client for client in clients if before.choices(client)[0] == POOL[0]}
    assert moved

"""Names and ports inside pods and Services, as the API refuses and completes them."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.errors import Invalid
from tests.apis import causes, new_api

CHARACTERS = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
RANGE = "must be between 1 and 65535, inclusive"
PORT = "spec.containers[0].ports[0]"
META = {"name": "web", "namespace": "default"}


def service(*ports: Object) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": META, "spec": {"ports": list(ports)}}


def pod(*ports: Object, container: str = "main", **spec: Any) -> Object:
    containers = [{"name": container, "image": "pet", "ports": list(ports)}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": META, "spec": {"containers": containers, **spec}}


@pytest.mark.parametrize(
    ("refused", "field", "text"),
    [
        pytest.param(pod(container="Main"), "spec.containers[0].name", f'Invalid value: "Main": {LABEL}',
                     id="container"),
        pytest.param(pod(volumes=[{"name": "a_b"}]), "spec.volumes[0].name", f'Invalid value: "a_b": {LABEL}',
                     id="volume"),
        pytest.param(pod(volumes=[{"emptyDir": {}, "name": ""}]), "spec.volumes[0].name", "Required value",
                     id="volume-without-name"),
        pytest.param(pod(hostname="a.b"), "spec.hostname", 'Invalid value: "a.b": must not contain dots',
                     id="hostname"),
        pytest.param(pod({"containerPort": 80, "name": "Web_1"}), f"{PORT}.name",
                     f'Invalid value: "Web_1": {CHARACTERS}', id="container-port"),
        pytest.param(pod({"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}),
                     "spec.containers[0].ports[1].name", 'Duplicate value: "a"', id="two-container-ports-of-one-name"),
        pytest.param(pod({"containerPort": 0}), f"{PORT}.containerPort", "Required value", id="container-port-0"),
        pytest.param(pod({"containerPort": 65536}), f"{PORT}.containerPort", f"Invalid value: 65536: {RANGE}",
                     id="container-port-number"),
        pytest.param(pod({"containerPort": 1, "hostPort": -1}), f"{PORT}.hostPort", f"Invalid value: -1: {RANGE}",
                     id="host-port-number"),
        pytest.param(pod({"containerPort": 1, "protocol": "tcp"}), f"{PORT}.protocol",
                     'Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"', id="protocol"),
        pytest.param(service({"port": 80, "name": "Web_1"}), "spec.ports[0].name",
                     f'Invalid value: "Web_1": {LABEL}', id="service-port"),
        pytest.param(service({"port": 80, "name": "a"}, {"port": 81}), "spec.ports[1].name", "Required value",
                     id="one-service-port-of-two-without-name"),
        pytest.param(service({"port": 80, "name": "a"}, {"port": 81, "name": "a"}), "spec.ports[1].name",
                     'Duplicate value: "a"', id="two-service-ports-of-one-name"),
        pytest.param(service({"port": 80, "targetPort": "Web_1"}), "spec.ports[0].targetPort",
                     f'Invalid value: "Web_1": {CHARACTERS}', id="target-port"),
        pytest.param(service({"port": 80, "targetPort": 65536}), "spec.ports[0].targetPort",
                     f"Invalid value: 65536: {RANGE}", id="target-port-number"),
    ],
)  # fmt: skip
async def test_what_is_refused(refused: Object, field: str, text: str) -> None:
    with pytest.raises(Invalid) as raised:
        await LoopbackClient(await new_api()).create(refused)
    assert [*causes(raised.value.details)] == [(field, text)]


@pytest.mark.parametrize("target", [None, "", 0])
async def test_a_target_port_that_is_not_said_is_the_port(target: int | str | None) -> None:
    stored = await LoopbackClient(await new_api()).create(service({"port": 80, "targetPort": target}))
    assert stored["spec"]["ports"] == [{"port": 80, "targetPort": 80, "protocol": "TCP"}]


async def test_a_service_port_may_be_longer_than_a_container_port() -> None:
    port = {"port": 80, "name": "80-is-a-port-of-this-service", "targetPort": "http-alt-800000"}
    stored = await LoopbackClient(await new_api()).create(service(port))
    assert stored["spec"]["ports"] == [{**port, "protocol": "TCP"}]

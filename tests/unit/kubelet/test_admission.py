"""Which pods a node takes: resources first, then host ports."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.kubelet.admission import refusal_of
from tests.unit.kubelet.builders import container, pod

CAPACITY = {"cpu": "2", "memory": "1Gi", "pods": "3"}


def wants(**requests: str) -> Object:
    return pod(container(resources={"requests": requests}))


def listens(port: int, **fields: Any) -> Object:
    return pod(container(ports=[{"containerPort": 80, "hostPort": port, **fields}]))


PORTS = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"


@pytest.mark.parametrize(
    ("new", "others", "refusal"),
    [
        pytest.param(pod(), [], None, id="an empty node takes it"),
        pytest.param(wants(cpu="500m"), [wants(cpu="1500m")], None, id="what just fits"),
        pytest.param(
            wants(cpu="600m"), [wants(cpu="1500m")],
            ("OutOfcpu", "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000"),
            id="too little CPU",
        ),
        pytest.param(
            wants(memory="1Gi"), [wants(memory="1Ki")],
            ("OutOfmemory",
             "Node didn't have enough resource: memory, requested: 1073741824, used: 1024, capacity: 1073741824"),
            id="too little memory",
        ),
        pytest.param(
            pod(), [pod()] * 3,
            ("OutOfpods", "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"),
            id="too many pods",
        ),
        pytest.param(wants(**{"example.com/gpu": "1"}), [], None, id="an extended resource is the scheduler's"),
        pytest.param(listens(80), [listens(80)], ("NodePorts", PORTS), id="a host port that is taken"),
        pytest.param(listens(80), [listens(81)], None, id="another host port"),
        pytest.param(listens(80, protocol="UDP"), [listens(80)], None, id="another protocol"),
        pytest.param(
            listens(80, hostIP="10.0.0.1"), [listens(80)], ("NodePorts", PORTS), id="one address of a port on all"
        ),
    ],
)  # fmt: skip
def test_what_a_node_takes(new: Object, others: list[Object], refusal: tuple[str, str] | None) -> None:
    assert refusal_of(new, others, CAPACITY) == refusal

from __future__ import annotations

import pytest

from petset.cluster.api.objects import Object, condition
from petset.cluster.kubelet.config import KubeletConfig, NodeIdentity
from petset.cluster.kubelet.node_object import must_report, new_lease, new_node, node_status
from tests.unit.kubelet.builders import T0

NODE = NodeIdentity("node-1", "pets", "10.0.0.1", pod_cidr="10.244.1.0/24", labels={"disk": "ssd"})
CONFIG = KubeletConfig()


def registered() -> Object:
    return new_node(NODE, CONFIG, trouble="", now=T0)


def test_a_node_is_born_whole() -> None:
    node = registered()
    assert node["metadata"]["labels"]["disk"] == "ssd"
    assert node["spec"]["providerID"] == "petset://pets/node-1"
    assert node["status"]["allocatable"] == node["status"]["capacity"]
    assert node["status"]["capacity"]["pods"] == "110"
    assert {each["type"]: each["status"] for each in node["status"]["conditions"]} == {
        "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True",
    }  # fmt: skip


def test_trouble_makes_it_unready_and_says_why() -> None:
    status = node_status(registered(), NODE, CONFIG, trouble="container runtime is down", now=T0 + 60)
    ready = condition({"status": status}, "Ready")
    assert ready is not None
    assert (ready["status"], ready["reason"], ready["message"], ready["lastTransitionTime"]) == (
        "False", "KubeletNotReady", "container runtime is down", "2026-01-01T00:01:00Z",
    )  # fmt: skip


def test_what_others_wrote_stays() -> None:
    node = registered()
    network = {"type": "NetworkUnavailable", "status": "False"}
    node["status"] |= {"conditions": [network, *node["status"]["conditions"]], "volumesAttached": [{"name": "x"}]}
    status = node_status(node, NODE, CONFIG, trouble="", now=T0 + 10)
    assert network in status["conditions"]
    assert status["volumesAttached"] == [{"name": "x"}]


def test_conditions_that_others_wrote_without_times_get_some() -> None:
    node = registered()
    node["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    ready = condition({"status": node_status(node, NODE, CONFIG, trouble="", now=T0)}, "Ready")
    assert ready is not None
    assert ready["lastTransitionTime"] == ready["lastHeartbeatTime"] == "2026-01-01T00:00:00Z"
    status = node_status(registered(), NODE, CONFIG, trouble="", now=T0)
    for each in status["conditions"]:
        del each["lastHeartbeatTime"]
    assert must_report(
        {"status": status}, node_status({"status": status}, NODE, CONFIG, trouble="", now=T0), CONFIG, T0
    )


@pytest.mark.parametrize(
    ("trouble", "after_seconds", "due"),
    [
        pytest.param("", 10, False, id="nothing new"),
        pytest.param("", 299, False, id="shortly before five minutes"),
        pytest.param("", 300, True, id="after five minutes"),
        pytest.param("down", 10, True, id="something changed"),
    ],
)
def test_a_status_is_written_when_it_differs_or_is_old(trouble: str, after_seconds: float, due: bool) -> None:
    now = T0 + after_seconds
    status = node_status(registered(), NODE, CONFIG, trouble=trouble, now=now)
    assert must_report(registered(), status, CONFIG, now) is due


def test_a_lease_goes_with_its_node() -> None:
    owner = registered()
    owner["metadata"]["uid"] = "uid-node"
    lease = new_lease(NODE, CONFIG, owner=owner, now=T0 + 0.25)
    assert lease["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "uid-node"}
    ]
    assert lease["spec"]["renewTime"] == "2026-01-01T00:00:00.250000Z"

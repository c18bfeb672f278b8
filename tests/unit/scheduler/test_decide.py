from __future__ import annotations

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.scheduler.decide import Placement, Unschedulable, decide
from tests import builders
from tests.unit.scheduler.objects import (
    HOSTNAME,
    bound_claim,
    claim,
    node,
    node_rule,
    pod,
    pod_rule,
    storage_class,
    taint,
    uses,
    volume,
)

OWNER = builders.stateful_set()


def placed(one: Object, *others: Object) -> str:
    found = decide(one, Snapshot.of(others))
    assert isinstance(found, Placement), found
    return found.node


def refused(one: Object, *others: Object) -> str:
    found = decide(one, Snapshot.of(others))
    assert isinstance(found, Unschedulable), found
    return found.message


NODES = [node("node-1"), node("node-2"), node("node-3")]


def preference(key: str, value: str, weight: int = 1) -> Object:
    term = {"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]}
    rule = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": weight, "preference": term}]}
    return {"nodeAffinity": rule}


def soft(which: str) -> Object:
    term = pod_rule(which)[which]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    return {which: {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}}


SCORES = [
    pytest.param(pod(), NODES, "node-1", id="equal-nodes-first-name"),
    pytest.param(pod(cpu="1"), [node("node-1", cpu="2"), node("node-2", cpu="16")], "node-2", id="least-allocated"),
    pytest.param(pod(), [*NODES, pod("a", on="node-1", labels={})], "node-2", id="pods-without-requests-spread"),
    pytest.param(pod("web-2", owner=OWNER),
                 [*NODES, pod("web-0", on="node-1", owner=OWNER), pod("web-1", on="node-2", owner=OWNER),
                  pod("big", cpu="3", on="node-3")], "node-3", id="replicas-spread-even-to-a-busy-node"),
    pytest.param(pod(), [node("node-1", taints=[taint(effect="PreferNoSchedule")]), node("node-2")], "node-2",
                 id="PreferNoSchedule"),
    pytest.param(pod(affinity=preference(HOSTNAME, "node-3")), NODES, "node-3", id="preferred-node-affinity"),
    pytest.param(pod(affinity=soft("podAffinity")), [*NODES, pod("b", cpu="1", on="node-2")], "node-2",
                 id="preferred-pod-affinity"),
    pytest.param(pod(affinity=soft("podAntiAffinity")), [*NODES[:2], pod("b", on="node-1"), pod("c", cpu="1",
                 on="node-2", labels={})], "node-2", id="preferred-pod-anti-affinity"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "others", "expected"), SCORES)
def test_the_best_node(one: Object, others: list[Object], expected: str) -> None:
    assert placed(one, *others) == expected


def test_a_promised_node_is_kept_while_it_passes() -> None:
    promised = pod(cpu="1") | {"status": {"nominatedNodeName": "node-2"}}
    assert placed(promised, *NODES, pod("b", cpu="2", on="node-2")) == "node-2"
    assert placed(promised, *NODES, pod("b", cpu="4", on="node-2")) == "node-1"


def test_reasons_are_counted_over_nodes() -> None:
    nodes = [node("node-1", cpu="1"), node("node-2", cpu="1"), node("node-3", taints=[taint()])]
    busy = [pod("a", cpu="1", on="node-1"), pod("b", cpu="500m", on="node-2")]
    assert refused(pod(cpu="1"), *nodes, *busy) == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to deallocate, "
        "preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, "
        "2 No preemption victims found for incoming pod."
    )


PREEMPTION = (
    " no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        pytest.param([], 'persistentvolumeclaim "data" not found', id="claim-missing"),
        pytest.param([claim(), storage_class(wait=False)], "pod has unbound immediate PersistentVolumeClaims",
                     id="Immediate"),
        pytest.param([claim()], "pod has unbound immediate PersistentVolumeClaims", id="class-unknown"),
        pytest.param([claim(volume="pv-a"), storage_class()], "pod has unbound immediate PersistentVolumeClaims",
                     id="volume-named-by-the-user"),
        pytest.param([claim(volume="pv-a", phase="Lost")],
                     'persistentvolumeclaim "data" bound to non-existent persistentvolume "pv-a"', id="Lost"),
        pytest.param([bound_claim(terminating=True)], 'persistentvolumeclaim "data" is being deleted',
                     id="claim-going"),
    ],
)  # fmt: skip
def test_claims_that_no_node_can_help(others: list[Object], reason: str) -> None:
    assert refused(pod(volumes=uses("data")), node(), *others) == f"0/1 nodes are available: {reason}.{PREEMPTION}"


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        pytest.param([], 'waiting for ephemeral volume controller to create the persistentvolumeclaim "a-v"',
                     id="not-made-yet"),
        pytest.param([bound_claim("a-v")], "PVC default/a-v was not created for pod default/a (pod is not owner)",
                     id="somebody-elses"),
    ],
)  # fmt: skip
def test_ephemeral_volumes_wait_for_a_claim_of_the_pods_own(others: list[Object], reason: str) -> None:
    one = pod("a", volumes=[{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}])
    assert refused(one, node(), *others) == f"0/1 nodes are available: {reason}.{PREEMPTION}"


def test_no_nodes() -> None:
    assert refused(pod()) == "no nodes available to schedule pods"


def test_a_pod_that_never_preempts_says_so() -> None:
    assert refused(pod(preemptionPolicy="Never", cpu="9"), node()) == (
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to "
        "preemptionPolicy=Never."
    )


def test_volumes_are_reserved_on_the_chosen_node() -> None:
    objects = [node(), node("node-2"), storage_class(), claim("a"), claim("b", storage="5Gi"), volume(on="node-2")]
    one = pod(volumes=uses("a", "b"), affinity=node_rule(HOSTNAME, "In", "node-2"))
    found = decide(one, Snapshot.of(objects))
    assert isinstance(found, Placement)
    assert found.waits_for_volumes
    assert [(kept["metadata"]["name"], for_["metadata"]["name"]) for kept, for_ in found.volumes.matched] == [
        ("pv-a", "a")
    ]
    assert [each["metadata"]["name"] for each in found.volumes.provisioned] == ["b"]

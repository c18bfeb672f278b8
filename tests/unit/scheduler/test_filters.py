"""Every filter: what it refuses, in which words, and whether preemption could change it."""

from __future__ import annotations

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.scheduler.filters import candidate, first_rejection
from petset.cluster.scheduler.state import cluster_for
from tests import builders
from tests.unit.scheduler.objects import (
    HOSTNAME,
    ZONE,
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

TAINT = "node(s) had untolerated taint(s)"
AFFINITY = "node(s) didn't match Pod's node affinity/selector"
PORTS = "node(s) didn't have free ports for the requested pod ports"
SPREAD = "node(s) didn't match pod topology spread constraints"
NEAR = "node(s) didn't match pod affinity rules"
FAR = "node(s) didn't match pod anti-affinity rules"
GUARDED = "node(s) didn't satisfy existing pods anti-affinity rules"
CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
NO_VOLUME = "node(s) didn't find available persistent volumes to bind"


def verdict(one: Object, *others: Object) -> tuple[str, bool] | None:
    """(reasons, final) of node-1."""
    snapshot = Snapshot.of(others)
    cluster = cluster_for(one, snapshot)
    state = next(each for each in cluster.nodes if each.name == "node-1")
    found = first_rejection(candidate(one, cluster), state)
    return None if found is None else (", ".join(found.reasons), found.final)


def exists(key: str = "dedicated", **fields: str) -> Object:
    return {"tolerations": [{"key": key, "operator": "Exists"} | fields]}


def spread(key: str = ZONE, skew: int = 1, **fields: object) -> Object:
    rule = {"topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": "DoNotSchedule"}
    return {"topologySpreadConstraints": [rule | {"labelSelector": {"matchLabels": {"app": "web"}}} | fields]}


UNCORDON = exists("node.kubernetes.io/unschedulable")

NODES = [
    pytest.param(pod(), [node()], None, id="nothing-against-it"),
    pytest.param(pod(), [node(unschedulable=True)], ("node(s) were unschedulable", True), id="cordoned"),
    pytest.param(pod(**UNCORDON), [node(unschedulable=True)], None, id="cordon-tolerated"),
    pytest.param(pod(), [node(taints=[taint()])], (TAINT, True), id="NoSchedule"),
    pytest.param(pod(), [node(taints=[taint(effect="NoExecute")])], (TAINT, True), id="NoExecute"),
    pytest.param(pod(), [node(taints=[taint(effect="PreferNoSchedule")])], None, id="PreferNoSchedule"),
    pytest.param(pod(**exists()), [node(taints=[taint(value="x")])], None, id="tolerated"),
    pytest.param(pod(**exists(effect="NoExecute")), [node(taints=[taint()])], (TAINT, True), id="another-effect"),
    pytest.param(pod(tolerations=[{"key": "dedicated", "value": "y"}]), [node(taints=[taint(value="x")])],
                 (TAINT, True), id="another-value"),
    pytest.param(pod(nodeSelector={"disk": "ssd"}), [node()], (AFFINITY, True), id="nodeSelector"),
    pytest.param(pod(nodeSelector={"disk": "ssd"}), [node(labels={"disk": "ssd"})], None, id="nodeSelector-matches"),
    pytest.param(pod(affinity=node_rule(HOSTNAME, "NotIn", "node-1")), [node()], (AFFINITY, True), id="node-affinity"),
    pytest.param(pod(port=80), [node(), pod("b", port=80, on="node-1")], (PORTS, False), id="host-port-taken"),
    pytest.param(pod(port=80), [node(), pod("b", port=80, on="node-2")], None, id="host-port-elsewhere"),
    pytest.param(pod(port=80), [node(), pod("b", port=80, on="node-1", phase="Failed")], None, id="host-port-of-ended"),
]  # fmt: skip

RESOURCES = [
    pytest.param(pod(cpu="1"), [node(cpu="2"), pod("b", cpu="1500m", on="node-1")], ("Insufficient cpu", False),
                 id="cpu-used"),
    pytest.param(pod(cpu="3"), [node(cpu="2")], ("Insufficient cpu", True), id="more-cpu-than-the-node-has"),
    pytest.param(pod(cpu="2", memory="1Gi"), [node(cpu="2", memory="1Gi")], None, id="exactly-fits"),
    pytest.param(pod(cpu="3", memory="9Gi"), [node(cpu="2")], ("Insufficient cpu, Insufficient memory", True),
                 id="all-resources-are-told"),
    pytest.param(pod(), [node(pods="1"), pod("b", on="node-1")], ("Too many pods", False), id="too-many-pods"),
    pytest.param(pod(cpu="2"), [node(cpu="2"), pod("b", cpu="2", on="node-1", phase="Succeeded")], None,
                 id="ended-pods-use-nothing"),
    pytest.param(pod(cpu="2"), [node(cpu="2"), pod("b", cpu="2") | {"status": {"nominatedNodeName": "node-1"}}],
                 ("Insufficient cpu", False), id="a-promised-place-is-taken"),
    pytest.param(pod(initContainers=[{"name": "i", "resources": {"requests": {"cpu": "3"}}}]), [node(cpu="2")],
                 ("Insufficient cpu", True), id="init-container-at-its-peak"),
    pytest.param(pod(cpu="1", initContainers=[
        {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1500m"}}}]), [node(cpu="2")],
                 ("Insufficient cpu", True), id="sidecar-runs-beside-the-main-container"),
    pytest.param(pod(cpu="1", initContainers=[{"name": "i", "resources": {"requests": {"cpu": "1500m"}}}]),
                 [node(cpu="2")], None, id="init-container-runs-before-the-main-container"),
    pytest.param(pod(cpu="1", overhead={"cpu": "1500m"}), [node(cpu="2")], ("Insufficient cpu", True), id="overhead"),
]  # fmt: skip

NEIGHBOURS = [
    pytest.param(pod(affinity=pod_rule("podAntiAffinity")), [node(), pod("b", on="node-1")], (FAR, False),
                 id="anti-affinity"),
    pytest.param(pod(affinity=pod_rule("podAntiAffinity")), [node(), node("node-2"), pod("b", on="node-2")], None,
                 id="anti-affinity-elsewhere"),
    pytest.param(pod(affinity=pod_rule("podAntiAffinity", ZONE)),
                 [node(zone="a"), node("node-2", zone="a"), pod("b", on="node-2")], (FAR, False),
                 id="anti-affinity-in-the-zone"),
    pytest.param(pod(affinity=pod_rule("podAntiAffinity")), [node(), pod("b", on="node-1", namespace="other")], None,
                 id="anti-affinity-speaks-of-its-own-namespace"),
    pytest.param(pod(affinity=pod_rule("podAntiAffinity", namespaces=["other"])),
                 [node(), pod("b", on="node-1", namespace="other")], (FAR, False), id="named-namespace"),
    pytest.param(pod(affinity=pod_rule("podAntiAffinity", namespaceSelector={})),
                 [node(), pod("b", on="node-1", namespace="other")], (FAR, False), id="all-namespaces"),
    pytest.param(pod(), [node(), pod("b", on="node-1", affinity=pod_rule("podAntiAffinity"))], (GUARDED, False),
                 id="existing-pods-anti-affinity"),
    pytest.param(pod(affinity=pod_rule("podAffinity", app="db")), [node(), node("node-2"),
                 pod("db", on="node-2", labels={"app": "db"})], (NEAR, True), id="affinity-elsewhere"),
    pytest.param(pod(affinity=pod_rule("podAffinity", app="db")),
                 [node(), pod("db", on="node-1", labels={"app": "db"})], None, id="affinity-here"),
    pytest.param(pod(affinity=pod_rule("podAffinity", app="db")), [node()], (NEAR, True), id="affinity-to-nobody"),
    pytest.param(pod(affinity=pod_rule("podAffinity")), [node()], None, id="affinity-to-its-own-kind-may-start"),
    pytest.param(pod(affinity=pod_rule("podAffinity", ZONE)), [node()], (NEAR, True), id="affinity-needs-the-label"),
]  # fmt: skip

ZONES = [node(zone="a"), node("node-2", zone="b")]

SPREADS = [
    pytest.param(pod(**spread()), [*ZONES, pod("b", on="node-1")], (SPREAD, False), id="would-be-too-full"),
    pytest.param(pod(**spread(skew=2)), [*ZONES, pod("b", on="node-1")], None, id="within-maxSkew"),
    pytest.param(pod(**spread()), [*ZONES, pod("b", on="node-2")], None, id="the-emptier-domain"),
    pytest.param(pod(**spread()), [node()], (f"{SPREAD} (missing required label)", True), id="no-such-label"),
    pytest.param(pod(**spread(whenUnsatisfiable="ScheduleAnyway")), [*ZONES, pod("b", on="node-1")], None, id="soft"),
    pytest.param(pod(**spread(minDomains=3)), [*ZONES, pod("b", on="node-1"), pod("c", on="node-2")], (SPREAD, False),
                 id="minDomains"),
    pytest.param(pod(**spread()), [*ZONES, pod("b", on="node-1", terminating=True)], None, id="terminating-pods"),
    pytest.param(pod(**spread(), nodeSelector={ZONE: "a"}), [*ZONES, pod("b", on="node-1")], None,
                 id="domains-the-pod-cannot-use-do-not-count"),
    pytest.param(pod(**spread(nodeAffinityPolicy="Ignore"), nodeSelector={ZONE: "a"}),
                 [*ZONES, pod("b", on="node-1")], (SPREAD, False), id="unless-affinity-is-ignored"),
]  # fmt: skip

WAIT, STATIC = storage_class(), storage_class(provisioner="kubernetes.io/no-provisioner")
USER = pod(volumes=uses("data"))

VOLUMES = [
    pytest.param(USER, [node(), bound_claim(), volume(on="node-1")], None, id="volume-here"),
    pytest.param(USER, [node(), bound_claim(), volume(on="node-2")], (CONFLICT, True), id="volume-on-another-node"),
    pytest.param(USER, [node(), bound_claim(), volume()], None, id="network-volume"),
    pytest.param(USER, [node(), bound_claim()],
                 ("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)", True), id="volume-gone"),
    pytest.param(USER, [node(), claim(), WAIT], None, id="can-be-provisioned"),
    pytest.param(USER, [node(), claim(), STATIC], (NO_VOLUME, True), id="no-provisioner"),
    pytest.param(USER, [node(), claim(), STATIC, volume(on="node-1")], None, id="free-volume-here"),
    pytest.param(USER, [node(), claim(), STATIC, volume(on="node-2")], (NO_VOLUME, True), id="free-volume-elsewhere"),
    pytest.param(USER, [node(), claim(storage="2Gi"), STATIC, volume()], (NO_VOLUME, True), id="free-volume-too-small"),
    pytest.param(pod(volumes=uses("a", "b")), [node(), claim("a"), claim("b"), STATIC, volume()], (NO_VOLUME, True),
                 id="one-volume-for-two-claims"),
    pytest.param(pod(volumes=uses("a", "b")), [node(), claim("a", storage="2Gi"), claim("b"), STATIC, volume("x"),
                 volume("y", storage="2Gi")], None, id="the-smaller-claim-takes-the-smaller-volume"),
    pytest.param(USER, [node(), claim(annotations={"volume.kubernetes.io/selected-node": "node-2"}), WAIT],
                 (NO_VOLUME, True), id="another-node-was-selected"),
    pytest.param(USER, [node(zone="a"), claim(), storage_class(allowedTopologies=[
        {"matchLabelExpressions": [{"key": ZONE, "values": ["b"]}]}])], (NO_VOLUME, True), id="allowedTopologies"),
    pytest.param(USER, [node(), bound_claim(modes=("ReadWriteOncePod",)), volume(), pod(
        "b", on="node-2", volumes=uses("data"))],
        ("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode", False),
        id="ReadWriteOncePod-in-use"),
    pytest.param(USER, [node(), bound_claim(modes=("ReadWriteOncePod",)), volume(), pod(
        "b", on="node-2", volumes=uses("data")) | {"status": {"phase": "Succeeded"}}],
        None, id="ReadWriteOncePod-of-a-pod-that-ended"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "others", "expected"), [*NODES, *RESOURCES, *NEIGHBOURS, *SPREADS, *VOLUMES])
def test_filters(one: Object, others: list[Object], expected: tuple[str, bool] | None) -> None:
    assert verdict(one, *others) == expected


def test_a_namespace_selector_looks_at_the_namespaces_labels() -> None:
    rule = pod_rule("podAntiAffinity", namespaceSelector={"matchLabels": {"team": "a"}})
    other = pod("b", on="node-1", namespace="other")
    meta = builders.metadata("Namespace", "other", namespace="", labels={"team": "a"})
    assert verdict(pod(affinity=rule), node(), other) is None
    assert verdict(pod(affinity=rule), node(), other, {"kind": "Namespace", "metadata": meta}) == (FAR, False)

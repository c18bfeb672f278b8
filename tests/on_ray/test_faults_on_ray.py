"""Every fault on a real cluster, seen from outside (processes, sockets, what kubectl would see), and its heal.

One cluster for all, with the long times of nodes compressed; who comes after the test that stops it gets another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psutil
import pytest

from petset.cluster.api.times import parse_time
from petset.cluster.chaos.gate import GateError
from petset.cluster.network.kernel import probe
from petset.cluster.node.syscall_filter import refusal
from tests.on_ray.driver import Driver, RealCluster, assert_all_end, eventually
from tests.on_ray.faulty import (
    DISK,
    NODE_PORT,
    PODS,
    SERVICE,
    SERVICES,
    SET,
    SETS,
    accepts,
    answers,
    condition,
    pod,
    ready,
    restarts,
    scale,
    status_of,
    taints_of,
    thing,
)
from tests.on_ray.gate import Gate

REFUSAL = probe(only_needed=True).refusal
in_namespaces = pytest.mark.skipif(bool(REFUSAL), reason=f"no namespaces: {REFUSAL}")


@pytest.fixture(scope="module")
def driver(petset: Driver) -> Iterator[Driver]:
    driver = replace(petset, network="loopback" if REFUSAL else "namespaces")
    yield driver
    driver.run("down", "faulty", "--purge", "--yes")


@pytest.fixture
def cluster(driver: Driver) -> RealCluster:
    cluster = driver.cluster("faulty")
    if driver.is_up("faulty"):
        return cluster
    driver.run("down", "faulty", "--purge", "--yes")
    driver.succeed("up", "faulty", "--detach", "--nodes", "2", "--port", "0", "--time-scale", "60", "--disk-faults")
    cluster.request(SERVICES, SERVICE)
    cluster.request("/api/v1/persistentvolumes", DISK)
    cluster.request(SETS, SET)
    eventually(lambda: ready(pod(cluster, "pet-0")), "the pod is ready")
    return cluster


@pytest.fixture
def gate(cluster: RealCluster) -> Iterator[Gate]:
    """Whatever a test has injected is healed after it, and the cluster waited for."""
    gate = Gate(cluster)
    yield gate
    gate.ask(lambda client: client.heal_all())
    for node in ("node-1", "node-2"):
        eventually(lambda node=node: ready(thing(cluster, f"/api/v1/nodes/{node}")), f"{node} is Ready")
    eventually(lambda: ready(pod(cluster, "pet-0")), "the pod is ready again")


# -- processes ---------------------------------------------------------------------------------------------------------


def test_a_killed_pod_is_restarted_by_its_kubelet(cluster: RealCluster, gate: Gate) -> None:
    before = restarts(cluster, "pet-0")
    [row] = gate.containers("pet-0")
    process = gate.outside(row)
    gate.inject("kill-pod", pod="pet-0", signal="KILL")
    eventually(lambda: status_of(process) in ("gone", psutil.STATUS_ZOMBIE), "its process is dead")
    eventually(lambda: restarts(cluster, "pet-0") > before, "another process runs")
    [after] = eventually(lambda: gate.containers("pet-0"), "it is listed")
    assert after["pid"] != row["pid"]


def test_a_frozen_pod_stands_still_with_all_its_processes_and_goes_on(gate: Gate) -> None:
    [row] = gate.containers("pet-0")
    first = gate.outside(row)
    family = [first, *first.children(recursive=True)]
    with gate.injected("freeze-pod", pod="pet-0"):
        assert {status_of(each) for each in family} == {psutil.STATUS_STOPPED}
        assert [each["state"] for each in gate.containers("pet-0")] == ["frozen"]
    eventually(lambda: psutil.STATUS_STOPPED not in {status_of(each) for each in family}, "they go on")
    assert gate.containers("pet-0")[0]["pid"] == row["pid"]


def test_killed_components_come_back_under_their_names(cluster: RealCluster, gate: Gate) -> None:
    names = ("api-server", "controller", "dns", "kubelet-1", "node-2")
    before = {name: gate.component(name)["pid"] for name in names}
    for name in names:
        gate.inject("kill", component=name)
    for name in names:
        eventually(lambda name=name: gate.component(name)["pid"] not in (0, before[name]), f"another {name} is up")
    eventually(lambda: answers(cluster), "the API server answers")


def test_a_frozen_api_server_is_healed_without_it(cluster: RealCluster, gate: Gate) -> None:
    with gate.injected("freeze", component="api-server"):
        process = gate.outside(gate.component("api-server"))
        assert status_of(process) == psutil.STATUS_STOPPED
        assert not answers(cluster)
        assert gate.containers("pet-0")  # asked of the machines
        with pytest.raises(GateError, match="api-server is frozen already"):
            gate.inject("freeze", component="api-server")
    eventually(lambda: answers(cluster), "it answers again")
    assert gate.outside(gate.component("api-server")) == process


def test_the_pods_of_a_frozen_machine_are_still_counted(gate: Gate) -> None:
    [row] = gate.containers("pet-0")
    with gate.injected("freeze", component=row["node"]):
        assert gate.containers("pet-0") == [row]


def test_a_stopped_component_stays_down_until_it_is_healed(gate: Gate) -> None:
    process = gate.outside(gate.component("dns"))
    with gate.injected("stop", component="dns"):
        assert status_of(process) in ("gone", psutil.STATUS_ZOMBIE)
        time.sleep(1.5)  # several times what a killed one needs to come back
        assert gate.component("dns") == {"component": "dns", "pid": 0, "state": "down"}
    eventually(lambda: gate.component("dns")["pid"], "it is up again")


def test_a_stopped_service_proxy_gives_its_ports_back_and_takes_them_again(gate: Gate) -> None:
    eventually(lambda: accepts(NODE_PORT), "the node port is answered")
    for name in ("service-proxy-1", "service-proxy-2"):
        gate.inject("kill", component=name)
    eventually(lambda: accepts(NODE_PORT), "it comes back by itself")
    with gate.injected("stop", component="service-proxy-1"), gate.injected("stop", component="service-proxy-2"):
        eventually(lambda: not accepts(NODE_PORT), "nobody answers")
    eventually(lambda: accepts(NODE_PORT), "it is answered again")


def test_frozen_service_proxies_go_on_with_what_they_know(cluster: RealCluster, gate: Gate) -> None:
    spec = {**SERVICE["spec"], "ports": [{"port": 80, "targetPort": 8080, "nodePort": NODE_PORT + 1}]}
    with gate.injected("freeze", component="service-proxy-1"), gate.injected("freeze", component="service-proxy-2"):
        cluster.request(SERVICES, {**SERVICE, "metadata": {"name": "late"}, "spec": spec})
        time.sleep(1.0)  # ten times what they need
        assert accepts(NODE_PORT)
        assert not accepts(NODE_PORT + 1)
    eventually(lambda: accepts(NODE_PORT + 1), "the new service is answered")


def test_a_machine_without_power_has_no_process_until_it_boots(gate: Gate) -> None:
    names = ("node-2", "kubelet-2")
    processes = [gate.outside(gate.component(name)) for name in names]
    below = processes[0].children(recursive=True)
    with gate.injected("power-off", node="node-2"):
        assert_all_end([*processes, *below])
        assert [gate.component(name)["state"] for name in names] == ["down", "down"]
        assert gate.component("kubelet-1")["state"] == "running"
    for name in names:
        eventually(lambda name=name: gate.component(name)["pid"], f"{name} is up again")


# -- clocks and caches -------------------------------------------------------------------------------------------------


def test_a_kubelet_with_another_clock_shows_it_in_its_lease(cluster: RealCluster, gate: Gate) -> None:
    def lag_seconds() -> float:
        lease = thing(cluster, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-2")
        return time.time() - parse_time(lease["spec"]["renewTime"])

    with gate.injected("skew-clock", node="node-2", seconds=-600):
        eventually(lambda: lag_seconds() > 500, "the lease is renewed in the past")
        gate.inject("kill", component="kubelet-2")
        eventually(lambda: gate.component("kubelet-2")["pid"], "another kubelet")
        time.sleep(1.0)  # a heartbeat or two of it
        assert lag_seconds() > 500
    eventually(lambda: lag_seconds() < 60, "it is the machine's time again")


@pytest.mark.parametrize(
    ("fault", "fields"),
    [
        pytest.param("delay-watch", {"seconds": 3600}, id="changes that come late"),
        pytest.param("drop-watch", {"share": 1.0}, id="changes that are lost"),
    ],
)
def test_a_controller_with_a_stale_cache_acts_when_it_sees_again(
    cluster: RealCluster, gate: Gate, fault: str, fields: dict[str, Any]
) -> None:
    with gate.injected(fault, controller="statefulset-controller", **fields):
        time.sleep(0.5)  # it is started anew with a cache of its own, whose first list must be over
        cluster.request(f"{SETS}/pet/scale", scale(2), method="PUT")
        time.sleep(1.0)  # fifty times what it needs
        assert not pod(cluster, "pet-1")
    eventually(lambda: pod(cluster, "pet-1"), "the second pod is made")
    with gate.injected("duplicate-watch", controller="statefulset-controller"):
        cluster.request(f"{SETS}/pet/scale", scale(1), method="PUT")
        eventually(lambda: not pod(cluster, "pet-1"), "it goes though all is said twice")


# -- disks -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(refusal()), reason=refusal())
@pytest.mark.parametrize("kind", ["fill-disk", "read-only-disk", "fail-fsync"])
def test_a_troubled_disk_takes_no_writes_until_it_is_healed(cluster: RealCluster, gate: Gate, kind: str) -> None:
    def stored(text: str) -> bool:
        try:
            cluster.text(f"{PODS}/pet-0/proxy/", {"text": text}, method="POST")
        except OSError:
            return False
        return text in cluster.text(f"{PODS}/pet-0/proxy/")

    assert eventually(lambda: stored("before"), "the pod stores what it is sent")
    with gate.injected(kind, claim="data-pet-0"):
        assert not stored("meanwhile")
    assert stored("after")
    with gate.injected("slow-fsync", claim="data-pet-0", delay_ms=400):
        began = time.monotonic()
        assert stored("slowly")
        assert time.monotonic() - began > 0.4
    with pytest.raises(GateError, match="claim default/nothing has no volume"):
        gate.inject(kind, claim="nothing")


# -- the network, and the life of a node -------------------------------------------------------------------------------


@in_namespaces
def test_lost_packets_keep_the_api_server_from_a_pod_that_others_reach(cluster: RealCluster, gate: Gate) -> None:
    def reached() -> bool:
        try:
            return "pet-0" in cluster.text(f"{PODS}/pet-0/proxy/", timeout_seconds=1.5)
        except OSError:
            return False

    assert eventually(reached, "the pod answers through the API server")
    with gate.injected("loss", from_="api-server", to="pod/pet-0", share=1.0):
        assert not reached()
        assert accepts(NODE_PORT)
    eventually(reached, "it answers again")


@in_namespaces
@pytest.mark.parametrize(
    ("fault", "fields"),
    [
        pytest.param("bandwidth", {"kbit_per_second": 512}, id="a limit"),
        pytest.param("delay", {"delay_ms": 300}, id="a delay"),
    ],
)
def test_packets_wait_or_the_kernel_is_named_as_the_reason(gate: Gate, fault: str, fields: dict[str, Any]) -> None:
    ends = {"from_": "node/node-1", "to": "node/node-2"}
    with pytest.raises(GateError) as refused, gate.injected(fault, **ends, **fields):
        gate.inject(fault, **ends, **fields)  # the second of a kind is refused in any case
    assert refused.value.status == 409
    reasons = ("does the same between these ends", "this kernel is built without")
    assert any(reason in refused.value.message for reason in reasons)


@in_namespaces
def test_controllers_that_are_cut_off_the_api_server_catch_up(cluster: RealCluster, gate: Gate) -> None:
    with gate.injected("cut", from_="api-server", to="controller"):
        cluster.request(f"{SETS}/pet/scale", scale(0), method="PUT")
        time.sleep(1.0)
        assert "deletionTimestamp" not in pod(cluster, "pet-0")["metadata"]
        cluster.request(f"{SETS}/pet/scale", scale(2), method="PUT")
    eventually(lambda: pod(cluster, "pet-1"), "they act again")
    cluster.request(f"{SETS}/pet/scale", scale(1), method="PUT")
    eventually(lambda: not pod(cluster, "pet-1"), "and again")


@in_namespaces
def test_a_pod_on_a_node_that_is_cut_off_is_replaced_only_by_force(cluster: RealCluster, gate: Gate) -> None:
    """Section 5 of the walk-through, and rules 1 to 8 of node failure."""
    [row] = gate.containers("pet-0")
    node, uid, zombie = row["node"], row["uid"], gate.outside(row)
    fault = gate.inject("cut", from_=f"node/{node}", to="everything")

    def the_node() -> dict[str, Any]:
        return thing(cluster, f"/api/v1/nodes/{node}")

    eventually(lambda: condition(the_node(), "Ready").get("status") == "Unknown", "the node is Unknown")
    assert condition(the_node(), "Ready")["reason"] == "NodeStatusUnknown"
    assert condition(the_node(), "MemoryPressure")["status"] == "Unknown"
    eventually(lambda: not ready(pod(cluster, "pet-0")), "its pod is not ready")
    assert pod(cluster, "pet-0")["status"]["phase"] == "Running"
    taints = eventually(lambda: len(found := taints_of(the_node())) == 2 and found, "both taints")
    assert taints == {("node.kubernetes.io/unreachable", effect) for effect in ("NoSchedule", "NoExecute")}
    eventually(lambda: "deletionTimestamp" in pod(cluster, "pet-0")["metadata"], "the pod is Terminating")
    assert condition(pod(cluster, "pet-0"), "DisruptionTarget")["reason"] == "DeletionByTaintManager"
    cluster.request(f"{PODS}/pet-0", method="DELETE")
    time.sleep(1.0)  # a deleted pod of a living node is replaced in a tenth of this
    assert pod(cluster, "pet-0")["metadata"]["uid"] == uid
    assert status_of(zombie) != "gone"

    cluster.request(f"{PODS}/pet-0?gracePeriodSeconds=0", method="DELETE")
    eventually(lambda: ready(pod(cluster, "pet-0")), "the identity runs elsewhere")
    assert pod(cluster, "pet-0")["metadata"]["uid"] != uid
    assert len(gate.containers("pet-0")) == 2  # which is why force is the user's word, not the cluster's

    gate.ask(lambda client: client.heal(fault))
    eventually(lambda: ready(the_node()), "the node is Ready")
    eventually(lambda: status_of(zombie) in ("gone", psutil.STATUS_ZOMBIE), "the old process is killed")
    eventually(lambda: not taints_of(the_node()), "its taints are gone")
    assert [each["uid"] != uid for each in gate.containers("pet-0")] == [True]
    nothing = {"processes": [], "namespaces": [], "folders": []}
    eventually(lambda: gate.ask(lambda client: client.leftovers()) == nothing, "nothing is left over")


# -- the command, and the end ------------------------------------------------------------------------------------------


def test_the_command_injects_lists_and_heals(petset: Driver, gate: Gate) -> None:
    def chaos(*words: str) -> str:
        return petset.succeed("chaos", *words, "--cluster", "faulty")

    fault = chaos("inject", "freeze", "component=controller", "for_seconds=60").split()[0]
    assert fault in chaos("ls")
    assert "healed" in chaos("heal", fault)
    assert chaos("heal", "--all") == "nothing to heal\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["inject", "kill-pod", "pod=nobody"], "pod default/nobody is not on any", id="no such pod"),
        pytest.param(["heal", "f99"], "there is no fault f99", id="no such fault"),
    ],
)
def test_the_command_refuses_in_one_line(petset: Driver, cluster: RealCluster, words: list[str], said: str) -> None:
    done = petset.run("chaos", *words, "--cluster", "faulty")
    assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (1, True, 1), done.stderr


def test_a_cluster_with_frozen_parts_stops_whole(petset: Driver, cluster: RealCluster) -> None:
    gate, processes = Gate(cluster), cluster.processes()
    gate.inject("freeze", component="controller")
    gate.inject("freeze-pod", pod="pet-0")
    petset.succeed("down", "faulty")
    assert_all_end(processes)
    done = petset.run("chaos", "ls", "--cluster", "faulty")
    assert (done.returncode, "is it running?" in done.stderr) == (1, True)

"""A cluster of two Ray nodes: what is on the further one dies, freezes and comes back with it, and nothing else does.

One cluster for all tests, which build on one another; the last one ends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.on_ray.driver import Driver, RealCluster, assert_all_end, eventually
from tests.on_ray.faulty import DISK, PODS, SET, SETS, condition, pod, ready, status_of, thing
from tests.on_ray.gate import Gate
from tests.on_ray.test_life import listeners

GUARD = "petset.cluster.node.warm_parent"
HERE = ("ray-node-2", "node-1", "kubelet-1")


@pytest.fixture(scope="module")
def cluster(petset: Driver) -> Iterator[RealCluster]:
    petset.succeed("up", "racks", "--detach", "--nodes=1", "--ray-nodes=2", "--port=0", "--time-scale=60")
    cluster = petset.cluster("racks")
    cluster.request("/api/v1/persistentvolumes", DISK)
    cluster.request(SETS, SET)
    yield cluster
    petset.run("down", "racks", "--purge", "--yes")


@pytest.fixture
def gate(cluster: RealCluster) -> Gate:
    return Gate(cluster)


def everything_on(gate: Gate, name: str = "ray-node-2") -> list[psutil.Process]:
    raylet = gate.outside(gate.component(name))
    return [raylet, *raylet.children(recursive=True)]


def the_node(cluster: RealCluster) -> dict[str, Any]:
    return thing(cluster, "/api/v1/nodes/node-1")


def stored(cluster: RealCluster) -> str:
    """What the pod has on its disk; empty when it does not answer."""
    try:
        return cluster.text(f"{PODS}/pet-0/proxy/", timeout_seconds=2.0)
    except OSError:
        return ""


def wait_until_whole(cluster: RealCluster) -> None:
    eventually(lambda: condition(the_node(cluster), "Ready").get("status") == "True", "the node is Ready")
    eventually(lambda: ready(pod(cluster, "pet-0")), "its pod is Ready")
    eventually(lambda: "kept text" in stored(cluster), "the pod has what it had on its disk")


def test_the_emulated_nodes_are_on_the_further_ray_node_and_it_is_said(
    petset: Driver, cluster: RealCluster, gate: Gate
) -> None:
    eventually(lambda: stored(cluster), "the pod answers")
    cluster.text(f"{PODS}/pet-0/proxy/", {"text": "kept text"}, method="POST")
    assert the_node(cluster)["metadata"]["labels"]["petset.dev/ray-node"] == "ray-node-2"
    assert "racks: ray-node-2 holds node-1\n" in petset.succeed("ls")
    here = everything_on(gate)
    assert {gate.outside(gate.component(name)) for name in HERE} < {*here}
    assert not {gate.outside(gate.component(name)) for name in ("api-server", "controller", "dns")} & {*here}
    assert {each for each in listeners(here) if not each.removeprefix("::ffff:").startswith("127.")} == set()


def test_a_frozen_ray_node_stands_still_as_a_whole_and_goes_on_as_it_was(cluster: RealCluster, gate: Gate) -> None:
    here = [each for each in everything_on(gate) if GUARD not in each.parent().cmdline() + each.cmdline()]
    before = gate.containers("pet-0")
    with gate.injected("freeze", component="ray-node-2"):
        assert {status_of(each) for each in here} == {psutil.STATUS_STOPPED}
        assert [gate.component(name)["state"] for name in HERE] == ["frozen"] * 3
        assert gate.component("api-server")["state"] == "running"
        assert gate.containers("pet-0")[0]["pid"] == before[0]["pid"]
    assert psutil.STATUS_STOPPED not in {status_of(each) for each in here}
    eventually(lambda: "kept text" in stored(cluster), "the pod answers")
    assert gate.containers("pet-0") == before


def test_a_ray_node_without_power_is_gone_with_its_nodes_until_it_is_healed(cluster: RealCluster, gate: Gate) -> None:
    here = everything_on(gate)
    with gate.injected("stop", component="ray-node-2"):
        assert_all_end(here, 5)
        assert [gate.component(name)["state"] for name in HERE] == ["down"] * 3
        eventually(lambda: condition(the_node(cluster), "Ready").get("status") == "Unknown", "the node is NotReady")
    wait_until_whole(cluster)
    nothing = {"processes": [], "namespaces": [], "folders": []}
    assert gate.ask(lambda client: client.leftovers()) == nothing


def test_a_ray_node_that_dies_by_itself_is_started_again(cluster: RealCluster, gate: Gate) -> None:
    here = everything_on(gate)
    here[0].kill()
    assert_all_end(here, 5)
    eventually(lambda: gate.component("ray-node-2")["pid"], "it is up again")
    assert "ray-node-2 died (its raylet ended)" in (cluster.folder.log / "supervisor.log").read_text()


def test_down_stops_everything_and_keeps_what_was_stored(petset: Driver, cluster: RealCluster) -> None:
    cluster.request("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}})
    processes, port = cluster.processes(), cluster.folder.read_settings().port
    assert petset.succeed("down", "racks") == "cluster racks stopped; `petset up racks` continues it\n"
    assert_all_end(processes)
    assert "not running" in petset.run("down", "racks").stderr

    petset.succeed("up", "racks", "--detach")
    assert cluster.folder.read_settings().port == port
    assert cluster.request("/api/v1/namespaces/mine")["metadata"]["name"] == "mine"


def test_nothing_outlives_a_killed_supervisor_though_it_stands_still(cluster: RealCluster, gate: Gate) -> None:
    eventually(lambda: stored(cluster), "the pod answers")
    processes = cluster.processes()
    gate.inject("freeze", component="ray-node-2")
    cluster.supervisor.kill()
    assert_all_end(processes)

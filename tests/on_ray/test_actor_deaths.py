"""A killed actor is made again under its name, and what its death takes along is what its kind says."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial

import psutil
import pytest

from tests.on_ray.driver import RealCluster, assert_all_end, eventually
from tests.on_ray.families import FAMILY, container_of, family_of, make_pod


def kill_actor(cluster: RealCluster, name: str) -> None:
    """SIGKILL, then wait until another process is ready under the name."""
    before = cluster.actor_pid(name)
    os.kill(before, signal.SIGKILL)
    eventually(lambda: cluster.actor_pid(name) not in (0, before), f"another {name} is ready")


def processes_of_pod(cluster: RealCluster, pod: str) -> list[int]:
    """A pod's processes carry its name."""
    found = []
    for process in cluster.processes():
        try:
            if process.name() == pod:
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.parametrize("name", ["api-server", "controller", "dns"])
def test_a_killed_actor_comes_back_under_its_name(shared: RealCluster, name: str) -> None:
    kill_actor(shared, name)
    assert len(shared.request("/api/v1/nodes")["items"]) == 2


def test_pods_outlive_their_kubelet_and_the_next_one_adopts_them(shared: RealCluster) -> None:
    make_pod(shared, "stays", "node-1")
    before = eventually(lambda: container_of(shared, "stays"), "the pod runs")
    processes = processes_of_pod(shared, "stays")
    assert processes
    kill_actor(shared, "kubelet-1")
    assert processes_of_pod(shared, "stays") == processes
    assert eventually(lambda: container_of(shared, "stays"), "the pod is adopted") == before


def kill_node(cluster: RealCluster) -> None:
    kill_actor(cluster, "node-2")


def kill_runtime(cluster: RealCluster, *, guard: bool) -> None:
    """SIGKILL for node-2's warm parent, or for the guard above it."""
    [guarding] = [
        each
        for each in psutil.Process(cluster.actor_pid("node-2")).children()
        if "warm_parent" in " ".join(each.cmdline())
    ]
    (guarding if guard else guarding.children()[0]).send_signal(signal.SIGKILL)


@pytest.mark.parametrize(
    ("pod", "kill"),
    [
        pytest.param("falls", kill_node, id="the node's actor is killed"),
        pytest.param("cools", partial(kill_runtime, guard=False), id="the warm parent is killed"),
        pytest.param("strays", partial(kill_runtime, guard=True), id="the warm parent's guard is killed"),
    ],
)
def test_pods_die_whole_with_what_holds_them_and_are_started_again(
    shared: RealCluster, pod: str, kill: Callable[[RealCluster], None]
) -> None:
    make_pod(shared, pod, "node-2", image="busybox", command=["sh", "-c", FAMILY])
    before = eventually(lambda: family_of(shared, pod), "the pod's whole family runs")
    kill(shared)
    assert_all_end(before)
    eventually(lambda: container_of(shared, pod).get("restarts", 0) > 0, "the pod runs again")
    after = eventually(lambda: family_of(shared, pod), "the pod's family runs again")
    assert not {each.pid for each in after} & {each.pid for each in before}
    shared.request(f"/api/v1/namespaces/default/pods/{pod}", method="DELETE")

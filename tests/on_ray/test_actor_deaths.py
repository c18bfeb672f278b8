"""A killed actor is made again under its name, and what its death takes along is what its kind says."""

from __future__ import annotations

import os
import signal
from typing import Any

import psutil
import pytest

from tests.on_ray.driver import RealCluster, eventually


def kill_actor(cluster: RealCluster, name: str) -> None:
    """SIGKILL, then wait until another process is ready under the name."""
    before = cluster.actor_pid(name)
    os.kill(before, signal.SIGKILL)
    eventually(lambda: cluster.actor_pid(name) not in (0, before), f"another {name} is ready")


def make_pod(cluster: RealCluster, name: str, node: str) -> None:
    container = {"name": "kubia", "image": "luksa/kubia-pet", "ports": [{"containerPort": 8080}]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [container]},
    }
    cluster.request("/api/v1/namespaces/default/pods", pod)


def container_of(cluster: RealCluster, pod: str) -> dict[str, Any]:
    """The status of the pod's container once it runs, else nothing."""
    status = cluster.request(f"/api/v1/namespaces/default/pods/{pod}")["status"]
    for container in status.get("containerStatuses") or []:
        if "running" in container["state"] and container["ready"]:
            return {"restarts": container["restartCount"], "id": container["containerID"]}
    return {}


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


def test_pods_die_with_their_node_and_are_started_again(shared: RealCluster) -> None:
    make_pod(shared, "falls", "node-2")
    eventually(lambda: container_of(shared, "falls"), "the pod runs")
    [process] = [psutil.Process(pid) for pid in processes_of_pod(shared, "falls")]
    kill_actor(shared, "node-2")
    eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "its process is dead")
    eventually(lambda: container_of(shared, "falls").get("restarts", 0) > 0, "the pod runs again")
    assert process.pid not in processes_of_pod(shared, "falls")

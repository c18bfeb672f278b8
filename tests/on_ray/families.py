"""Pods on real clusters, and one whose program has a family that must not outlive it."""

from __future__ import annotations

from typing import Any

import psutil

from tests.on_ray.driver import RealCluster

FAMILY = "sleep 27182 & setsid sleep 27183 & (setsid sleep 27184 &) ; wait"
"""A program with a child, a daemon that left its session, and one that lost its parent as well."""


def make_pod(cluster: RealCluster, name: str, node: str, **container: Any) -> None:
    container = {"name": "main", "image": "luksa/kubia-pet", **container}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [container]},
    }
    cluster.request("/api/v1/namespaces/default/pods", pod)


def container_of(cluster: RealCluster, pod: str) -> dict[str, Any]:
    """The status of the pod's container once it runs, else nothing."""
    status = cluster.request(f"/api/v1/namespaces/default/pods/{pod}")["status"]
    for container in status.get("containerStatuses") or []:
        if "running" in container["state"] and container["ready"]:
            return {"restarts": container["restartCount"], "id": container["containerID"]}
    return {}


def family_of(cluster: RealCluster, pod: str) -> list[psutil.Process]:
    """All four processes of a pod that runs FAMILY, or none: its environment tells whose a process is."""
    found = []
    for process in cluster.processes():
        try:
            if process.environ().get("HOSTNAME") == pod:
                found.append(process)
        except psutil.Error:
            continue
    return found if len(found) == 4 else []

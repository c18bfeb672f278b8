"""What faults are done to on a real cluster: a StatefulSet with a disk behind a node port, and questions about it."""

from __future__ import annotations

import socket
from typing import Any

import psutil

from tests.on_ray.driver import RealCluster

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
SETS = "/apis/apps/v1/namespaces/default/statefulsets"
CONTAINER = {
    "name": "main",
    "image": "luksa/kubia-pet",
    "ports": [{"containerPort": 8080}],
    "volumeMounts": [{"name": "data", "mountPath": "/var/data"}],
}
DISK = {
    "apiVersion": "v1",
    "kind": "PersistentVolume",
    "metadata": {"name": "disk"},
    "spec": {
        "capacity": {"storage": "1Mi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/tmp/disk"},
        "storageClassName": "",
    },
}
CLAIM = {
    "metadata": {"name": "data"},
    "spec": {
        "resources": {"requests": {"storage": "1Mi"}},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
    },
}
SET: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "pet"},
    "spec": {
        "serviceName": "pet",
        "replicas": 1,
        "selector": {"matchLabels": {"app": "pet"}},
        "template": {
            "metadata": {"labels": {"app": "pet"}},
            "spec": {"containers": [CONTAINER], "terminationGracePeriodSeconds": 1},
        },
        "volumeClaimTemplates": [CLAIM],
    },
}
NODE_PORT = 31080
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "front"},
    "spec": {
        "type": "NodePort",
        "selector": {"app": "pet"},
        "ports": [{"port": 80, "targetPort": 8080, "nodePort": NODE_PORT}],
    },
}


def thing(cluster: RealCluster, path: str) -> dict[str, Any]:
    """An object; empty when it is not there or nobody answers."""
    try:
        return cluster.request(path)
    except OSError:
        return {}


def pod(cluster: RealCluster, name: str) -> dict[str, Any]:
    return thing(cluster, f"{PODS}/{name}")


def condition(obj: dict[str, Any], type_: str) -> dict[str, Any]:
    found = [each for each in obj.get("status", {}).get("conditions", []) if each["type"] == type_]
    return found[0] if found else {}


def ready(obj: dict[str, Any]) -> bool:
    return condition(obj, "Ready").get("status") == "True" and "deletionTimestamp" not in obj["metadata"]


def answers(cluster: RealCluster, seconds: float = 1.0) -> bool:
    """Whether the API server answers a connection at all."""
    with socket.create_connection(("127.0.0.1", cluster.folder.read_settings().port), seconds) as line:
        line.settimeout(seconds)
        try:
            line.sendall(b"GET / HTTP/1.0\r\n\r\n")  # no TLS: a living server says so, or hangs up
            line.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True
    return True


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def restarts(cluster: RealCluster, name: str) -> int:
    statuses = pod(cluster, name).get("status", {}).get("containerStatuses") or [{}]
    return int(statuses[0].get("restartCount", 0))


def status_of(process: psutil.Process) -> str:
    try:
        return process.status()
    except psutil.NoSuchProcess:
        return "gone"


def taints_of(node: dict[str, Any]) -> set[tuple[str, str]]:
    return {(each["key"], each["effect"]) for each in node.get("spec", {}).get("taints") or []}


def scale(replicas: int) -> dict[str, Any]:
    metadata = {"name": "pet", "namespace": "default"}
    return {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": {"replicas": replicas}}

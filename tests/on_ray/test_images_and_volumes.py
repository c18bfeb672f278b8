"""Images that users add, PostgreSQL as a StatefulSet, and what a pod finds in its volumes, on a whole cluster."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import petset
from petset.cluster.network.kernel import probe
from petset.cluster.node.catalogue_files import shipped_programs
from tests.on_ray.driver import Driver, RealCluster, eventually

REFUSAL = probe(only_needed=True).refusal
pytestmark = [
    pytest.mark.skipif(bool(REFUSAL), reason=f"no namespaces: {REFUSAL}"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH"),
]
EXAMPLES = Path(petset.__file__).parent / "examples"
[POSTGRES] = [each for each in shipped_programs() if each.name == "postgres"]
NAMESPACE = "images"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
PODS = f"{CORE}/pods"
READ_PODS = f"""
from kubernetes import client, config
config.load_incluster_config()
print([pod.metadata.name for pod in client.CoreV1Api().list_namespaced_pod("{NAMESPACE}").items])
"""


@pytest.fixture(scope="module")
def cluster(shared_in_namespaces: RealCluster) -> Iterator[RealCluster]:
    cluster = shared_in_namespaces
    with cluster.namespace(NAMESPACE):
        cluster.request(f"{CORE}/configmaps", {"metadata": {"name": "settings"}, "data": {"a": "old"}})
        volumes = [{"name": "v", "configMap": {"name": "settings"}}]
        mounts = [{"name": "v", "mountPath": "/etc/app"}]
        start(cluster, "reader", "example.com/own", volumeMounts=mounts, volumes=volumes)
        eventually(lambda: phase(cluster, "reader") == "Running", "the reader runs")
        body = json.dumps({"data": {"a": "new"}})  # on its way to the reader while other tests run
        kubectl(cluster, "patch", "configmap", "settings", "--type=merge", f"--patch={body}")
        yield cluster


def start(
    cluster: RealCluster, name: str, image: str, *, volumes: Any = (), restart: str = "Always", **main: Any
) -> None:
    container = {"name": "main", "image": image, **main}
    spec = {"restartPolicy": restart, "volumes": list(volumes), "containers": [container]}
    spec["terminationGracePeriodSeconds"] = 0
    cluster.request(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


def status(cluster: RealCluster, name: str) -> dict[str, Any]:
    found: dict[str, Any] = cluster.request(f"{PODS}/{name}")["status"]
    return found


def phase(cluster: RealCluster, name: str) -> str:
    return str(status(cluster, name)["phase"])


def kubectl(cluster: RealCluster, *arguments: str) -> str:
    environment = {**os.environ, "KUBECONFIG": str(cluster.folder.kubeconfig)}
    done = subprocess.run(
        ["kubectl", "--namespace", NAMESPACE, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def test_an_image_is_missing_until_it_is_added(cluster: RealCluster, petset: Driver, tmp_path: Path) -> None:
    start(cluster, "late", "example.com/late:1")

    def told() -> bool:
        waiting = [each["state"].get("waiting", {}) for each in status(cluster, "late").get("containerStatuses", [])]
        return any("`petset image add FILE`" in each.get("message", "") for each in waiting)

    eventually(told, "the remedy is named")
    (tmp_path / "late.yaml").write_text("images: [{name: late, match: example.com/late, command: [sleep, '1000']}]")
    petset.succeed("image", "add", str(tmp_path / "late.yaml"), "--cluster", cluster.name)
    start(cluster, "later", "example.com/late:1")  # the first pod waits for its back-off
    eventually(lambda: phase(cluster, "later") == "Running", "it runs")
    assert "example.com/late" in petset.succeed("image", "ls", "--cluster", cluster.name)
    petset.succeed("image", "rm", "late", "--cluster", cluster.name)


def test_the_official_client_works_inside_a_pod(cluster: RealCluster) -> None:
    start(cluster, "client", "busybox", restart="Never", command=[sys.executable, "-c", READ_PODS])
    eventually(lambda: phase(cluster, "client") in ("Succeeded", "Failed"), "it has ended")
    assert "'client'" in kubectl(cluster, "logs", "client")


@pytest.mark.skipif(bool(POSTGRES.missing), reason=f"PostgreSQL cannot run here: {POSTGRES.missing}")
def test_postgresql_keeps_what_it_acknowledged(cluster: RealCluster) -> None:
    kubectl(cluster, "apply", "-f", str(EXAMPLES / "postgresql/postgresql.yaml"))
    kubectl(cluster, "rollout", "status", "statefulset/postgres", "--timeout=90s")
    psql = ("exec", "postgres-0", "--", "psql", "--dbname=pets", "--tuples-only", "--no-align", "--command")
    kubectl(cluster, *psql, "create table pet (name text); insert into pet values ('fido')")
    before = cluster.request(f"{PODS}/postgres-0")["metadata"]["uid"]
    kubectl(cluster, "delete", "pod", "postgres-0", "--grace-period=0", "--force")

    def is_ready() -> bool:
        pods = {pod["metadata"]["name"]: pod for pod in cluster.request(PODS)["items"]}
        conditions = pods.get("postgres-0", {}).get("status", {}).get("conditions", [])
        ready = any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)
        return ready and pods["postgres-0"]["metadata"]["uid"] != before

    eventually(is_ready, "its successor is ready", 90)
    assert kubectl(cluster, *psql, "select current_user || ' has ' || name from pet") == "postgres has fido\n"


def test_a_changed_config_map_has_reached_the_running_pod(cluster: RealCluster) -> None:
    eventually(lambda: kubectl(cluster, "exec", "reader", "--", "cat", "/etc/app/a") == "new", "the new file")
    assert status(cluster, "reader")["containerStatuses"][0]["restartCount"] == 0

"""A whole cluster in namespaces: pods as users write them, node ports, a node that is cut off, and deaths."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psutil
import pytest

from petset.cluster.network.kernel import probe
from tests.on_ray.driver import Driver, RealCluster, assert_all_end, eventually
from tests.on_ray.namespaces import USERS, driver_of, fault, init_of, pod_cables

REFUSAL = probe(only_needed=True).refusal
pytestmark = pytest.mark.skipif(bool(REFUSAL), reason=f"no namespaces: {REFUSAL}")
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")

PODS = "/api/v1/namespaces/default/pods"
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pet"}}
SERVICES = "/api/v1/namespaces/default/services"
SET = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "web"},
    "spec": {
        "serviceName": "web",
        "replicas": 2,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "nginx",
                        "ports": [{"containerPort": 80}],
                        "volumeMounts": [{"name": "html", "mountPath": "/usr/share/nginx/html"}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1},
                        "lifecycle": {
                            "postStart": {
                                "exec": {"command": ["sh", "-c", "hostname > /usr/share/nginx/html/index.html"]}
                            }
                        },
                    }
                ],
                "volumes": [{"name": "html", "emptyDir": {}}],
            },
        },
    },
}


@pytest.fixture(scope="module")
def cluster(petset: Driver) -> Iterator[RealCluster]:
    petset = replace(petset, network="namespaces")
    petset.succeed("up", "spaces", "--detach", "--nodes", "2", "--port", "0", "--time-scale", "6")
    cluster = petset.cluster("spaces")
    cluster.request(SERVICES, service("web", {"clusterIP": "None", "ports": [{"port": 80}]}))
    cluster.request(SERVICES, service("front", {"type": "NodePort", "ports": [{"port": 80, "name": "http"}]}))
    cluster.request("/apis/apps/v1/namespaces/default/statefulsets", SET)
    eventually(lambda: ready_pods(cluster) == {"web-0", "web-1"}, "both pods are ready")
    yield cluster
    petset.run("down", "spaces", "--purge", "--yes")


def service(name: str, spec: dict[str, Any], app: str = "web") -> dict[str, Any]:
    spec = {**spec, "selector": {"app": app}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def conditions(thing: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in thing["status"].get("conditions", [])}


def ready_pods(cluster: RealCluster) -> set[str]:
    pods = cluster.request(PODS)["items"]
    return {pod["metadata"]["name"] for pod in pods if conditions(pod).get("Ready") == "True"}


def node_is_ready(cluster: RealCluster, name: str) -> str:
    return conditions(cluster.request(f"/api/v1/nodes/{name}"))["Ready"]


def test_pods_have_the_addresses_of_a_real_cluster(cluster: RealCluster) -> None:
    pods = {pod["metadata"]["name"]: pod["status"] for pod in cluster.request(PODS)["items"]}
    assert {status["podIP"].rsplit(".", 1)[0] for status in pods.values()} == {"10.244.1", "10.244.2"}
    assert {status["hostIP"] for status in pods.values()} == {"172.18.0.1", "172.18.0.2"}


def kubectl(cluster: RealCluster, *arguments: str, stdin: str = "") -> str:
    """What kubectl prints; it must succeed."""
    folder = cluster.folder
    command = ["kubectl", "--kubeconfig", str(folder.kubeconfig), "--cache-dir", str(folder.root / "cache"), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_kubectl
def test_a_lookup_in_a_pod_of_its_own_prints_the_records_and_leaves_nothing(cluster: RealCluster) -> None:
    """As the book does it: `kubectl run -it srvlookup --image=tutum/dnsutils --rm --restart=Never -- dig SRV …`."""
    name = "web.default.svc.cluster.local"
    options = ["--image=tutum/dnsutils", "--rm", "--restart=Never"]
    out = kubectl(cluster, "run", "-i", "srvlookup", *options, "--", "dig", "SRV", name)
    for pod in ("web-0", "web-1"):
        assert re.search(rf"{re.escape(name)}\.\s+\d+\s+IN\s+SRV\s+0 50 80 {pod}\.{re.escape(name)}\.", out), out
        assert re.search(rf"{pod}\.{re.escape(name)}\.\s+\d+\s+IN\s+A\s+10\.244\.", out), out
    assert 'pod "srvlookup" deleted' in out
    assert ready_pods(cluster) == {"web-0", "web-1"}


@needs_kubectl
def test_exec_and_debug_are_in_the_pods_own_surroundings(cluster: RealCluster) -> None:
    where = kubectl(cluster, "exec", "web-0", "--", "sh", "-c", "hostname; cat /usr/share/nginx/html/index.html")
    assert where == "web-0\nweb-0\n"
    look = "read word; echo $word; hostname; ps -A -o comm="
    command = ["debug", "-i", "web-0", "--image=busybox", "--target=main", "--", "sh", "-c", look]
    said = kubectl(cluster, *command, stdin="look\n").splitlines()
    assert said[said.index("look") + 1] == "web-0"
    assert {"nginx", "keeper", "sh"} < {*said}  # who looks after the debugging program is there, too
    command = ["debug", "-i", "node/node-1", "--image=busybox", "--", "sh", "-c", look]
    said = kubectl(cluster, *command, stdin="look\n").splitlines()
    assert said[said.index("look") + 1] == "node-1"
    assert "ray::NodeShell" in said
    for pod in cluster.request(PODS)["items"]:
        if "node-debugger" in pod["metadata"]["name"]:
            cluster.request(f"{PODS}/{pod['metadata']['name']}", method="DELETE")


def test_a_node_port_answers_on_the_host_and_goes_with_its_service(cluster: RealCluster) -> None:
    port = cluster.request(f"{SERVICES}/front")["spec"]["ports"][0]["nodePort"]

    def answer() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                return str(response.read().decode())
        except OSError:
            return ""

    eventually(lambda: answer() in ("web-0\n", "web-1\n"), "the node port answers")
    cluster.request(f"{SERVICES}/front", method="DELETE")
    eventually(lambda: not answer(), "the port is closed")


def test_nothing_of_it_listens_on_the_host_but_the_api(cluster: RealCluster) -> None:
    own = {connection.laddr for process in [cluster.supervisor] for connection in process.net_connections("tcp")}
    assert {address.port for address in own} <= {cluster.folder.read_settings().port}
    host = os.readlink("/proc/self/ns/net")
    inside = init_of(cluster).children(recursive=True)
    assert len(inside) > 10
    assert host not in {os.readlink(f"/proc/{process.pid}/ns/net") for process in inside if process.is_running()}


def test_a_node_that_is_cut_off_is_not_ready_while_its_pods_run_on(cluster: RealCluster) -> None:
    [pod] = [pod for pod in cluster.request(PODS)["items"] if pod["spec"]["nodeName"] == "node-2"]
    fault(cluster, "cut_node", 2)
    eventually(lambda: node_is_ready(cluster, "node-2") == "Unknown", "node-2 is lost", 90)
    assert node_is_ready(cluster, "node-1") == "True"
    [after] = [each for each in cluster.request(PODS)["items"] if each["metadata"]["name"] == pod["metadata"]["name"]]
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    assert conditions(after)["Ready"] == "False"
    fault(cluster, "heal_node", 2)
    eventually(lambda: node_is_ready(cluster, "node-2") == "True", "node-2 is back", 60)
    eventually(lambda: ready_pods(cluster) == {"web-0", "web-1"}, "its pod is ready again", 30)
    [after] = [each for each in cluster.request(PODS)["items"] if each["metadata"]["name"] == pod["metadata"]["name"]]
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_killed_machine_leaves_no_cable_and_its_pods_come_back(cluster: RealCluster) -> None:
    assert pod_cables(cluster, 1) == 1
    before = restarts(cluster)
    machine = psutil.Process(cluster.actor_pid("node-1"))
    machine.kill()
    eventually(lambda: restarts(cluster) > before, "the pod of node-1 was started again", 60)
    eventually(lambda: ready_pods(cluster) == {"web-0", "web-1"}, "both pods are ready again", 60)
    eventually(lambda: pod_cables(cluster, 1) == 1, "one pod, one cable")


def restarts(cluster: RealCluster) -> int:
    pods = cluster.request(PODS)["items"]
    return sum(each["restartCount"] for pod in pods for each in pod["status"].get("containerStatuses", []))


@pytest.fixture(params=USERS)
def any_user(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with driver_of(request.param) as driver:
        yield driver


def test_nothing_outlives_a_killed_supervisor_and_the_cluster_starts_again(any_user: Driver) -> None:
    any_user.succeed("up", "one", "--detach", "--nodes", "1", "--port", "0")
    cluster = any_user.cluster("one")
    try:
        cluster.request(PODS, {**POD, "spec": {"containers": [{"name": "main", "image": "nginx"}]}})
        eventually(lambda: ready_pods(cluster) == {"pet"}, "the pod is ready")
        processes = cluster.processes()
        cluster.supervisor.kill()
        assert_all_end(processes, 5.0)
        any_user.succeed("up", "one", "--detach")
        eventually(lambda: ready_pods(cluster) == {"pet"}, "the pod is ready again")
        processes = cluster.processes()
    finally:
        any_user.run("down", "one")
    assert_all_end(processes, 5.0)

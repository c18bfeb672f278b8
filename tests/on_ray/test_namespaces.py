"""A whole cluster in namespaces: pods as users write them, node ports, a node that is cut off, and deaths."""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from petset.cluster.network.kernel import probe
from tests.on_ray.driver import Driver, RealCluster, assert_all_end, eventually
from tests.on_ray.namespaces import fault, init_of, pod_cables
from tests.unprivileged import NOBODY

REFUSAL = probe(only_needed=True).refusal
pytestmark = pytest.mark.skipif(bool(REFUSAL), reason=f"no namespaces: {REFUSAL}")

PODS = "/api/v1/namespaces/default/pods"
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pet"}}
NODE_PROGRAM = """
const dns = require('dns'), fs = require('fs'), http = require('http'), os = require('os');
fs.writeFileSync('/var/data/kubia.txt', 'written');
http.createServer((request, response) => {
  dns.resolveSrv('peers.default.svc.cluster.local', (error, found) => {
    const names = error ? [String(error)] : found.map(each => each.name).sort();
    response.end(JSON.stringify({said: os.hostname() + ' ' + names + ' ' + fs.readFileSync('/var/data/kubia.txt')}));
  });
}).listen(8080, '0.0.0.0');
"""
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
    petset.succeed("up", "spaces", "--detach", "--nodes", "2", "--port", "0")
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
    machine = psutil.Process(outside_pid(cluster, cluster.actor_pid("node-1")))
    machine.kill()
    eventually(lambda: restarts(cluster) > before, "the pod of node-1 was started again", 60)
    eventually(lambda: ready_pods(cluster) == {"web-0", "web-1"}, "both pods are ready again", 60)
    eventually(lambda: pod_cables(cluster, 1) == 1, "one pod, one cable")


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_an_unmodified_nodejs_program_finds_its_peers_and_keeps_its_data(cluster: RealCluster) -> None:
    cluster.request(
        SERVICES, service("peers", {"clusterIP": "None", "ports": [{"port": 8080, "name": "http"}]}, "node")
    )
    template = {
        "metadata": {"labels": {"app": "node"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "main",
                    "image": "luksa/kubia-pet-peers",
                    "command": ["node", "-e", NODE_PROGRAM],
                    "volumeMounts": [{"name": "data", "mountPath": "/var/data"}],
                    "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                }
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }
    spec = {"serviceName": "peers", "replicas": 2, "podManagementPolicy": "Parallel", "template": template}
    spec["selector"] = {"matchLabels": {"app": "node"}}
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "node"}, "spec": spec}
    cluster.request("/apis/apps/v1/namespaces/default/statefulsets", owner)
    try:
        eventually(lambda: ready_pods(cluster) >= {"node-0", "node-1"}, "both pods are ready", 60)
        targets = "node-0.peers.default.svc.cluster.local,node-1.peers.default.svc.cluster.local"
        eventually(lambda: answer_of(cluster, "node-0") == f"node-0 {targets} written", "node-0 knows both")
    finally:
        cluster.request("/apis/apps/v1/namespaces/default/statefulsets/node", method="DELETE")
        eventually(lambda: ready_pods(cluster) == {"web-0", "web-1"}, "its pods are gone", 60)


def answer_of(cluster: RealCluster, pod: str) -> str:
    try:
        return str(cluster.request(f"{PODS}/{pod}:8080/proxy/").get("said", ""))
    except OSError:
        return ""


def restarts(cluster: RealCluster) -> int:
    pods = cluster.request(PODS)["items"]
    return sum(each["restartCount"] for pod in pods for each in pod["status"].get("containerStatuses", []))


def outside_pid(cluster: RealCluster, inside_pid: int) -> int:
    """The process id on the host of a process that says `inside_pid` of itself."""
    for process in init_of(cluster).children(recursive=True):
        numbers = Path(f"/proc/{process.pid}/status").read_text().partition("NSpid:")[2].split("\n")[0].split()
        if numbers == [str(process.pid), str(inside_pid)]:
            return process.pid
    raise AssertionError(f"no process {inside_pid} inside")


@pytest.fixture(params=["as this user", "unprivileged"])
def any_user(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with tempfile.TemporaryDirectory() as folder:
        unprivileged = request.param == "unprivileged" and os.geteuid() == 0
        if unprivileged:
            os.chown(folder, NOBODY, NOBODY)
        yield Driver(Path(folder), "namespaces", unprivileged)


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

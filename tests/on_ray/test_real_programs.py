"""Programs that know nothing of petset, from the shipped manifests: etcd, Node.js and nginx (docs/real-programs.md).

One cluster of three nodes for all, brought up by a user without privileges; PETSET_TESTS_USER="as this user" brings
it up as whoever runs the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import petset
from petset.cluster.network.kernel import probe
from tests.on_ray.driver import RealCluster, assert_all_end, eventually
from tests.on_ray.namespaces import driver_of, fault

REFUSAL = probe(only_needed=True).refusal
pytestmark = [
    pytest.mark.skipif(bool(REFUSAL), reason=f"no namespaces: {REFUSAL}"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH"),
    pytest.mark.timeout(300),
]
EXAMPLES = Path(petset.__file__).parent / "examples"
USER = os.environ.get("PETSET_TESTS_USER", "unprivileged")
MEMBERS = ("etcd-0", "etcd-1", "etcd-2")
READY_SECONDS = 90
EXEC_SECONDS = 30


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


class Kubectl:
    """kubectl on the cluster of this module."""

    def __init__(self, cluster: RealCluster) -> None:
        self.cluster = cluster
        self._environment = {**os.environ, "KUBECONFIG": str(cluster.folder.kubeconfig)}

    def try_(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["kubectl", *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=120, check=False)

    def __call__(self, *arguments: str) -> str:
        done = self.try_(*arguments)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def apply(self, example: str, name: str) -> None:
        """Apply an example and wait for its StatefulSet."""
        self("apply", "-f", str(EXAMPLES / example))
        done = self.try_("rollout", "status", f"statefulset/{name}", f"--timeout={READY_SECONDS}s")
        assert done.returncode == 0, self("describe", "pods", "-l", f"app={name}") + self("logs", f"{name}-0")

    def pods(self, name: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self("get", "pods", "-l", f"app={name}", "-o", "json"))["items"]
        return items


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    with driver_of(USER) as driver:
        processes = []
        try:
            driver.succeed("up", "real", "--detach", "--nodes", "3", "--port", "0")
            cluster = driver.cluster("real")
            processes = cluster.processes()
            yield Kubectl(cluster)
        finally:
            driver.run("down", "real", "--purge", "--yes")
        assert_all_end(processes)


@needs("etcd", "etcdctl")
def test_etcd_keeps_quorum_while_the_leaders_node_is_cut_off_and_the_lost_member_rejoins(kubectl: Kubectl) -> None:
    kubectl.apply("etcd/etcd.yaml", "etcd")
    where = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in kubectl.pods("etcd")}
    assert len(set(where.values())) == 3

    def etcdctl(member: str, *arguments: str) -> str:
        done = kubectl.try_("exec", member, "--", "etcdctl", "--command-timeout=2s", *arguments)
        return done.stdout if done.returncode == 0 else ""

    def leader() -> str:
        endpoints = ",".join(f"{member}.etcd:2379" for member in MEMBERS)
        status = json.loads(etcdctl("etcd-0", "endpoint", "status", f"--endpoints={endpoints}", "-w", "json") or "[]")
        for each in status:
            if each["Status"]["leader"] == each["Status"]["header"]["member_id"]:
                return str(each["Endpoint"]).split(".")[0]
        return ""

    eventually(lambda: etcdctl("etcd-0", "put", "pet", "before"), "the members accept writes", EXEC_SECONDS)
    lost = eventually(leader, "the members have a leader")
    survivor = next(member for member in MEMBERS if member != lost)
    number = where[lost].removeprefix("node-")
    fault(kubectl.cluster, "cut_node", number)
    try:
        eventually(lambda: etcdctl(survivor, "put", "pet", "during"), "the others accept writes again", EXEC_SECONDS)
        eventually(lambda: etcdctl(survivor, "get", "pet", "--print-value-only") == "during\n", "and know them")
    finally:
        fault(kubectl.cluster, "heal_node", number)

    def of_its_own() -> bool:
        """What the member itself holds, whatever the others say."""
        return etcdctl(lost, "get", "pet", "--consistency=s", "--print-value-only") == "during\n"

    eventually(of_its_own, f"{lost} has caught up")
    eventually(lambda: etcdctl(lost, "put", "pet", "after"), f"{lost} takes part again", EXEC_SECONDS)
    assert all(pod["status"]["containerStatuses"][0]["restartCount"] == 0 for pod in kubectl.pods("etcd"))


@needs("node")
def test_nodejs_keeps_its_data_and_finds_its_peers(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl.apply("nodejs/kubia.yaml", "kubia-js")

    def pod(number: int) -> str:
        return f"/api/v1/namespaces/default/pods/kubia-js-{number}:8080/proxy/"

    for number in range(2):
        (tmp_path / "body").write_text(f"data of {number}")
        answer = kubectl("create", "--raw", pod(number), "-f", str(tmp_path / "body"))
        assert answer == f"Data stored on pod kubia-js-{number}\n"
    names = [f"kubia-js-{number}.kubia-js.default.svc.cluster.local" for number in range(2)]
    both = f"- {names[0]}: data of 0\n- {names[1]}: data of 1\n"
    eventually(lambda: kubectl("get", "--raw", pod(0)) == both, "kubia-js-0 has found both by DNS")
    before = kubectl.pods("kubia-js")[0]["metadata"]["uid"]
    kubectl("delete", "pod", "kubia-js-0")
    eventually(lambda: kubectl.pods("kubia-js")[0]["metadata"]["uid"] != before, "another kubia-js-0")
    eventually(lambda: kubectl.try_("get", "--raw", pod(0)).stdout == both, "which has the data of the first")


@needs("nginx")
def test_nginx_listens_on_port_80_in_three_pods_of_one_node(kubectl: Kubectl) -> None:
    kubectl.apply("nginx/nginx.yaml", "nginx")
    pods = kubectl.pods("nginx")
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 1
    for pod in pods:
        name = pod["metadata"]["name"]
        assert kubectl("get", "--raw", f"/api/v1/namespaces/default/pods/{name}:80/proxy/") == f"{name}\n"
    assert "nginx: worker process" in kubectl("exec", "nginx-0", "--", "sh", "-c", "cat /proc/[0-9]*/cmdline")

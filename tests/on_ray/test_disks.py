"""Disks on a real cluster: nothing that was fsynced is ever lost, and a fenced disk has one writer.

One cluster lives through the deaths one after the other: bringing up another for each costs more than it shows. Who
comes after the test that removes it gets another.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from petset.cluster.network.kernel import probe
from tests.on_ray.driver import Driver, RealCluster, assert_all_end, eventually
from tests.on_ray.namespaces import driver_of, fault

REFUSAL = probe(only_needed=True).refusal
pytestmark = pytest.mark.skipif(bool(REFUSAL), reason=f"no namespaces: {REFUSAL}")

CORE = "/api/v1/namespaces/default"
SETS = "/apis/apps/v1/namespaces/default/statefulsets"
WRITER = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
journal = os.open("/data/journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
for number in range(100000):
    os.write(journal, f"{os.environ['NODE']} {os.environ['UID']} {number}\\n".encode())
    os.fsync(journal)
    print(os.environ["UID"], number, flush=True)
    time.sleep(0.02)
"""
"""Keeps its file open for writing, and prints what it has on the disk: its log is what it acknowledged."""


def writer_set() -> dict[str, Any]:
    def of_pod(name: str, path: str) -> dict[str, Any]:
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}

    container = {
        "name": "main",
        "image": "busybox",
        "command": ["python3", "-c", WRITER],
        "env": [of_pod("NODE", "spec.nodeName"), of_pod("UID", "metadata.uid")],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web"},
        "spec": {
            "serviceName": "web",
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
            },
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        },
    }


class Journal:
    """The writer's file, and its pod, as the host sees them."""

    def __init__(self, cluster: RealCluster) -> None:
        self.cluster = cluster

    @property
    def path(self) -> Path:
        claim = self.cluster.request(f"{CORE}/persistentvolumeclaims/data-web-0")
        return self.cluster.folder.volumes / "disks" / claim["spec"]["volumeName"] / "journal"

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.path.read_text().splitlines()]

    def pod(self) -> dict[str, Any] | None:
        items = self.cluster.request(f"{CORE}/pods")["items"]
        return next((each for each in items if each["metadata"]["name"] == "web-0"), None)

    def writes(self, *, other_than: str = "") -> dict[str, Any]:
        """Wait until a pod with another uid has written something new; that pod."""

        def look() -> dict[str, Any] | None:
            pod = self.pod()
            if pod is None or pod["metadata"]["uid"] == other_than:
                return None
            seen = [line for line in self.lines() if line[1] == pod["metadata"]["uid"]]
            return pod if seen and is_whole(seen[-1]) else None

        return eventually(look, "the pod writes")

    def acknowledged(self) -> set[tuple[str, str]]:
        """(uid, number) that the machines' logs of the pod hold."""
        logs = [*self.cluster.folder.root.glob("nodes/*/pods/*/logs/main/*.log")]
        records = [line for log in logs for line in log.read_text().splitlines()]
        words = [line.split() for line in records]
        return {(each[-2], each[-1]) for each in words if len(each) >= 2 and each[-1].isdecimal()}

    def holds(self, acknowledged: set[tuple[str, str]]) -> None:
        written = {(line[1], line[2]) for line in self.lines() if is_whole(line)}
        assert acknowledged <= written


def is_whole(line: list[str]) -> bool:
    return len(line) == 3


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    with driver_of("as this user") as driver:
        yield driver
        driver.run("down", "disks", "--purge", "--yes")


@pytest.fixture
def journal(driver: Driver) -> Journal:
    """A writer on a cluster of two nodes that fences."""
    journal = Journal(driver.cluster("disks"))
    if driver.is_up("disks"):
        return journal
    driver.run("down", "disks", "--purge", "--yes")
    driver.succeed("up", "disks", "--detach", "--nodes", "2", "--port", "0", "--fence")
    journal.cluster.request(SETS, writer_set())
    eventually(lambda: journal.pod(), "the pod is made")
    eventually(lambda: "volumeName" in claim_spec(journal) and journal.path.exists(), "the disk is there")
    journal.writes()
    return journal


def claim_spec(journal: Journal) -> dict[str, Any]:
    found: dict[str, Any] = journal.cluster.request(f"{CORE}/persistentvolumeclaims/data-web-0")["spec"]
    return found


def change(cluster: RealCluster, path: str, body: dict[str, Any]) -> None:
    """Merge a change into an object, as an administrator."""
    present = cluster.request(path)
    for field, value in body.items():
        present[field] = {**present[field], **value}
    cluster.request(path, present, method="PUT")


def test_the_zombie_of_a_lost_node_writes_no_more(journal: Journal) -> None:
    cluster, pod = journal.cluster, journal.writes()
    node, uid = pod["spec"]["nodeName"], pod["metadata"]["uid"]
    fault(cluster, "cut_node", int(node.removeprefix("node-")))
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
    change(cluster, f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True, "taints": [taint]}})
    before = len(journal.lines())
    eventually(lambda: len(journal.lines()) > before + 5, "the cut-off pod goes on writing")
    cluster.request(f"{CORE}/pods/web-0", {"gracePeriodSeconds": 0}, method="DELETE")
    new = journal.writes(other_than=uid)
    assert new["spec"]["nodeName"] != node
    count = len(journal.lines())
    eventually(lambda: len(journal.lines()) > count + 10, "the new pod goes on writing")
    writers = [line[1] for line in journal.lines() if is_whole(line)]
    assert uid not in writers[writers.index(new["metadata"]["uid"]) :]
    attachments = cluster.request("/apis/storage.k8s.io/v1/volumeattachments")["items"]
    assert [each["spec"]["nodeName"] for each in attachments] == [new["spec"]["nodeName"]]
    fault(cluster, "heal_node", int(node.removeprefix("node-")))
    change(cluster, f"/api/v1/nodes/{node}", {"spec": {"unschedulable": False, "taints": []}})


def test_a_disk_outlives_everything(driver: Driver, journal: Journal) -> None:
    cluster, pod = journal.cluster, journal.writes()
    uid, volume = pod["metadata"]["uid"], claim_spec(journal)["volumeName"]

    cluster.request(f"{SETS}/web/scale", scale_to(cluster, 0), method="PUT")
    eventually(lambda: journal.pod() is None, "the pod is gone")
    kept = journal.path.read_bytes()
    cluster.request(f"{SETS}/web", method="DELETE")
    cluster.request(SETS, writer_set())
    pod = journal.writes(other_than=uid)
    assert journal.path.read_bytes().startswith(kept)

    psutil.Process(cluster.actor_pid(pod["spec"]["nodeName"])).kill()
    eventually(lambda: restarts(journal) == 1, "the machine that died has started its container again")
    kept = journal.path.read_bytes()
    eventually(lambda: len(journal.path.read_bytes()) > len(kept), "the container writes again")
    assert journal.path.read_bytes().startswith(kept)

    acknowledged = journal.acknowledged()
    assert acknowledged
    everything = cluster.processes()
    cluster.supervisor.send_signal(signal.SIGKILL)
    assert_all_end(everything)
    journal_path = cluster.folder.volumes / "disks" / volume / "journal"
    kept = journal_path.read_bytes()
    assert {tuple(line.split()[1:]) for line in kept.decode().splitlines()} >= acknowledged

    driver.succeed("up", "disks", "--detach")
    assert claim_spec(journal)["volumeName"] == volume
    eventually(lambda: len(journal.path.read_bytes()) > len(kept), "the pod writes again")
    assert journal.path.read_bytes().startswith(kept)

    driver.succeed("down", "disks")
    kept = journal_path.read_bytes()
    refused = driver.run("down", "disks", "--purge")
    assert refused.returncode != 0
    assert journal_path.read_bytes() == kept
    driver.succeed("down", "disks", "--purge", "--yes")
    assert not journal_path.exists()


def restarts(journal: Journal) -> int:
    pod = journal.pod()
    return sum(each["restartCount"] for each in (pod or {"status": {}})["status"].get("containerStatuses", []))


def scale_to(cluster: RealCluster, replicas: int) -> dict[str, Any]:
    scale = cluster.request(f"{SETS}/web/scale")
    answer: dict[str, Any] = json.loads(json.dumps(scale)) | {"spec": {"replicas": replicas}}
    return answer

"""The stories of the scenario scripts with kubectl on a real cluster: real processes and time, waits for conditions."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.on_ray.driver import RealCluster, eventually

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")

WAIT = "--timeout=90s"


class Kubectl:
    """kubectl in a namespace of its own."""

    def __init__(self, cluster: RealCluster, namespace: str) -> None:
        self.cluster = cluster
        self._namespace = namespace

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """What it printed; a failure fails the test."""
        done = subprocess.run(
            ["kubectl", "--namespace", self._namespace, *arguments],
            env={**os.environ, "KUBECONFIG": str(self.cluster.folder.kubeconfig)},
            input=stdin, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def objects(self, kind: str) -> dict[str, dict[str, Any]]:
        items = json.loads(self("get", kind, "-o", "json"))["items"]
        return {each["metadata"]["name"]: each for each in items}

    def rolled_out(self) -> dict[str, dict[str, Any]]:
        """The pods, once the set's roll is complete."""
        self("rollout", "status", "statefulset/web", WAIT)
        return self.objects("pods")

    def said(self, reason: str) -> list[str]:
        """The pods of the set's events of this reason, oldest first."""
        events = self.objects("events").values()
        about = [each for each in events if each["involvedObject"]["kind"] == "StatefulSet"]
        about.sort(key=lambda each: int(each["metadata"]["resourceVersion"]))
        return [each["message"].split()[2] for each in about if each["reason"] == reason and " Pod " in each["message"]]


@pytest.fixture
def kubectl(shared: RealCluster, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """In a namespace that goes with everything in it when the test is over."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    run = Kubectl(shared, name)
    run("create", "namespace", name)
    yield run
    run("delete", "namespace", name, "--wait=false")


PROBE = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
"""Comes mostly a moment before the guest listens, and then once more: such a pod takes a second to be Ready."""


def web(*, probed: bool = False, **spec: Any) -> dict[str, Any]:
    """A StatefulSet of the seeds' guest with a claim each."""
    labels = {"app": "web"}
    container: dict[str, Any] = {
        "name": "kubia",
        "image": "luksa/kubia-pet",
        "volumeMounts": [{"name": "data", "mountPath": "/var/data"}],
    }
    if probed:
        container["readinessProbe"] = PROBE
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web"},
        "spec": {
            "serviceName": "web",
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            "volumeClaimTemplates": [claim],
            **spec,
        },
    }


def uid_of(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["uid"])


def image_of(pod: dict[str, Any]) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def test_pods_come_and_go_in_order_and_find_their_claims_again(kubectl: Kubectl) -> None:
    kubectl.apply(web(probed=True))
    pods = kubectl.rolled_out()
    assert sorted(pods) == ["web-0", "web-1", "web-2"]
    assert kubectl.said("SuccessfulCreate") == ["data-web-0", "web-0", "data-web-1", "web-1", "data-web-2", "web-2"]
    volumes = {name: each["spec"]["volumeName"] for name, each in kubectl.objects("pvc").items()}

    kubectl("scale", "statefulset", "web", "--replicas=1")
    kubectl("wait", "--for=delete", "pod/web-2", "pod/web-1", WAIT)
    assert kubectl.said("SuccessfulDelete") == ["web-2", "web-1"]

    kubectl("scale", "statefulset", "web", "--replicas=3")
    kubectl.rolled_out()
    assert {name: each["spec"]["volumeName"] for name, each in kubectl.objects("pvc").items()} == volumes


def test_a_canary_a_roll_and_the_way_back(kubectl: Kubectl) -> None:
    kubectl.apply(web(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}))
    before = kubectl.rolled_out()
    kubectl("set", "image", "statefulset/web", "kubia=luksa/kubia-pet-peers")
    canary = kubectl.rolled_out()
    assert [image_of(canary[name]) for name in sorted(canary)] == ["luksa/kubia-pet"] * 2 + ["luksa/kubia-pet-peers"]
    assert uid_of(canary["web-0"]) == uid_of(before["web-0"])

    kubectl("patch", "statefulset", "web", "-p", '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}')
    kubectl.rolled_out()
    assert kubectl.said("SuccessfulDelete") == ["web-2", "web-1", "web-0"]

    revisions = sorted(kubectl.objects("controllerrevisions"))
    kubectl("rollout", "undo", "statefulset/web")
    after = kubectl.rolled_out()
    assert {image_of(pod) for pod in after.values()} == {"luksa/kubia-pet"}
    assert sorted(kubectl.objects("controllerrevisions")) == revisions


def test_orphans_are_adopted_and_nothing_restarts(kubectl: Kubectl) -> None:
    kubectl.apply(web(replicas=2))
    before = kubectl.rolled_out()
    kubectl("delete", "statefulset", "web", "--cascade=orphan")
    orphans = kubectl.objects("pods")
    assert not any(pod["metadata"].get("ownerReferences") for pod in orphans.values())
    kubectl.apply(web(replicas=2))
    after = kubectl.rolled_out()
    assert {name: uid_of(pod) for name, pod in after.items()} == {name: uid_of(pod) for name, pod in before.items()}
    eventually(
        lambda: all(pod["metadata"].get("ownerReferences") for pod in kubectl.objects("pods").values()), "adopted"
    )


def test_claims_go_with_their_pods_when_the_policy_says_so(kubectl: Kubectl) -> None:
    policy = {"whenScaled": "Delete", "whenDeleted": "Delete"}
    kubectl.apply(web(podManagementPolicy="Parallel", persistentVolumeClaimRetentionPolicy=policy))
    kubectl.rolled_out()
    kubectl("scale", "statefulset", "web", "--replicas=1")
    kubectl("wait", "--for=delete", "pvc/data-web-2", "pvc/data-web-1", WAIT)
    kubectl("wait", "--for=jsonpath={.metadata.ownerReferences[0].kind}=StatefulSet", "pvc/data-web-0", WAIT)
    kubectl("delete", "statefulset", "web", "--cascade=foreground")
    assert kubectl.objects("pods") == {}
    kubectl("wait", "--for=delete", "pvc/data-web-0", WAIT)


def test_a_roll_survives_the_death_of_the_controllers(kubectl: Kubectl) -> None:
    kubectl.apply(web(probed=True))
    kubectl.rolled_out()
    kubectl("set", "image", "statefulset/web", "kubia=luksa/kubia-pet-peers")
    controller = kubectl.cluster.actor_pid("controller")
    os.kill(controller, signal.SIGKILL)
    eventually(lambda: kubectl.cluster.actor_pid("controller") not in (0, controller), "another controller is ready")
    pods = kubectl.rolled_out()
    assert {image_of(pod) for pod in pods.values()} == {"luksa/kubia-pet-peers"}
    assert {pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods.values()} == {0}

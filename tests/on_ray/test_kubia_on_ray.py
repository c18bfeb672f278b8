"""The seeds' walk-through on a real cluster, word for word with kubectl, its proxy and HTTP.

`petset demo`, which plays it too, is run from the wheel (test_wheel.py).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import petset
from tests.on_ray.driver import RealCluster, eventually

EXAMPLES = Path(petset.__file__).parent / "examples" / "kubia"

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")


def kubectl(cluster: RealCluster, *arguments: str) -> str:
    """What kubectl printed; a failure fails the test."""
    environment = {**os.environ, "KUBECONFIG": str(cluster.folder.kubeconfig)}
    done = subprocess.run(["kubectl", *arguments], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


@contextmanager
def kubectl_proxy(cluster: RealCluster) -> Iterator[str]:
    """`kubectl proxy` on a free port; the URL it serves."""
    environment = {**os.environ, "KUBECONFIG": str(cluster.folder.kubeconfig)}
    command = ["kubectl", "proxy", "--port=0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"127\.0\.0\.1:\d+", process.stdout.readline())
            assert found is not None
            yield f"http://{found.group()}"
        finally:
            process.terminate()


def curl(url: str, data: str | None = None) -> str:
    """The body of an answer, whatever its status."""
    request = urllib.request.Request(url, data=data.encode() if data is not None else None)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()


@needs_kubectl
def test_the_seeds_commands(shared: RealCluster) -> None:
    for name in ("persistent-volumes", "service-headless", "service-public", "service-state", "statefulset"):
        kubectl(shared, "apply", "-f", str(EXAMPLES / f"{name}.yaml"))
    kubectl(shared, "rollout", "status", "statefulset/kubia", "--timeout=60s")
    assert kubectl(shared, "get", "sts", "kubia").split()[3:5] == ["kubia", "2/2"]
    claims = kubectl(shared, "get", "pvc").splitlines()
    assert [line.split()[:2] for line in claims[1:]] == [["data-kubia-0", "Bound"], ["data-kubia-1", "Bound"]]

    with kubectl_proxy(shared) as url:
        default = f"{url}/api/v1/namespaces/default"
        pods = f"{default}/pods"
        eventually(lambda: "You've hit" in curl(f"{pods}/kubia-1/proxy/"), "kubia-1 answers")
        assert curl(f"{pods}/kubia-0/proxy/") == "You've hit kubia-0\nData stored on this pod: No data posted yet\n"
        greeting = "Hey There! This greeting was submitted to kubia-0."
        assert curl(f"{pods}/kubia-0/proxy/", greeting) == "Data stored on pod kubia-0\n"
        assert curl(f"{pods}/kubia-0/proxy/") == f"You've hit kubia-0\nData stored on this pod: {greeting}\n"

        headless = json.loads(curl(f"{default}/services/kubia/proxy/"))
        assert headless["message"] == 'no endpoints available for service "kubia"'

        kubectl(shared, "apply", "-f", str(EXAMPLES / "statefulset-peers.yaml"))
        kubectl(shared, "rollout", "status", "statefulset/kubia", "--timeout=60s")
        expected = [
            f"- kubia-0.kubia.default.svc.cluster.local: {greeting}",
            "- kubia-1.kubia.default.svc.cluster.local: No data posted yet",
            "- kubia-2.kubia.default.svc.cluster.local: No data posted yet",
        ]
        public = f"{default}/services/kubia-public/proxy/"
        eventually(lambda: curl(public).splitlines()[2:] == expected, "every peer's data")

        uid = kubectl(shared, "get", "pod", "kubia-0", "-o", "jsonpath={.metadata.uid}")
        assert kubectl(shared, "delete", "po", "kubia-0").strip() == 'pod "kubia-0" deleted'
        kubectl(shared, "rollout", "status", "statefulset/kubia", "--timeout=60s")
        assert kubectl(shared, "get", "pod", "kubia-0", "-o", "jsonpath={.metadata.uid}") != uid
        eventually(lambda: greeting in curl(f"{pods}/kubia-0/proxy/"), "kubia-0 has its data")

    kubectl(shared, "scale", "statefulset", "kubia", "--replicas=1")
    kubectl(shared, "wait", "--for=delete", "pod/kubia-1", "pod/kubia-2", "--timeout=60s")
    kubectl(shared, "delete", "statefulset", "kubia")
    kubectl(shared, "delete", "service", "kubia", "kubia-public", "kubia-state")
    kubectl(shared, "delete", "pvc", "data-kubia-0", "data-kubia-1", "data-kubia-2")
    kubectl(shared, "wait", "--for=delete", "pod/kubia-0", "--timeout=60s")
    released = [line.split()[4] for line in kubectl(shared, "get", "pv").splitlines()[1:]]
    assert released == ["Released"] * 3


@needs_kubectl
def test_an_unknown_image_says_what_would_fix_it(shared: RealCluster) -> None:
    kubectl(shared, "run", "lost", "--image=nobody/knows-this")
    try:
        reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
        eventually(
            lambda: kubectl(shared, "get", "pod", "lost", "-o", reason) in ("ErrImagePull", "ImagePullBackOff"),
            "the pull fails",
        )
        assert "nobody/knows-this" in kubectl(shared, "describe", "pod", "lost")
    finally:
        kubectl(shared, "delete", "pod", "lost")

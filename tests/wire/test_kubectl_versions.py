"""Every kubectl on this machine, release by release: bodies in JSON and in protobuf, apply in both forms, drain."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from petset.cluster.api.objects import Object
from petset.cluster.clock import SystemClock
from tests.apis import manifest_pod, manifest_stateful_set, new_api
from tests.wire.operators.widgets import definition, widget
from tests.wire.serving import Served, needs_kubectl, serving

pytestmark = needs_kubectl


def programs() -> list[str]:
    """`kubectl.1.27` … beside the real path of kubectl, or kubectl alone."""
    found = shutil.which("kubectl")
    if found is None:
        return []
    beside = sorted(Path(found).resolve().parent.glob("kubectl.1.*"), key=lambda path: int(path.name.split(".")[-1]))
    return [str(path) for path in beside] or [found]


PROGRAMS = programs()
NEWEST = PROGRAMS[-1] if PROGRAMS else "kubectl"
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: Path(path).name)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(await new_api(SystemClock()), tmp_path) as it:
        yield it


async def succeed(served: Served, program: str, command: str, stdin: str = "") -> str:
    """What a command prints; it must exit with 0."""
    result = await served.kubectl(*command.split(), stdin=stdin, program=program)
    assert result.code == 0, f"{command}: {result.err}"
    return result.out.strip()


async def stored(served: Served, kind: str, name: str, namespace: str = "default") -> Object:
    return await served.client.get(kind, name, namespace)


@each_program
async def test_typed_creates_whatever_their_encoding(served: Served, program: str) -> None:
    """kubectl 1.32 and later send protobuf for these, older ones JSON: the stored objects are the same."""
    await succeed(served, program, "create configmap c --from-literal=x=1 --from-literal=empty=")
    assert (await stored(served, "ConfigMap", "c"))["data"] == {"x": "1", "empty": ""}
    await succeed(served, program, "create secret generic s --from-literal=x=1")
    secret = await stored(served, "Secret", "s")
    assert (secret["data"], secret["type"]) == ({"x": "MQ=="}, "Opaque")
    await succeed(served, program, "create deployment d --image=luksa/kubia --port=8080 --replicas=0")
    spec = (await stored(served, "Deployment", "d"))["spec"]
    assert spec["replicas"] == 0
    assert spec["template"]["spec"]["containers"][0]["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": "25%"}
    await succeed(served, program, "create service nodeport n --tcp=80:http")
    port = (await stored(served, "Service", "n"))["spec"]["ports"][0]
    assert (port["port"], port["targetPort"]) == (80, "http")
    await succeed(served, program, "create quota q --hard=pods=3,requests.cpu=500m")
    assert (await stored(served, "ResourceQuota", "q"))["spec"]["hard"] == {"pods": "3", "requests.cpu": "500m"}
    await succeed(served, program, "create role r --verb=get --resource=pods")
    assert (await stored(served, "Role", "r"))["rules"] == [
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
    ]
    await succeed(served, program, "create namespace ns")
    await succeed(served, program, "create serviceaccount bob")
    token = await succeed(served, program, "create token bob")
    assert await succeed(served, program, f"auth can-i create pods --token={token}") == "yes"


@each_program
async def test_apply_in_both_forms_and_from_one_to_the_other(served: Served, program: str) -> None:
    text = yaml.safe_dump(manifest_stateful_set())
    assert "created" in await succeed(served, program, "apply -f -", text)
    more = yaml.safe_dump(manifest_stateful_set(replicas=4))
    assert "serverside-applied" in await succeed(served, program, "apply --server-side -f -", more)
    before = await stored(served, "StatefulSet", "kubia")
    assert before["spec"]["replicas"] == 4
    managers = [(each["manager"], each["operation"]) for each in before["metadata"]["managedFields"]]
    assert ("kubectl", "Apply") in managers
    assert ("kubectl-client-side-apply", "Update") not in managers
    assert "serverside-applied" in await succeed(served, program, "apply --server-side -f -", more)
    assert await stored(served, "StatefulSet", "kubia") == before, "the same apply again changes nothing"
    await succeed(served, program, "scale sts/kubia --replicas=7")
    refused = await served.kubectl("apply", "--server-side", "-f", "-", stdin=more, program=program)
    assert refused.code == 1
    expected = r'conflict with "kubectl\S*" with subresource "scale" using apps/v1: .spec.replicas'
    assert re.search(expected, refused.err), refused.err
    await succeed(served, program, "apply --server-side --force-conflicts -f -", more)
    assert (await stored(served, "StatefulSet", "kubia"))["spec"]["replicas"] == 4


@each_program
async def test_a_custom_kind_from_definition_to_end(served: Served, program: str) -> None:
    await succeed(served, program, "create -f -", yaml.safe_dump(definition()))
    await succeed(served, program, "wait --for=condition=Established crd/widgets.example.com --timeout=10s")
    await succeed(served, program, "apply -f -", yaml.safe_dump(widget(mode="fast")))
    assert (await succeed(served, program, "get wd")).split() == ["NAME", "SIZE", "READY", "a", "2"]
    await succeed(served, program, "scale widget/a --replicas=4")
    assert await succeed(served, program, "get widget a -o jsonpath={.spec.size}") == "4"
    assert "integer" in await succeed(served, program, "explain widget.spec.size")
    refused = await served.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(widget(size=9)), program=program)
    assert refused.err.strip() == (
        'The Widget "a" is invalid: spec.size: Invalid value: 9: spec.size in body should be less than or equal to 5'
    )
    await succeed(served, program, "delete crd widgets.example.com --timeout=10s")
    gone = await served.kubectl("get", "widgets", program=program)
    assert gone.code == 1


@each_program
async def test_a_node_is_drained(served: Served, program: str) -> None:
    await served.client.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}})
    pod = manifest_pod("a", nodeName="node-1", terminationGracePeriodSeconds=0)
    pod["metadata"]["namespace"] = "default"
    await served.client.create(pod)
    await succeed(served, program, "drain node-1 --force --timeout=10s")
    assert (await stored(served, "Node", "node-1", ""))["spec"]["unschedulable"] is True
    assert (await served.client.list("Pod", "default")).items == []
    await succeed(served, program, "uncordon node-1")
    await succeed(served, program, "taint node node-1 a=b:NoSchedule")


async def test_the_verbs_that_read_and_compare(served: Served) -> None:
    text = yaml.safe_dump(manifest_stateful_set())
    await succeed(served, NEWEST, "apply -f -", text)
    assert await succeed(served, NEWEST, "diff -f -", text) == ""
    changed = await served.kubectl(
        "diff", "-f", "-", stdin=yaml.safe_dump(manifest_stateful_set(replicas=9)), program=NEWEST
    )
    assert (changed.code, "+  replicas: 9" in changed.out) == (1, True), changed.err
    assert (await stored(served, "StatefulSet", "kubia"))["spec"]["replicas"] == 2, "diff stores nothing"
    assert await succeed(served, NEWEST, "auth can-i delete nodes") == "yes"
    assert "kubernetes-admin" in await succeed(served, NEWEST, "auth whoami")
    assert "control plane" in await succeed(served, NEWEST, "cluster-info")
    await succeed(served, NEWEST, "set image sts/kubia kubia=other")
    await succeed(served, NEWEST, "label sts kubia a=b")
    await succeed(served, NEWEST, "annotate sts kubia a=b")
    await succeed(served, NEWEST, "replace -f -", text)
    assert "Replicas:" in await succeed(served, NEWEST, "describe sts kubia")
    await succeed(served, NEWEST, "get events")
    await succeed(served, NEWEST, "autoscale sts kubia --max=3 --cpu-percent=50")
    scaler = await stored(served, "HorizontalPodAutoscaler", "kubia")
    assert scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    assert scaler["apiVersion"] == "autoscaling/v2"


async def test_edit_sends_a_patch(served: Served) -> None:
    await succeed(served, NEWEST, "apply -f -", yaml.safe_dump(manifest_stateful_set()))
    script = served.settings.folder.root / "edit.sh"
    script.write_text('#!/bin/sh\nsed -i "s/^  replicas: 2/  replicas: 6/" "$1"\n')
    script.chmod(0o755)
    result = await served.kubectl("edit", "sts", "kubia", program=NEWEST, editor=str(script))
    assert result.code == 0, result.err
    assert (await stored(served, "StatefulSet", "kubia"))["spec"]["replicas"] == 6


async def test_api_resources_lists_every_kind_once(served: Served) -> None:
    out = await succeed(served, NEWEST, "api-resources -o name")
    names = out.split()
    assert len(names) == len(set(names))
    assert {"jobs.batch", "ingresses.networking.k8s.io", "roles.rbac.authorization.k8s.io"} <= set(names)
    raw = json.loads(await succeed(served, NEWEST, "get --raw /apis"))
    assert "apps" in [group["name"] for group in raw["groups"]]

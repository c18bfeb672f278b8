"""Real kubectl against the API server alone: the verbs, the forms and the errors, without any controller."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from petset.cluster.clock import SystemClock
from tests.apis import manifest_pod, manifest_service, manifest_stateful_set, new_api
from tests.wire.serving import Served, needs_kubectl, serving

pytestmark = needs_kubectl


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(await new_api(SystemClock()), tmp_path) as it:
        yield it


async def test_version_and_discovery(served: Served) -> None:
    version = await served.kubectl("version", "-o", "json")
    assert json.loads(version.out)["serverVersion"]["major"] == "1"
    resources = (await served.kubectl("api-resources")).out
    assert "statefulsets" in resources
    assert "sts" in resources
    versions = (await served.kubectl("api-versions")).out.split()
    assert {"apps/v1", "batch/v1", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1", "v1"} <= set(versions)
    assert "apps/v1beta1" not in versions


async def test_apply_again_changes_nothing_and_a_change_is_patched(served: Served) -> None:
    text = yaml.safe_dump_all([manifest_service(), manifest_stateful_set()])
    first = await served.kubectl("apply", "-f", "-", stdin=text)
    assert first.out.splitlines() == ["service/kubia created", "statefulset.apps/kubia created"], first.err
    again = await served.kubectl("apply", "-f", "-", stdin=text)
    # kubectl cannot see that the server's defaults inside a claim template are no difference, and sends a patch that
    # changes nothing: against Kubernetes, too, it says "configured" for such a set.
    assert again.out.splitlines() == ["service/kubia unchanged", "statefulset.apps/kubia configured"]
    generation = await served.kubectl("get", "sts", "kubia", "-o", "jsonpath={.metadata.generation}")
    assert generation.out == "1"
    text = yaml.safe_dump(manifest_stateful_set(replicas=5))
    assert "configured" in (await served.kubectl("apply", "-f", "-", stdin=text)).out
    replicas = await served.kubectl("get", "sts", "kubia", "-o", "jsonpath={.spec.replicas}")
    assert replicas.out == "5"


async def test_lists_are_tables(served: Served) -> None:
    await served.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest_stateful_set()))
    await served.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest_pod()))
    sets = (await served.kubectl("get", "sts")).out.splitlines()
    assert sets[0].split() == ["NAME", "READY", "AGE"]
    assert sets[1].split()[:2] == ["kubia", "0/2"]
    pods = (await served.kubectl("get", "pods", "-o", "wide")).out.splitlines()
    assert pods[0].split()[:6] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP"]
    assert pods[1].split()[:4] == ["a", "0/1", "Pending", "0"]
    assert "kubia" in (await served.kubectl("get", "all")).out


async def test_a_list_file_and_server_side_names(served: Served) -> None:
    text = yaml.safe_dump({"kind": "List", "apiVersion": "v1", "items": [manifest_service(), manifest_pod()]})
    result = await served.kubectl("apply", "-f", "-", stdin=text)
    assert result.code == 0, result.err
    assert (await served.kubectl("get", "svc,pods", "-o", "name")).out.split() == [
        "service/kubernetes",
        "service/kubia",
        "pod/a",
    ]


async def test_scale_and_patch(served: Served) -> None:
    await served.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest_stateful_set()))
    scaled = await served.kubectl("scale", "statefulset", "web", "--replicas=5")
    assert (scaled.code, "not found" in scaled.err) == (1, True)
    assert (await served.kubectl("scale", "sts/kubia", "--replicas=5")).out.strip() == "statefulset.apps/kubia scaled"
    merge = await served.kubectl("patch", "statefulset", "kubia", "-p", '{"spec":{"replicas":3}}')
    assert merge.out.strip() == "statefulset.apps/kubia patched"
    operation = '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"luksa/kubia-pet-peers"}]'
    await served.kubectl("patch", "statefulset", "kubia", "--type=json", f"-p={operation}")
    found = await served.kubectl("get", "sts", "kubia", "-o", "json")
    spec = json.loads(found.out)["spec"]
    assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]) == (3, "luksa/kubia-pet-peers")


async def test_describe_delete_and_wait(served: Served) -> None:
    await served.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest_stateful_set()))
    described = await served.kubectl("describe", "sts", "kubia")
    assert "Replicas:           2 desired | 0 total" in described.out, described.err
    waiting = await served.kubectl("wait", "sts/kubia", "--for=jsonpath={.status.replicas}=0", "--timeout=5s")
    assert "condition met" in waiting.out
    assert (await served.kubectl("delete", "sts", "kubia")).out.strip() == 'statefulset.apps "kubia" deleted'
    assert "NotFound" in (await served.kubectl("get", "sts", "kubia")).err


async def test_label_annotate_and_edit_nodes(served: Served) -> None:
    await served.client.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}})
    assert "labeled" in (await served.kubectl("label", "node", "node-1", "disk=ssd")).out
    assert "cordoned" in (await served.kubectl("cordon", "node-1")).out
    assert "tainted" in (await served.kubectl("taint", "node", "node-1", "a=b:NoSchedule")).out
    shown = (await served.kubectl("get", "nodes")).out.splitlines()[1]
    assert "SchedulingDisabled" in shown


async def test_explain(served: Served) -> None:
    explained = await served.kubectl("explain", "statefulset.spec.updateStrategy")
    assert "rollingUpdate" in explained.out, explained.err


class TestRefusals:
    async def test_an_unknown_field(self, served: Served) -> None:
        text = yaml.safe_dump(manifest_stateful_set(bogus=1))
        result = await served.kubectl("apply", "-f", "-", stdin=text)
        assert result.code == 1
        assert 'unknown field "spec.bogus"' in result.err

    async def test_an_unknown_kind(self, served: Served) -> None:
        text = "apiVersion: apps/v1beta1\nkind: StatefulSet\nmetadata: {name: x}\n"
        result = await served.kubectl("apply", "-f", "-", stdin=text)
        assert result.code == 1
        assert 'no matches for kind "StatefulSet" in version "apps/v1beta1"' in result.err

    async def test_an_invalid_manifest_names_its_fields(self, served: Served) -> None:
        text = yaml.safe_dump(manifest_stateful_set(replicas=-1))
        result = await served.kubectl("apply", "-f", "-", stdin=text)
        assert result.err.strip() == (
            'The StatefulSet "kubia" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
        )

    async def test_a_wrong_token(self, served: Served) -> None:
        result = await served.kubectl("--token=wrong", "get", "pods")
        assert result.code == 1
        assert "must be logged in" in result.err

"""Real kubectl against a whole control plane over fake machines: rollouts, scaling and drains as a user sees them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from tests.local import Local, local_cluster
from tests.scenarios.workloads import manifest_budget, manifest_deployment
from tests.wire.serving import Result, Served, needs_kubectl, serving

pytestmark = needs_kubectl

PATIENCE = "--timeout=20s"


@dataclass(frozen=True)
class Shell:
    """kubectl and the cluster that it speaks to, in real time."""

    served: Served
    local: Local

    async def __call__(self, *arguments: str, stdin: str = "") -> Result:
        return await self.served.kubectl(*arguments, stdin=stdin)

    async def says(self, *arguments: str, stdin: str = "") -> str:
        """What a command that succeeds prints."""
        result = await self(*arguments, stdin=stdin)
        assert result.code == 0, result.err
        return result.out.strip()

    async def image(self) -> str:
        return await self.says("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}")


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Shell]:
    async with local_cluster() as local, serving(local.cluster.api, tmp_path) as served:
        yield Shell(served, local)


async def roll_out(kubectl: Shell) -> None:
    await kubectl.says("apply", "-f", "-", stdin=yaml.safe_dump(manifest_deployment()))
    done = 'deployment "web" successfully rolled out'
    assert (await kubectl.says("rollout", "status", "deploy/web", PATIENCE)).endswith(done)


async def test_rollout_status_history_undo_and_restart(kubectl: Shell) -> None:
    await roll_out(kubectl)
    assert await kubectl.says("set", "image", "deploy/web", "main=nginx:2") == "deployment.apps/web image updated"
    await kubectl.says("annotate", "deploy/web", "kubernetes.io/change-cause=a newer nginx")
    rolled = await kubectl.says("rollout", "status", "deploy/web", PATIENCE)
    assert rolled.endswith('deployment "web" successfully rolled out')
    rows = [
        line.split(maxsplit=1) for line in (await kubectl.says("rollout", "history", "deploy/web")).splitlines()[2:]
    ]
    assert rows == [["1", "<none>"], ["2", "a newer nginx"]]
    assert "nginx:1" in await kubectl.says("rollout", "history", "deploy/web", "--revision=1")
    assert await kubectl.says("rollout", "undo", "deploy/web") == "deployment.apps/web rolled back"
    await kubectl.says("rollout", "status", "deploy/web", PATIENCE)
    assert await kubectl.image() == "nginx:1"
    history = (await kubectl.says("rollout", "history", "deploy/web")).splitlines()[2:]
    assert [line.split()[0] for line in history] == ["2", "3"]
    assert await kubectl.says("rollout", "undo", "deploy/web", "--to-revision=2") == "deployment.apps/web rolled back"
    await kubectl.says("rollout", "status", "deploy/web", PATIENCE)
    assert await kubectl.image() == "nginx:2"
    before = await kubectl.says("get", "pods", "-o", "name")
    assert await kubectl.says("rollout", "restart", "deploy/web") == "deployment.apps/web restarted"
    await kubectl.says("rollout", "status", "deploy/web", PATIENCE)
    assert set((await kubectl.says("get", "pods", "-o", "name")).split()).isdisjoint(before.split())


async def test_pause_and_resume(kubectl: Shell) -> None:
    await roll_out(kubectl)
    assert await kubectl.says("rollout", "pause", "deploy/web") == "deployment.apps/web paused"
    await kubectl.says("set", "image", "deploy/web", "main=nginx:2")
    refused = await kubectl("rollout", "undo", "deploy/web", "--to-revision=1")
    assert "cannot rollback a paused deployment" in refused.err
    assert len((await kubectl.says("get", "rs", "-o", "name")).split()) == 1
    assert await kubectl.says("rollout", "resume", "deploy/web") == "deployment.apps/web resumed"
    await kubectl.says("rollout", "status", "deploy/web", PATIENCE)
    assert len((await kubectl.says("get", "rs", "-o", "name")).split()) == 2


async def test_apply_again_rolls_nothing_and_the_tables_show_it(kubectl: Shell) -> None:
    await roll_out(kubectl)
    text = yaml.safe_dump(manifest_deployment())
    assert await kubectl.says("apply", "-f", "-", stdin=text) == "deployment.apps/web unchanged"
    shown = (await kubectl.says("get", "deploy,rs")).splitlines()
    assert shown[1].split()[:4] == ["deployment.apps/web", "3/3", "3", "3"]
    assert shown[4].split()[1:4] == ["3", "3", "3"]
    described = await kubectl.says("describe", "deploy", "web")
    assert "3 desired | 3 updated | 3 total | 3 available | 0 unavailable" in described
    assert "RollingUpdateStrategy:  25% max unavailable, 25% max surge" in described
    assert "Progressing    True    NewReplicaSetAvailable" in described
    assert "ScalingReplicaSet" in described


async def test_scale_deployment_replicaset_and_replicationcontroller(kubectl: Shell) -> None:
    folder = files("petset") / "examples" / "replicaset"
    await roll_out(kubectl)
    for name in ("shared-claim.yaml", "replicationcontroller.yaml"):
        await kubectl.says("apply", "-f", "-", stdin=(folder / name).read_text())
    for target in ("deploy/web", "rs/pets", "rc/cattle"):
        assert (await kubectl.says("scale", target, "--replicas=4")).endswith(" scaled")
        await kubectl.says("wait", target, "--for=jsonpath={.status.readyReplicas}=4", PATIENCE)
    scale = await kubectl.says("get", "rc", "cattle", "--subresource=scale", "-o", "json")
    assert json.loads(scale)["status"]["selector"] == "app=cattle"


async def test_a_drain_waits_for_the_budget(kubectl: Shell) -> None:
    await roll_out(kubectl)
    budget = yaml.safe_dump(manifest_budget(maxUnavailable=0))
    await kubectl.says("apply", "-f", "-", stdin=budget)
    await kubectl.says("wait", "pdb/web", "--for=jsonpath={.status.expectedPods}=3", PATIENCE)
    refused = await kubectl("drain", "node-1", "--timeout=1s")
    assert refused.code == 1
    assert "Cannot evict pod as it would violate the pod's disruption budget." in refused.err
    await kubectl.says("patch", "pdb", "web", "-p", '{"spec":{"maxUnavailable":1}}')
    await kubectl.says("wait", "pdb/web", "--for=jsonpath={.status.disruptionsAllowed}=1", PATIENCE)
    drained = await kubectl.says("drain", "node-1", PATIENCE)
    assert drained.endswith("node/node-1 drained")
    await kubectl.says("rollout", "status", "deploy/web", PATIENCE)
    nodes = await kubectl.says("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}")
    assert len(nodes.split()) == 3
    assert "node-1" not in nodes
    table = (await kubectl.says("get", "pdb")).splitlines()
    assert table[0].split() == ["NAME", "MIN", "AVAILABLE", "MAX", "UNAVAILABLE", "ALLOWED", "DISRUPTIONS", "AGE"]
    assert table[1].split()[:4] == ["web", "N/A", "1", "1"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            pytest.param(
                {"selector": {"matchLabels": {"app": "other"}}},
                'spec.template.metadata.labels: Invalid value: {"app": "web"}: '
                "`selector` does not match template `labels`",
                id="selector-must-match-the-template",
            ),
            pytest.param(
                {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}},
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0',
                id="something-must-move",
            ),
            pytest.param(
                {"minReadySeconds": 600},
                "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
                id="deadline-after-min-ready",
            ),
        ],
    )
    async def test_an_invalid_deployment(self, kubectl: Shell, change: dict[str, object], expected: str) -> None:
        refused = await kubectl("create", "-f", "-", stdin=yaml.safe_dump(manifest_deployment(**change)))
        assert refused.code == 1
        assert f'The Deployment "web" is invalid: {expected}' in refused.err

    async def test_another_selector(self, kubectl: Shell) -> None:
        await roll_out(kubectl)
        change = '{"spec":{"selector":{"matchLabels":{"tier":"a"}},"template":{"metadata":{"labels":{"tier":"a"}}}}}'
        refused = await kubectl("patch", "deploy", "web", "-p", change)
        assert "spec.selector: Invalid value" in refused.err
        assert "field is immutable" in refused.err

"""`kubectl top` with every kubectl, on real processes: figures come when somebody asks."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.wire.real_cluster import RealCluster, kubectls, real_cluster
from tests.wire.serving import needs_kubectl
from tests.wire.slots import own_slot

pytestmark = [needs_kubectl, pytest.mark.asyncio(loop_scope="module")]

every_kubectl = pytest.mark.parametrize("kubectl", kubectls(), ids=lambda path: path[-4:])

BUSY = ["sh", "-c", "while :; do :; done"]
"""A whole CPU, if the machine has one to give."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealCluster]:
    async with real_cluster(tmp_path_factory.mktemp("home"), slot=own_slot(58)) as it:
        assert (await it.kubectl("top", "pods")).err == "No resources found in default namespace.\n"
        await it.kubectl("run", "nowhere", "--image=busybox", '--overrides={"spec":{"nodeSelector":{"none":"such"}}}')
        assert (await it.kubectl("top", "pods")).err == "error: metrics not available yet\n"
        await it.run_pod("idle", "busybox", command=["sleep", "10000"])
        await it.run_pod("busy", "busybox", command=BUSY)
        yield it


def rows(out: str) -> dict[str, tuple[int, int]]:
    """(millicores, MiB) by the words before the figures."""
    found = re.findall(r"^(\S.*?) +(\d+)m +(?:\d+% +)?(\d+)Mi", out, re.MULTILINE)
    return {" ".join(name.split()): (int(cpu), int(memory)) for name, cpu, memory in found}


@every_kubectl
async def test_pods_show_what_they_use(cluster: RealCluster, kubectl: str) -> None:
    result = await cluster.kubectl("top", "pods", program=kubectl)
    seen = rows(result.out)
    assert set(seen) == {"busy", "idle"}, result.err
    assert seen["busy"][0] > 50 > seen["idle"][0]
    assert seen["busy"][1] < 50


async def test_containers_namespaces_order_and_selectors(cluster: RealCluster) -> None:
    assert {"busy main", "idle main"} == set(rows((await cluster.kubectl("top", "pods", "--containers")).out))
    assert "default idle" in rows((await cluster.kubectl("top", "pods", "-A")).out)
    assert [*rows((await cluster.kubectl("top", "pods", "--sort-by=cpu")).out)] == ["busy", "idle"]
    assert [*rows((await cluster.kubectl("top", "pod", "idle")).out)] == ["idle"]
    assert [*rows((await cluster.kubectl("top", "pods", "-l", "run!=nowhere")).out)] == ["busy", "idle"]
    assert (await cluster.kubectl("top", "pods", "-l", "app=none")).err == "No resources found in default namespace.\n"


async def test_nodes_show_what_their_pods_and_their_runtime_use(cluster: RealCluster) -> None:
    result = await cluster.kubectl("top", "nodes")
    cpu, memory = rows(result.out)["node-1"]
    assert cpu > 50, result.err
    assert memory > 5


async def test_a_pod_that_does_not_run_has_no_figures(cluster: RealCluster) -> None:
    await cluster.run_pod("over", "busybox", ready=False, command=["true"])
    assert "over" not in (await cluster.kubectl("top", "pods")).out
    result = await cluster.kubectl("top", "pod", "over")
    assert result.err == 'Error from server (NotFound): podmetrics.metrics.k8s.io "default/over" not found\n'
    missing = await cluster.kubectl("top", "node", "nobody")
    assert missing.err == 'Error from server (NotFound): nodemetrics.metrics.k8s.io "nobody" not found\n'


async def test_figures_are_read_only(cluster: RealCluster) -> None:
    names = (await cluster.kubectl("api-resources", "--api-group=metrics.k8s.io", "--verbs=get,list", "-o", "name")).out
    assert set(names.split()) == {"nodes.metrics.k8s.io", "pods.metrics.k8s.io"}
    refused = await cluster.kubectl("delete", "pods.metrics.k8s.io", "idle")
    assert "MethodNotAllowed" in refused.err
    assert (await cluster.kubectl("get", "pods.metrics.k8s.io", "idle", "-o", "name")).out.startswith("podmetrics")

"""Pods that come and go leave nothing in the kernel, and neither do those of a machine that is killed.

`python -m benchmarks.leaks` does the same with 500 of them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from petset.cluster.network.addresses import OWN_PLAN
from petset.cluster.network.connections import UdpFlows
from petset.cluster.network.service_rules import ServiceRules
from tests.inside import needs_namespaces
from tests.wire.leftovers import booted, churn, kernel_objects, left_since, settled_objects, start

pytestmark = needs_namespaces

NODES = (1, 2)
PODS = 60
KILLED_PODS = 10
PATIENCE_SECONDS = 20.0


async def test_pods_leave_nothing_behind(tmp_path: Path) -> None:
    async with booted(tmp_path, 1) as machine:
        await churn(machine, 1, batch=1)  # what is made once is there now
        before = await asyncio.to_thread(settled_objects, NODES, PATIENCE_SECONDS)
        await churn(machine, PODS, batch=20)
        assert await asyncio.to_thread(left_since, before, NODES, PATIENCE_SECONDS) == {}
        assert list((tmp_path / "node-1" / "pods").iterdir()) == []
        await start(machine, ["pet-0"])
        [again] = await machine.list_sandboxes()
        assert again.ip == "10.244.1.2", "its old address is free"


async def test_a_killed_machine_leaves_nothing_but_files_and_its_next_life_removes_those(tmp_path: Path) -> None:
    before = await asyncio.to_thread(settled_objects, NODES, PATIENCE_SECONDS)
    before.pop("descriptors")  # the test's own
    files_before = before.pop("shared memory")
    command = ("-P", "-m", "tests.wire.leftovers", str(tmp_path), "1", str(KILLED_PODS))
    lone = await asyncio.create_subprocess_exec(
        sys.executable, *command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert lone.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await lone.stdout.readline() == b"up\n"
        assert kernel_objects(NODES)["cables"] == before["cables"] + KILLED_PODS
    finally:
        lone.kill()
        await lone.wait()
    assert await asyncio.to_thread(left_since, before, NODES, PATIENCE_SECONDS) == {}
    assert kernel_objects(NODES)["shared memory"] == files_before + KILLED_PODS
    async with booted(tmp_path, 1) as machine:
        await start(machine, ["again"])
        assert kernel_objects(NODES)["shared memory"] == files_before + 1


def test_rules_that_cannot_be_opened_leave_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_flows() -> AbstractContextManager[UdpFlows]:
        raise OSError(errno.EPROTONOSUPPORT, "no connection tracking")

    monkeypatch.setattr(UdpFlows, "open", open_flows)
    before = os.listdir("/proc/self/fd")
    with (
        pytest.raises(OSError, match="no connection tracking"),
        ServiceRules.open(services=OWN_PLAN.services, pods=OWN_PLAN.pod_range(1)),
    ):
        pass
    assert os.listdir("/proc/self/fd") == before

"""The fault gate over its socket, and faults of processes that are really there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from petset.cluster.chaos.gate import GateClient, GateError, gate_socket
from petset.cluster.chaos.gate_server import fault_gate
from petset.cluster.clock import SystemClock
from petset.cluster.settings import ClusterSettings
from tests.fakes.world import FakeWorld

FAMILY = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); print('up', flush=True); time.sleep(60)"


class Site:
    def __init__(self, world: FakeWorld, settings: ClusterSettings, client: GateClient) -> None:
        self.world = world
        self.settings = settings
        self.client = client


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    world = FakeWorld()
    settings = ClusterSettings("gated", str(tmp_path), run_folder=str(tmp_path))
    async with fault_gate(world, gate_socket(settings), SystemClock()), GateClient(settings) as client:
        yield Site(world, settings, client)


@pytest.fixture
def family() -> Iterator[psutil.Process]:
    """A process with a child."""
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield psutil.Process(process.pid)
        os.killpg(process.pid, signal.SIGKILL)


def states(process: psutil.Process) -> set[str]:
    return {each.status() for each in [process, *process.children()]}


async def test_only_the_owner_reaches_it(site: Site) -> None:
    assert gate_socket(site.settings).stat().st_mode & 0o777 == 0o600


async def test_a_fault_is_injected_listed_and_healed(site: Site) -> None:
    entry = await site.client.inject({"fault": "freeze", "component": "dns"})
    assert entry.items() >= {"id": "f1", "state": "active", "healed_at": None}.items()
    assert entry["fault"] == {"fault": "freeze", "component": "dns"}
    assert await site.client.faults() == [entry]
    healed = await site.client.heal("f1")
    assert healed["state"] == "healed"
    assert await site.client.heal("f1") == healed
    assert await site.client.heal_all() == []


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        pytest.param({"fault": "explode"}, 400, id="no fault"),
        pytest.param({"fault": "kill-pod", "pod": "nobody"}, 404, id="nobody there"),
        pytest.param({"fault": "kill", "component": "ray-node-1"}, 409, id="cannot be here"),
    ],
)
async def test_a_refusal_has_a_status_and_a_line(site: Site, fault: dict[str, str], status: int) -> None:
    with pytest.raises(GateError) as error:
        await site.client.inject(fault)
    assert error.value.status == status
    assert "\n" not in error.value.message


async def test_nothing_to_heal_and_no_such_path(site: Site) -> None:
    with pytest.raises(GateError, match="there is no fault f7") as error:
        await site.client.heal("f7")
    assert error.value.status == 404
    with pytest.raises(GateError, match="Not Found"):
        await site.client.heal("f7/more")


async def test_a_heal_that_fails_is_told_and_may_be_repeated(site: Site) -> None:
    await site.client.inject({"fault": "freeze", "component": "dns"})
    site.world.components["dns"].refuses.add("thaw")
    with pytest.raises(GateError, match="dns is not up") as error:
        await site.client.heal_all()
    assert error.value.status == 500
    site.world.components["dns"].refuses.clear()
    assert [entry["id"] for entry in await site.client.heal_all()] == ["f1"]


async def test_a_cluster_that_does_not_run(tmp_path: Path) -> None:
    async with GateClient(ClusterSettings("gone", str(tmp_path), run_folder=str(tmp_path))) as client:
        with pytest.raises(GateError, match="cluster gone does not answer; is it running?") as error:
            await client.faults()
        assert error.value.is_gone


async def test_a_frozen_pod_is_frozen_with_its_children(site: Site, family: psutil.Process) -> None:
    site.world.run_pod("pet", family.pid)
    entry = await site.client.inject({"fault": "freeze-pod", "pod": "pet"})
    assert states(family) == {psutil.STATUS_STOPPED}
    assert [row["state"] for row in await site.client.processes() if "pod" in row] == ["frozen"]
    with pytest.raises(GateError, match="frozen already"):
        await site.client.inject({"fault": "freeze-pod", "pod": "pet"})
    await site.client.heal(entry["id"])
    assert psutil.STATUS_STOPPED not in states(family)


async def test_the_end_of_the_gate_lets_everybody_go_on(tmp_path: Path, family: psutil.Process) -> None:
    world, settings = FakeWorld(), ClusterSettings("gated", str(tmp_path), run_folder=str(tmp_path))
    world.run_pod("pet", family.pid)
    async with fault_gate(world, gate_socket(settings), SystemClock()), GateClient(settings) as client:
        await client.inject({"fault": "freeze-pod", "pod": "pet"})
    assert psutil.STATUS_STOPPED not in states(family)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
async def test_a_pod_is_killed_by_the_signal_that_was_asked_for(
    site: Site, family: psutil.Process, number: signal.Signals
) -> None:
    site.world.run_pod("pet", family.pid)
    await site.client.inject({"fault": "kill-pod", "pod": "pet", "signal": number.name})
    assert family.wait(timeout=10) == -number
    with pytest.raises(GateError, match="has just ended"):
        await site.client.inject({"fault": "kill-pod", "pod": "pet"})
    assert [row for row in await site.client.processes() if "pod" in row] == []


async def test_rows_of_the_census(site: Site) -> None:
    site.world.run_pod("pet", os.getpid())
    site.world.components["dns"].process_id = os.getpid()
    rows = await site.client.processes()
    [pet] = [row for row in rows if "pod" in row]
    assert pet == {
        "pid": os.getpid(), "namespace": "default", "pod": "pet", "uid": "pet-node-1-uid", "node": "node-1",
        "container": "main", "container_id": "pet-id", "started_at": "1970-01-01T00:00:01.000000Z", "state": "running",
    }  # fmt: skip
    components = {row["component"]: row for row in rows if "component" in row}
    assert components["dns"] == {"component": "dns", "pid": os.getpid(), "state": "running"}
    assert components["controller"] == {"component": "controller", "pid": 0, "state": "down"}


async def test_the_settings_of_a_stopped_cluster_may_name_a_folder_that_is_gone(site: Site) -> None:
    async with GateClient(replace(site.settings, run_folder="/nonexistent")) as client:
        with pytest.raises(GateError, match="is it running"):
            await client.heal_all()


async def test_a_bug_behind_the_gate_is_told_in_one_line(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(node: str) -> None:
        raise RuntimeError(f"what is\n{node}?")

    monkeypatch.setattr(site.world, "sandboxes", broken)
    with pytest.raises(GateError, match="this went wrong: RuntimeError.*; the cluster's log has more") as error:
        await site.client.processes()
    assert (error.value.status, "\n" in error.value.message) == (500, False)

"""Pods that a node does not take, programs that cannot be started, gRPC probes: in virtual time."""

from __future__ import annotations

import pytest

from petset.cluster.api.cri import CreationFailure, RuntimeFailure
from petset.cluster.api.objects import condition_is_true
from petset.cluster.api.tables import row_cells
from tests.scenarios.kubelet_world import container, is_ready, main_status, new_world, waits_for

pytestmark = pytest.mark.looptime

HOST_PORT = [{"containerPort": 80, "hostPort": 80}]


async def test_the_second_pod_on_a_host_port_is_rejected_and_the_first_lives_on() -> None:
    async with new_world() as world:
        world.start_kubelet()
        await world.create_pod("first", containers=[container(ports=HOST_PORT)])
        await world.pod_until(is_ready, "first")
        await world.create_pod("second", containers=[container(ports=HOST_PORT)])
        second = await world.pod_until(lambda pod: pod["status"]["phase"] == "Failed", "second")
        reason = "node(s) didn't have free ports for the requested pod ports"
        assert second["status"]["reason"] == "NodePorts"
        assert second["status"]["message"] == f"Pod was rejected: Predicate NodePorts failed: {reason}"
        assert second["status"]["containerStatuses"] == []
        assert row_cells("Pod", second, world.clock.now())[:3] == ["second", "0/1", "NodePorts"]
        assert ("NodePorts", f"Predicate NodePorts failed: {reason}") in await world.events("second")
        await world.kill_kubelet()
        world.start_kubelet()
        await world.direct.delete("Pod", "first", "default", options={"gracePeriodSeconds": 1})
        await world.gone_within(5, "first")
        assert (await world.pod("second"))["status"]["phase"] == "Failed"
        await world.create_pod("third", containers=[container(ports=HOST_PORT)])
        assert condition_is_true(await world.pod_until(is_ready, "third"), "Ready")


async def test_a_restarted_kubelet_rejects_nothing_that_it_has_taken() -> None:
    async with new_world() as world:
        world.start_kubelet()
        await world.create_pod("web-0", containers=[container(ports=HOST_PORT)])
        await world.pod_until(is_ready)
        await world.kill_kubelet()
        world.runtime.reboot()
        world.start_kubelet()
        pod = await world.pod_until(lambda pod: main_status(pod)["restartCount"] == 1)
        assert pod["status"]["phase"] == "Running"


async def test_a_program_that_cannot_be_started_says_so_and_crash_loops() -> None:
    async with new_world() as world:
        world.runtime.failures["start_container"] = [RuntimeFailure("no such file")] * 3
        world.start_kubelet()
        await world.create_pod()
        pod = await world.pod_until(waits_for("RunContainerError"))
        assert main_status(pod)["state"]["waiting"]["message"] == "no such file"
        assert ("Failed", "Error: no such file") in await world.events()
        await world.pod_until(is_ready)


async def test_a_container_that_cannot_be_made_is_tried_again_every_ten_seconds() -> None:
    async with new_world() as world:
        world.runtime.failures["start_container"] = [CreationFailure("its volume is gone")]
        world.start_kubelet()
        await world.create_pod()
        pod = await world.pod_until(waits_for("CreateContainerError"))
        assert main_status(pod)["state"]["waiting"]["message"] == "its volume is gone"
        assert main_status(pod)["restartCount"] == 0
        created = world.clock.now()
        pod = await world.pod_until(is_ready, within_seconds=20)
        assert 9 < world.clock.now() - created < 11
        assert main_status(pod)["restartCount"] == 0


async def test_a_grpc_probe_decides_when_a_pod_is_ready() -> None:
    async with new_world() as world:
        world.start_kubelet()
        probe = {"grpc": {"port": 9000, "service": "db"}, "periodSeconds": 1}
        await world.create_pod(containers=[container(readinessProbe=probe)])
        pod = await world.pod_until(lambda pod: "running" in (main_status(pod).get("state") or {}))
        address = f"{pod['status']['podIP']}:9000"
        await world.pod_until(is_ready)
        world.prober.services[address, "db"] = (0, "NOT_SERVING")
        await world.pod_until(lambda pod: not is_ready(pod))
        unhealthy = 'Readiness probe failed: service unhealthy (responded with "NOT_SERVING")'
        assert ("Unhealthy", unhealthy) in await world.events()

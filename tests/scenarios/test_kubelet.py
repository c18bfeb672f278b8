"""A pod's life under a kubelet, in virtual time: it starts, crashes, ends, and outlives its kubelet."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from petset.cluster.api.objects import uid_of
from petset.cluster.errors import Unavailable
from tests.fakes.runtime import Command, Program
from tests.scenarios.kubelet_world import (
    World,
    condition_of,
    container,
    is_ready,
    is_running,
    main_status,
    new_world,
    waits_for,
)

pytestmark = pytest.mark.looptime


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with new_world() as made:
        made.start_kubelet()
        yield made


async def test_a_pod_starts_and_is_ready_within_milliseconds(world: World) -> None:
    await world.create_pod(hostname="web-0", subdomain="web")
    pod = await world.pod_until(is_ready, within_seconds=0.1)
    status = pod["status"]
    assert (status["phase"], status["hostIP"], status["podIP"]) == ("Running", "127.64.0.1", "127.64.1.2")
    assert main_status(pod)["restartCount"] == 0
    assert main_status(pod)["containerID"].startswith("petset://")
    await asyncio.sleep(0.1)
    assert await world.events() == [
        ("Pulling", 'Pulling image "web:1"'),
        ("Pulled", 'Successfully pulled image "web:1" in 0s (0s including waiting)'),
        ("Created", "Created container: main"),
        ("Started", "Started container main"),
    ]
    spec = world.runtime.sandbox_specs[uid_of(pod)]
    assert (spec.nameserver, spec.nameserver_port) == ("127.128.0.10", 5353)
    assert spec.searches == ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")
    assert spec.subdomain_name == "web-0.web.default.svc.cluster.local"


async def test_a_started_pod_costs_one_status_write(world: World) -> None:
    await world.create_pod()
    await world.pod_until(is_ready)
    await asyncio.sleep(60)
    assert world.client.writes.count(("update/status", "Pod", "web-0")) == 1


async def test_a_readiness_probe_decides_when_a_pod_is_ready(world: World) -> None:
    url = "http://127.64.1.2:8080/ready"
    world.prober.statuses[url] = 503
    probe = {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 2, "failureThreshold": 2}
    await world.create_pod(
        containers=[container(ports=[{"name": "http", "containerPort": 8080}], readinessProbe=probe)]
    )
    pod = await world.pod_until(is_running)
    assert condition_of(pod, "Ready") == condition_of(pod, "ContainersReady") | {"type": "Ready"}
    assert condition_of(pod, "Ready")["message"] == "containers with unready status: [main]"
    await asyncio.sleep(5)
    assert ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503") in await world.events()
    world.prober.statuses[url] = 200
    await world.pod_until(is_ready, within_seconds=2)
    world.prober.refused.add(url)
    await asyncio.sleep(2)
    assert is_ready(await world.pod())
    await world.pod_until(lambda pod: not is_ready(pod), within_seconds=2.1)


async def test_a_dead_container_restarts_at_once_then_backs_off(world: World) -> None:
    await world.create_pod()
    first = await world.pod_until(is_ready)
    world.runtime.exit("web-0", "main", exit_code=3)
    await asyncio.sleep(0.01)
    pod = await world.pod()
    assert world.running() == 1
    assert (main_status(pod)["restartCount"], main_status(pod)["lastState"]["terminated"]["exitCode"]) == (1, 3)
    world.runtime.exit("web-0", "main", exit_code=3)
    pod = await world.pod_until(waits_for("CrashLoopBackOff"))
    assert pod["status"]["phase"] == "Running"
    assert main_status(pod)["state"]["waiting"]["message"] == (
        f"back-off 10s restarting failed container=main pod=web-0_default({uid_of(first)})"
    )
    await world.pod_until(is_running, within_seconds=10)
    assert world.running() == 2
    assert ("BackOff", f"Back-off restarting failed container main in pod web-0_default({uid_of(first)})") in (
        await world.events()
    )


async def test_the_waits_of_a_crash_loop_double_up_to_five_minutes(world: World) -> None:
    world.runtime.programs["crash:1"] = Program(exits_after_seconds=0.0, exit_code=1)
    await world.create_pod(containers=[container(image="crash:1")])
    await asyncio.sleep(1300)
    starts = [each.started_at for each in world.runtime.history if each.state == "running"]
    waits = [round(later - earlier) for earlier, later in itertools.pairwise(starts)]
    assert waits[:9] == [0, 10, 20, 40, 80, 160, 300, 300, 300]


async def test_a_missing_image_backs_off_and_recovers(world: World) -> None:
    world.runtime.unknown_images.add("web:1")
    await world.create_pod()
    await world.pod_until(waits_for("ErrImagePull"))
    pod = await world.pod_until(waits_for("ImagePullBackOff"))
    assert pod["status"]["phase"] == "Pending"
    assert main_status(pod)["state"]["waiting"]["message"] == (
        "Back-off pulling image \"web:1\": ErrImagePull: image 'web:1' is not in the catalogue"
    )
    await asyncio.sleep(0.1)
    assert [reason for reason, _ in await world.events()] == ["Pulling", "Failed", "Failed", "BackOff", "Failed"]
    world.runtime.unknown_images.clear()
    await world.pod_until(is_ready, within_seconds=10)


async def test_deletion_terms_waits_and_confirms(world: World) -> None:
    world.runtime.programs["web:1"] = Program(term_after_seconds=3.0, term_exit_code=0)
    await world.create_pod()
    await world.pod_until(is_ready)
    await world.direct.delete("Pod", "web-0", "default")
    await asyncio.sleep(2.9)
    pod = await world.pod()
    assert is_ready(pod)
    assert ("Killing", "Stopping container main") in await world.events()
    assert await world.gone_within(1) <= 0.2
    assert await world.runtime.list_sandboxes() == []


async def test_a_stubborn_container_is_killed_at_the_end_of_its_grace(world: World) -> None:
    world.runtime.programs["web:1"] = Program(term_after_seconds=None)
    await world.create_pod(terminationGracePeriodSeconds=20)
    await world.pod_until(is_ready)
    await world.direct.delete("Pod", "web-0", "default")
    assert await world.gone_within(30) == pytest.approx(20, abs=0.1)
    assert [signal for _, signal in world.runtime.signals] == [15, 9]


async def test_a_later_delete_shortens_the_grace(world: World) -> None:
    world.runtime.programs["web:1"] = Program(term_after_seconds=None)
    await world.create_pod(terminationGracePeriodSeconds=60)
    await world.pod_until(is_ready)
    await world.direct.delete("Pod", "web-0", "default")
    await asyncio.sleep(5)
    await world.direct.delete("Pod", "web-0", "default", options={"gracePeriodSeconds": 2})
    assert await world.gone_within(30) == pytest.approx(2, abs=0.1)


async def test_a_pre_stop_hook_runs_inside_the_grace(world: World) -> None:
    world.runtime.commands["leave",] = Command(seconds=4.0)
    hook = {"preStop": {"exec": {"command": ["leave"]}}}
    await world.create_pod(containers=[container(lifecycle=hook)], terminationGracePeriodSeconds=10)
    await world.pod_until(is_ready)
    await world.direct.delete("Pod", "web-0", "default")
    await asyncio.sleep(3.9)
    assert world.runtime.signals == []
    assert await world.gone_within(1) <= 0.2
    assert world.runtime.signals == [("main", 15)]


async def test_a_forced_deletion_kills_what_still_runs(world: World) -> None:
    world.runtime.programs["web:1"] = Program(term_after_seconds=None)
    await world.create_pod()
    await world.pod_until(is_ready)
    await world.direct.delete("Pod", "web-0", "default", options={"gracePeriodSeconds": 0})
    await world.gone_within(0)
    await asyncio.sleep(0.5)
    assert world.running() == 0
    await asyncio.sleep(0.6)
    assert await world.runtime.list_sandboxes() == []


async def test_a_pod_of_the_same_name_waits_until_its_predecessor_has_left(world: World) -> None:
    world.runtime.programs["web:1"] = Program(term_after_seconds=None)
    old = await world.create_pod()
    await world.pod_until(is_ready)
    await world.direct.delete("Pod", "web-0", "default", options={"gracePeriodSeconds": 0})
    new = await world.create_pod()
    await world.pod_until(is_ready)
    assert uid_of(old) != uid_of(new)
    assert [each.uid for each in await world.runtime.list_sandboxes()] == [uid_of(new)]
    assert (await world.pod())["status"]["podIP"] == "127.64.1.2"


async def test_a_pod_held_by_a_finalizer_ends_failed_and_stays(world: World) -> None:
    await world.create_pod()
    await world.pod_until(is_ready)
    await world.direct.patch("Pod", "web-0", "default", body={"metadata": {"finalizers": ["example.com/hold"]}})
    await world.direct.delete("Pod", "web-0", "default")
    pod = await world.pod_until(lambda pod: pod["status"]["phase"] == "Failed")
    assert main_status(pod)["state"]["terminated"]["exitCode"] == 143
    await asyncio.sleep(5)
    await world.direct.patch("Pod", "web-0", "default", body={"metadata": {"finalizers": None}})
    assert await world.gone_within(1) == 0


async def test_a_restarted_kubelet_adopts_what_runs(world: World) -> None:
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": 5}
    await world.create_pod(containers=[container(readinessProbe=probe)])
    before = await world.pod_until(is_ready)
    await world.kill_kubelet()
    await asyncio.sleep(2)
    writes = len(world.client.writes)
    world.start_kubelet()
    await asyncio.sleep(20)
    assert world.running() == 0
    assert (await world.pod())["status"] == before["status"]
    assert ("update/status", "Pod", "web-0") not in world.client.writes[writes:]


async def test_a_container_that_died_unseen_is_restarted_by_the_next_kubelet(world: World) -> None:
    await world.create_pod()
    await world.pod_until(is_ready)
    await world.kill_kubelet()
    world.runtime.exit("web-0", "main", exit_code=9)
    world.start_kubelet()
    pod = await world.pod_until(lambda pod: main_status(pod)["restartCount"] == 1)
    assert main_status(pod)["lastState"]["terminated"]["exitCode"] == 9


async def test_a_pod_deleted_while_no_kubelet_ran_is_removed_by_the_next_one(world: World) -> None:
    await world.create_pod()
    await world.pod_until(is_ready)
    await world.kill_kubelet()
    await world.direct.delete("Pod", "web-0", "default", options={"gracePeriodSeconds": 0})
    world.start_kubelet()
    await asyncio.sleep(1.5)
    assert await world.runtime.list_sandboxes() == []


async def test_a_rebooted_machine_gets_its_pods_again(world: World) -> None:
    await world.create_pod()
    await world.pod_until(is_ready)
    world.runtime.failures["next_change"].append(Unavailable("gone"))
    world.runtime.reboot()
    pod = await world.pod_until(lambda pod: main_status(pod)["restartCount"] == 1 and is_ready(pod))
    terminated = main_status(pod)["lastState"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (137, "ContainerStatusUnknown")
    assert "SandboxChanged" in [reason for reason, _ in await world.events()]


async def test_without_the_api_server_containers_are_restarted_and_the_status_follows(world: World) -> None:
    await world.create_pod()
    before = await world.pod_until(is_ready)
    world.client.cut()
    await asyncio.sleep(1)
    world.runtime.exit("web-0", "main", exit_code=1)
    await asyncio.sleep(1)
    assert world.running() == 1
    assert (await world.pod())["status"] == before["status"]
    await asyncio.sleep(100)
    world.client.mend()
    await world.pod_until(lambda pod: main_status(pod)["restartCount"] == 1, within_seconds=6)


async def test_a_forced_deletion_during_an_outage_is_noticed_after_it(world: World) -> None:
    await world.create_pod()
    await world.pod_until(is_ready)
    world.client.cut()
    await asyncio.sleep(1)
    await world.direct.delete("Pod", "web-0", "default", options={"gracePeriodSeconds": 0})
    successor = await world.create_pod()
    await asyncio.sleep(30)
    assert world.running() == 0
    world.client.mend()
    pod = await world.pod_until(is_ready, within_seconds=10)
    assert uid_of(pod) == uid_of(successor)
    assert [each.uid for each in await world.runtime.list_sandboxes()] == [uid_of(successor)]

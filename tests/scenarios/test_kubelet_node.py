"""What pods hang on under a kubelet, in virtual time: volumes, probes, policies; how the node shows itself; trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from petset.cluster.api.cri import RuntimeFailure
from petset.cluster.api.objects import Object, condition_is_true, uid_of
from petset.cluster.api.times import parse_time
from tests.fakes.runtime import Program
from tests.scenarios.kubelet_world import (
    DISK_1,
    NODE,
    World,
    condition_of,
    container,
    is_ready,
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


async def test_a_claim_that_is_not_bound_keeps_the_pod_waiting(world: World) -> None:
    claim = {"persistentVolumeClaim": {"claimName": "data-web-0"}}
    mount = {"name": "data", "mountPath": "/var/data"}
    await world.create_pod(volumes=[{"name": "data", **claim}], containers=[container(volumeMounts=[mount])])
    pod = await world.pod_until(waits_for("ContainerCreating"))
    assert pod["status"]["phase"] == "Pending"
    await asyncio.sleep(0.1)
    assert [reason for reason, _ in await world.events()] == ["FailedMount"]
    await create_bound_claim(world, "data-web-0")
    await asyncio.sleep(3)
    assert not is_ready(await world.pod())
    node = await world.direct.get("Node", NODE.name)
    assert node["status"]["volumesInUse"] == [DISK_1]
    attached = {"status": {"volumesAttached": [{"name": DISK_1, "devicePath": ""}]}}
    await world.direct.patch("Node", NODE.name, body=attached, subresource="status")
    await world.pod_until(is_ready, within_seconds=2)
    sandbox = world.runtime.sandbox_specs[uid_of(pod)]
    assert [(each.name, each.kind, each.source) for each in sandbox.volumes] == [("data", "disk", "disk-1")]
    started = world.runtime.container_specs[world.runtime.container("web-0", "main").id]
    assert [(each.volume, each.target) for each in started.mounts] == [("data", "/var/data")]
    await world.direct.delete("Pod", "web-0", "default", options={"gracePeriodSeconds": 0})
    await asyncio.sleep(3)
    assert "volumesInUse" not in (await world.direct.get("Node", NODE.name))["status"]


async def create_bound_claim(world: World, name: str) -> None:
    volume: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "pv-1"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "csi": {"driver": "petset.dev/disk", "volumeHandle": "disk-1"},
        },
    }
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "volumeName": "pv-1",
        },
    }
    created = await world.direct.create(claim)
    volume["spec"]["claimRef"] = {"namespace": "default", "name": name, "uid": uid_of(created)}
    await world.direct.create(volume)
    await world.direct.update({**created, "status": {"phase": "Bound"}}, subresource="status")


async def test_a_missing_config_map_keeps_the_container_waiting(world: World) -> None:
    source = [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}}]
    await world.create_pod(containers=[container(env=source)])
    pod = await world.pod_until(waits_for("CreateContainerConfigError"))
    assert main_status(pod)["state"]["waiting"]["message"] == 'configmap "settings" not found'
    await world.direct.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"},
         "data": {"mode": "fast"}}
    )  # fmt: skip
    await world.pod_until(is_ready, within_seconds=11)
    env = world.runtime.container_specs[world.runtime.container("web-0", "main").id].env
    assert (env["MODE"], env["HOSTNAME"], env["KUBERNETES_SERVICE_HOST"]) == ("fast", "web-0", "127.128.0.1")


async def test_a_container_that_must_not_be_root_waits_for_a_user(world: World) -> None:
    await world.create_pod(containers=[container(securityContext={"runAsNonRoot": True})])
    pod = await world.pod_until(waits_for("CreateContainerConfigError"))
    message = main_status(pod)["state"]["waiting"]["message"]
    assert message.startswith('container has runAsNonRoot and image will run as root (pod: "web-0_default(')
    context = {"runAsNonRoot": True, "runAsUser": 1000}
    await world.create_pod("web-1", containers=[container(securityContext=context)])
    await world.pod_until(is_ready, "web-1")


async def test_a_failed_liveness_probe_restarts_the_container(world: World) -> None:
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 2}
    await world.create_pod(containers=[container(livenessProbe=probe)])
    await world.pod_until(is_ready)
    world.prober.refused.add("127.64.1.2:80")
    await world.pod_until(lambda pod: main_status(pod)["restartCount"] == 1, within_seconds=3)
    events = await world.events()
    assert ("Unhealthy", "Liveness probe failed: dial tcp 127.64.1.2:80: connect: connection refused") in events
    assert ("Killing", "Container main failed liveness probe, will be restarted") in events


async def test_init_containers_run_first_and_a_sidecar_stays(world: World) -> None:
    world.runtime.programs["setup:1"] = Program(exits_after_seconds=2.0)
    init = [container("setup", "setup:1"), container("logger", "logger:1", restartPolicy="Always")]
    await world.create_pod(initContainers=init)
    pod = await world.pod_until(lambda pod: pod["status"].get("initContainerStatuses"))
    assert waits_for("PodInitializing")(pod)
    assert condition_of(pod, "Initialized")["message"] == "containers with incomplete status: [setup logger]"
    pod = await world.pod_until(is_ready)
    assert [each["name"] for each in pod["status"]["initContainerStatuses"]] == ["setup", "logger"]
    await world.direct.delete("Pod", "web-0", "default")
    await world.gone_within(1)
    assert world.runtime.signals == [("main", 15), ("logger", 15)]


@pytest.mark.parametrize(
    ("policy", "exit_code", "phase", "attempt"),
    [
        pytest.param("Never", 0, "Succeeded", 0, id="never-success"),
        pytest.param("Never", 2, "Failed", 0, id="never-failure"),
        pytest.param("OnFailure", 0, "Succeeded", 0, id="on-failure-success"),
        pytest.param("OnFailure", 2, "Running", 1, id="on-failure-failure"),
        pytest.param("Always", 0, "Running", 1, id="always-success"),
    ],
)
async def test_the_restart_policy_decides_after_an_exit(
    world: World, policy: str, exit_code: int, phase: str, attempt: int
) -> None:
    await world.create_pod(restartPolicy=policy)
    await world.pod_until(is_ready)
    world.runtime.exit("web-0", "main", exit_code=exit_code)
    await asyncio.sleep(0.1)
    assert (await world.pod())["status"]["phase"] == phase
    assert world.runtime.container("web-0", "main").attempt == attempt


async def test_a_condition_that_others_overwrote_is_set_right(world: World) -> None:
    await world.create_pod()
    pod = await world.pod_until(is_ready)
    unready = [each | ({"status": "False"} if each["type"] == "Ready" else {}) for each in pod["status"]["conditions"]]
    disruption = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
    await world.direct.update(
        {**pod, "status": {**pod["status"], "conditions": [*unready, disruption]}}, subresource="status"
    )
    pod = await world.pod_until(is_ready)
    assert condition_is_true(pod, "DisruptionTarget")


async def test_the_node_registers_ready_and_renews_its_lease(world: World) -> None:
    await asyncio.sleep(0.1)
    node = await world.direct.get("Node", "node-1")
    assert condition_is_true(node, "Ready")
    assert node["spec"] == {
        "providerID": "petset://test/node-1",
        "podCIDR": "127.64.1.0/24",
        "podCIDRs": ["127.64.1.0/24"],
    }
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "node-1"
    first = await world.direct.get("Lease", "node-1", "kube-node-lease")
    await asyncio.sleep(30)
    last = await world.direct.get("Lease", "node-1", "kube-node-lease")
    assert parse_time(last["spec"]["renewTime"]) - parse_time(first["spec"]["renewTime"]) == pytest.approx(30)
    assert last["spec"]["leaseDurationSeconds"] == 40


async def test_a_node_marked_unknown_says_within_ten_seconds_that_it_is_ready(world: World) -> None:
    await asyncio.sleep(0.1)
    node = await world.direct.get("Node", "node-1")
    unknown = [each | {"status": "Unknown"} for each in node["status"]["conditions"]]
    await world.direct.update({**node, "status": {**node["status"], "conditions": unknown}}, subresource="status")
    await asyncio.sleep(10)
    assert condition_is_true(await world.direct.get("Node", "node-1"), "Ready")


async def test_a_silent_machine_makes_the_node_unready_after_half_a_minute(world: World) -> None:
    await asyncio.sleep(0.1)
    world.runtime.silent = True
    world.runtime.reboot()
    await asyncio.sleep(25)
    assert condition_is_true(await world.direct.get("Node", "node-1"), "Ready")
    await asyncio.sleep(20)
    ready = condition_of(await world.direct.get("Node", "node-1"), "Ready")
    assert (ready["status"], ready["message"]) == ("False", "container runtime is down: the machine does not answer")
    world.runtime.silent = False
    await asyncio.sleep(12)
    assert condition_is_true(await world.direct.get("Node", "node-1"), "Ready")


async def test_a_failing_sandbox_is_tried_again(world: World) -> None:
    world.runtime.failures["run_sandbox"] += [RuntimeFailure("no space left on device")] * 2
    await world.create_pod()
    await world.pod_until(is_ready, within_seconds=4)
    assert ("FailedCreatePodSandBox", "Failed to create pod sandbox: no space left on device") in await world.events()


async def test_a_deletion_that_the_reporter_finds_first_is_heeded(world: World) -> None:
    """The reporter meets a Conflict and reads the deleted pod before the informer brings it."""
    await world.create_pod()
    pod = await world.pod_until(is_ready)
    unready = [each | {"status": "False"} for each in pod["status"]["conditions"]]
    await world.direct.update({**pod, "status": {**pod["status"], "conditions": unready}}, subresource="status")
    for turn in range(20):
        await asyncio.sleep(0)
        if ("get", "Pod", "web-0") in world.client.reads:
            break
        await world.direct.patch("Pod", "web-0", "default", body={"metadata": {"labels": {"turn": str(turn)}}})
    await world.direct.delete("Pod", "web-0", "default")
    await world.gone_within(1)


async def test_an_unexpected_error_concerns_one_pod_and_passes(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.runtime.failures["start_container"].append(ZeroDivisionError("a bug"))
    await world.create_pod("web-0")
    await world.create_pod("web-1")
    await world.pod_until(is_ready, "web-1", within_seconds=0.1)
    await world.pod_until(is_ready, "web-0", within_seconds=11)
    assert "pod default/web-0: unexpected error" in caplog.text


async def test_the_machine_is_not_asked_again_and_again_while_a_pod_is_removed(world: World) -> None:
    for name in ("web-0", "web-1"):
        await world.create_pod(name)
        await world.pod_until(is_ready, name)
    world.runtime.removal_seconds, world.runtime.call_seconds = 5.0, 0.001
    await world.direct.delete("Pod", "web-0", "default")
    await asyncio.sleep(1.5)
    before = world.runtime.calls["list_sandboxes"]
    world.runtime.exit("web-1", "main")  # so that the machine is listed meanwhile
    await world.gone_within(10)
    assert world.runtime.calls["list_sandboxes"] - before <= 3
    await world.pod_until(is_ready, "web-1")


async def test_a_hundred_pods_start_together(world: World) -> None:
    for number in range(100):
        await world.create_pod(f"web-{number}")
    for number in range(100):
        await world.pod_until(is_ready, f"web-{number}")
    assert len(await world.runtime.list_sandboxes()) == 100

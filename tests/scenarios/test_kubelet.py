"""A kubelet's life in virtual time: the real API and the real kubelet on a machine without processes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from petset.cluster.api.cri import RuntimeFailure
from petset.cluster.api.objects import Object, condition, condition_is_true, uid_of
from petset.cluster.api.schema import load_schemas
from petset.cluster.api.times import parse_time
from petset.cluster.apiserver.api import make_api
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.clock import LoopClock
from petset.cluster.errors import NotFound, Unavailable
from petset.cluster.kubelet.agent import Kubelet
from petset.cluster.kubelet.config import KubeletConfig, NodeIdentity
from petset.cluster.names import seeded_names
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.store.memory import MemoryBackend
from tests.fakes.client import CuttableClient
from tests.fakes.runtime import Command, FakeProber, FakeRuntime, Program

pytestmark = pytest.mark.looptime

NODE = NodeIdentity(name="node-1", cluster="test", address="127.64.0.1", pod_cidr="127.64.1.0/24")
DISK_1 = "kubernetes.io/csi/petset.dev/disk^disk-1"
CONFIG = KubeletConfig(nameserver="127.128.0.10", nameserver_port=5353, api_address="127.128.0.1")
STEP_SECONDS = 0.01
SCHEMAS = load_schemas()


@dataclass
class World:
    """One API server, one machine, and the kubelet between them."""

    client: CuttableClient
    direct: LoopbackClient
    runtime: FakeRuntime
    prober: FakeProber
    clock: LoopClock
    kubelets: list[asyncio.Task[None]] = field(default_factory=list)

    def start_kubelet(self) -> None:
        kubelet = Kubelet(NODE, CONFIG, client=self.client, runtime=self.runtime, prober=self.prober, clock=self.clock)
        self.kubelets.append(asyncio.create_task(kubelet.run()))

    async def kill_kubelet(self) -> None:
        task = self.kubelets.pop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def create_pod(self, name: str = "web-0", **spec: Any) -> Object:
        """A pod that the scheduler has bound to the node already."""
        body = {"nodeName": NODE.name, "containers": [container()]} | spec
        return await self.direct.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": body}
        )

    async def pod(self, name: str = "web-0") -> Object:
        return await self.direct.get("Pod", name, "default")

    async def pod_until(
        self, holds: Callable[[Object], Any], name: str = "web-0", *, within_seconds: float = 5.0
    ) -> Object:
        """The pod as soon as `holds` is true of it."""
        pod = await self.pod(name)
        for _ in range(round(within_seconds / STEP_SECONDS)):
            if holds(pod):
                return pod
            await asyncio.sleep(STEP_SECONDS)
            pod = await self.pod(name)
        raise AssertionError(f"not within {within_seconds} s: {pod['status']}")

    async def gone_within(self, seconds: float, name: str = "web-0") -> float:
        """How long it took until the pod was gone, to the step."""
        for step in range(round(seconds / STEP_SECONDS) + 1):
            try:
                await self.pod(name)
            except NotFound:
                return step * STEP_SECONDS
            await asyncio.sleep(STEP_SECONDS)
        raise AssertionError(f"pod {name} is still there after {seconds} s: {await self.pod(name)}")

    async def events(self, name: str = "web-0") -> list[tuple[str, str]]:
        """(reason, message) of the pod's events, in the order in which they were last counted up."""
        listing = await self.direct.list("Event", "default")
        found = [each for each in listing.items if each["involvedObject"]["name"] == name]
        found.sort(key=lambda each: int(each["metadata"]["resourceVersion"]))
        return [(each["reason"], each["message"]) for each in found]

    def running(self, name: str = "web-0") -> int:
        """The attempt of the `main` container that runs."""
        status = self.runtime.container(name, "main")
        assert status.state == "running"
        return status.attempt


def container(name: str = "main", image: str = "web:1", **more: Any) -> Object:
    return {"name": name, "image": image} | more


@asynccontextmanager
async def new_world() -> AsyncIterator[World]:
    clock = LoopClock()
    api = await make_api(
        MemoryBackend(), schemas=SCHEMAS, clock=clock, names=seeded_names(1), addresses=loopback_plan(0)
    )
    direct = LoopbackClient(api)
    world = World(CuttableClient(direct), direct, FakeRuntime(clock), FakeProber(), clock)
    try:
        yield world
    finally:
        while world.kubelets:
            await world.kill_kubelet()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with new_world() as made:
        made.start_kubelet()
        yield made


def main_status(pod: Object) -> Object:
    statuses: list[Object] = pod["status"].get("containerStatuses") or [{}]
    return statuses[0]


def condition_of(obj: Object, type_: str) -> Object:
    found = condition(obj, type_)
    assert found is not None
    return found


def is_ready(pod: Object) -> bool:
    return condition_is_true(pod, "Ready")


def is_running(pod: Object) -> bool:
    return "running" in (main_status(pod).get("state") or {})


def waits_for(reason: str) -> Callable[[Object], bool]:
    return lambda pod: ((main_status(pod).get("state") or {}).get("waiting") or {}).get("reason") == reason


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
    await world.direct.create(volume)
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


async def test_a_hundred_pods_start_together(world: World) -> None:
    for number in range(100):
        await world.create_pod(f"web-{number}")
    for number in range(100):
        await world.pod_until(is_ready, f"web-{number}")
    assert len(await world.runtime.list_sandboxes()) == 100

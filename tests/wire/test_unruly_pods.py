"""Programs that misbehave, as pods on real processes: each says so in its status and events, and its node lives on."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import pytest
import pytest_asyncio

from petset.cluster.api.objects import Object, condition_is_true
from petset.cluster.node.log_file import FILE_BYTES, KEPT_FILES
from tests.on_ray.driver import survivors
from tests.wire.real_cluster import PATIENCE_SECONDS, RealCluster, real_cluster
from tests.wire.serving import needs_kubectl
from tests.wire.slots import own_slot

pytestmark = [needs_kubectl, pytest.mark.asyncio(loop_scope="module")]

MEBIBYTE = 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealCluster]:
    async with real_cluster(tmp_path_factory.mktemp("home"), slot=own_slot(59)) as it:
        yield it


async def create(cluster: RealCluster, name: str, *containers: Object, **spec: Any) -> None:
    metadata: Object = {"name": name, "namespace": "default"}
    if spec.pop("held", False):
        metadata["finalizers"] = ["test/held"]
    body = {"containers": list(containers), "terminationGracePeriodSeconds": 1, **spec}
    await cluster.client.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body})


def shell(script: str, **fields: Any) -> Object:
    return {"name": "main", "image": "busybox", "command": ["sh", "-c", script], **fields}


async def until(cluster: RealCluster, name: str, holds: Callable[[Object], Any]) -> Object:
    """The pod as soon as `holds` is true of it."""
    listing = await cluster.client.list("Pod", "default", field_selector=f"metadata.name={name}")
    pod = listing.items[0]
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with cluster.client.watch(
            "Pod", "default", revision=listing.revision, field_selector=f"metadata.name={name}"
        ) as events:
            while not holds(pod):
                pod = (await anext(events)).object
    return pod


def status_of(pod: Object, container: str = "main") -> Object:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((each for each in statuses if each["name"] == container), {"state": {}, "lastState": {}})


def waits(reason: str, container: str = "main") -> Callable[[Object], bool]:
    return lambda pod: status_of(pod, container)["state"].get("waiting", {}).get("reason") == reason


def runs(pod: Object) -> bool:
    return "running" in status_of(pod)["state"]


async def events_of(cluster: RealCluster, name: str) -> list[tuple[str, str, str]]:
    """(type, reason, message)"""
    found = (await cluster.client.list("Event", "default", field_selector=f"involvedObject.name={name}")).items
    return [(each["type"], each["reason"], each["message"]) for each in found]


async def process_of(cluster: RealCluster, name: str) -> psutil.Process:
    """The first process of the pod's only container."""
    await until(cluster, name, runs)
    named = [each for each in psutil.Process().children(recursive=True) if _bears(each, name)]
    return named[0]


def _bears(process: psutil.Process, pod: str) -> bool:
    try:
        return process.environ().get("HOSTNAME") == pod
    except psutil.Error:
        return False


async def test_who_ignores_sigterm_is_killed_at_the_end_of_its_grace(cluster: RealCluster) -> None:
    await create(cluster, "stubborn", shell("trap '' TERM; echo deaf; while :; do sleep 0.1; done"), held=True)
    process = await process_of(cluster, "stubborn")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "deaf" not in (await cluster.kubectl("logs", "stubborn")).out:
            continue
    await cluster.client.delete("Pod", "stubborn", "default")
    pod = await until(cluster, "stubborn", lambda pod: "terminated" in status_of(pod)["state"])
    assert status_of(pod)["state"]["terminated"]["exitCode"] == 137
    assert pod["status"]["phase"] == "Failed"
    assert survivors([process]) == []
    assert ("Normal", "Killing", "Stopping container main") in await events_of(cluster, "stubborn")
    body: Object = {"metadata": {"finalizers": None}}
    await cluster.client.patch("Pod", "stubborn", "default", body=body)


async def test_children_die_with_their_container(cluster: RealCluster) -> None:
    family = "sleep 31415 & setsid sleep 31416 & (setsid sleep 31417 &) ; echo born; wait"
    await create(cluster, "family", shell(family))
    first = await process_of(cluster, "family")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "born" not in (await cluster.kubectl("logs", "family")).out:
            continue
    everyone = [first, *(each for each in psutil.Process().children(recursive=True) if _bears(each, "family"))]
    assert {" ".join(each.cmdline()) for each in everyone} >= {f"sleep {number}" for number in (31415, 31416, 31417)}
    first.send_signal(signal.SIGKILL)
    await until(cluster, "family", lambda pod: runs(pod) and status_of(pod)["restartCount"] == 1)
    assert survivors(everyone) == []


async def test_a_closed_output_ends_the_log_and_not_the_container(cluster: RealCluster) -> None:
    await create(cluster, "mute", shell("echo last; exec >&- 2>&-; sleep 31418; exit 7"))
    process = await process_of(cluster, "mute")
    assert (await cluster.kubectl("logs", "-f", "mute")).out == "last\n"
    assert runs(await cluster.pod("mute"))
    [sleep] = process.children()
    sleep.send_signal(signal.SIGTERM)
    pod = await until(cluster, "mute", lambda pod: "terminated" in status_of(pod)["lastState"])
    assert status_of(pod)["lastState"]["terminated"]["exitCode"] == 7


async def test_a_hundred_megabytes_of_log_cost_fifty_of_disk_and_no_memory(cluster: RealCluster) -> None:
    line = "0123456789abcdef" * 4 + "\n"
    flood = f"yes {line.strip()} | head -c {100 * MEBIBYTE}; echo; echo the end; sleep 10000"
    before = psutil.Process().memory_info().rss
    await create(cluster, "floods", shell(flood))
    pod = await until(cluster, "floods", runs)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await cluster.kubectl("logs", "--tail=1", "floods")).out != "the end\n":
            await asyncio.sleep(0.1)
    growth = psutil.Process().memory_info().rss - before
    folder = cluster.settings.folder.node("node-1") / "pods" / pod["metadata"]["uid"] / "logs" / "main"
    files = [file.stat().st_size for file in folder.iterdir()]
    assert len(files) == KEPT_FILES
    assert sum(files) <= KEPT_FILES * (FILE_BYTES + MEBIBYTE)
    assert growth < 32 * MEBIBYTE
    assert (await cluster.kubectl("logs", "--tail=2", "floods")).out.endswith("\nthe end\n")
    await cluster.client.delete("Pod", "floods", "default", options={"gracePeriodSeconds": 0})


async def test_who_exits_at_once_crash_loops(cluster: RealCluster) -> None:
    fails = shell("echo no database >&2; exit 3", terminationMessagePolicy="FallbackToLogsOnError")
    await create(cluster, "fails", fails)
    pod = await until(cluster, "fails", waits("CrashLoopBackOff"))
    status = status_of(pod)
    assert status["restartCount"] == 1
    assert status["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=main pod=fails_")
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["lastState"]["terminated"]["message"] == "no database\n"
    assert pod["status"]["phase"] == "Running"
    reasons = [reason for _, reason, _ in await events_of(cluster, "fails")]
    assert {"Scheduled", "Created", "Started", "BackOff"} <= {*reasons}
    assert (await cluster.kubectl("logs", "--previous", "fails")).out == "no database\n"


async def test_a_port_that_is_taken_is_told_by_the_program_and_its_neighbour_serves(cluster: RealCluster) -> None:
    fallback = {"image": "luksa/kubia-pet", "terminationMessagePolicy": "FallbackToLogsOnError"}
    await create(cluster, "clash", {"name": "main", **fallback}, {"name": "second", **fallback})
    pod = await until(
        cluster, "clash", lambda pod: any(waits("CrashLoopBackOff", name)(pod) for name in ("main", "second"))
    )
    by_state = {next(iter(each["state"])): each for each in pod["status"]["containerStatuses"]}
    assert set(by_state) == {"running", "waiting"}
    assert "address already in use" in by_state["waiting"]["lastState"]["terminated"]["message"]
    log = await cluster.kubectl("logs", "clash", "-c", by_state["waiting"]["name"], "--previous")
    assert "address already in use" in log.out
    answer = await cluster.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/clash:8080/proxy/")
    assert "You've hit clash" in answer.out


async def test_a_missing_program_is_a_start_error(cluster: RealCluster) -> None:
    await create(cluster, "nowhere", {"name": "main", "image": "busybox", "command": ["no-such-program"]})
    text = 'exec: "no-such-program": executable file not found in $PATH'
    pod = await until(cluster, "nowhere", waits("RunContainerError"))
    assert text in status_of(pod)["state"]["waiting"]["message"]
    pod = await until(cluster, "nowhere", waits("CrashLoopBackOff"))
    ended = status_of(pod)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (128, "StartError", text)
    failed = ("Warning", "Failed", f"Error: failed to start container 'main': {text}")
    assert failed in await events_of(cluster, "nowhere")


async def test_a_volume_that_was_removed_keeps_its_container_down(cluster: RealCluster) -> None:
    mounted = shell("sleep 10000", volumeMounts=[{"name": "scratch", "mountPath": "/scratch"}])
    await create(cluster, "robbed", mounted, volumes=[{"name": "scratch", "emptyDir": {}}])
    process = await process_of(cluster, "robbed")
    pod = await cluster.pod("robbed")
    folder = cluster.settings.folder.node("node-1") / "pods" / pod["metadata"]["uid"] / "volumes" / "scratch"
    await asyncio.to_thread(shutil.rmtree, folder)
    assert runs(await cluster.pod("robbed"))
    process.send_signal(signal.SIGKILL)
    pod = await until(cluster, "robbed", waits("CreateContainerError"))
    assert 'failed to mount volume "scratch" at /scratch' in status_of(pod)["state"]["waiting"]["message"]
    assert any(reason == "Failed" and "scratch" in text for _, reason, text in await events_of(cluster, "robbed"))


EVENTS = [
    pytest.param(
        "well", {"name": "main", "image": "luksa/kubia-pet"}, {},
        {"Scheduled", "Pulling", "Pulled", "Created", "Started"}, id="a pod that starts",
    ),
    pytest.param(
        "sick",
        shell("sleep 10000", livenessProbe={"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}),
        {}, {"Unhealthy", "Killing"}, id="a failing probe",
    ),
    pytest.param(
        "hooked", shell("sleep 10000", lifecycle={"postStart": {"exec": {"command": ["false"]}}}),
        {}, {"FailedPostStartHook", "Killing"}, id="a failing hook",
    ),
    pytest.param("imageless", {"name": "main", "image": "no/such:1"}, {}, {"Failed", "BackOff"}, id="a missing image"),
    pytest.param(
        "unmounted", shell("true", volumeMounts=[{"name": "config", "mountPath": "/config"}]),
        {"volumes": [{"name": "config", "configMap": {"name": "absent"}}]}, {"FailedMount"}, id="a missing ConfigMap",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "container", "spec", "reasons"), EVENTS)
async def test_events_give_kubernetes_reasons(
    cluster: RealCluster, name: str, container: Object, spec: Object, reasons: set[str]
) -> None:
    await create(cluster, name, container, **spec)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not reasons <= {reason for _, reason, _ in await events_of(cluster, name)}:
            await asyncio.sleep(0.1)
    described = (await cluster.kubectl("describe", "pod", name)).out.partition("Events:")[2]
    assert reasons <= set(described.split())
    await cluster.client.delete("Pod", name, "default", options={"gracePeriodSeconds": 0})


async def test_after_all_that_the_node_is_ready_and_takes_pods(cluster: RealCluster) -> None:
    assert condition_is_true(await cluster.client.get("Node", "node-1"), "Ready")
    await cluster.run_pod("after", "luksa/kubia-pet")
    answer = await cluster.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/after:8080/proxy/")
    assert "You've hit after" in answer.out

"""How much of the node each container uses, as CPU per second between two measurements (pure).

    earlier measurement ──────────── window ──────────── latest measurement
                 container that started since: its window begins with it

Shapes are those of the kubelet's stats/summary API, with the fields that `metrics.k8s.io` needs and one of our own:
`cpu.window`, the seconds that a rate was taken over.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.cluster.api.cri import ContainerStatus, MachineUsage, ProcessUsage, SandboxStatus
from petset.cluster.api.objects import Object
from petset.cluster.api.times import format_time

SHORTEST_WINDOW_SECONDS = 0.5
"""A container that runs for less has no rate yet."""


def summary(
    node_name: str, sandboxes: Iterable[SandboxStatus], *, earlier: MachineUsage, latest: MachineUsage
) -> Object:
    """`stats/summary`: the node, and every pod with a container that was measured."""
    node = _stats(earlier.machine, latest.machine, begun=earlier.taken_at, now=latest.taken_at)
    pods = [_pod_stats(sandbox, earlier=earlier, latest=latest) for sandbox in sandboxes]
    return {"node": {"nodeName": node_name, **(node or {})}, "pods": [each for each in pods if each["containers"]]}


def _pod_stats(sandbox: SandboxStatus, *, earlier: MachineUsage, latest: MachineUsage) -> Object:
    containers = []
    for status in sandbox.containers:
        stats = _container_stats(status, earlier=earlier, latest=latest)
        if stats is not None:
            containers.append({"name": status.name, "startTime": format_time(status.started_at), **stats})
    reference = {"name": sandbox.name, "namespace": sandbox.namespace, "uid": sandbox.uid}
    return {"podRef": reference, "containers": containers}


def _container_stats(status: ContainerStatus, *, earlier: MachineUsage, latest: MachineUsage) -> Object | None:
    now = latest.containers.get(status.id)
    if now is None:
        return None
    before = earlier.containers.get(status.id)
    if before is None:
        return _stats(ProcessUsage(0.0, 0), now, begun=status.started_at, now=latest.taken_at)
    return _stats(before, now, begun=earlier.taken_at, now=latest.taken_at)


def _stats(before: ProcessUsage, after: ProcessUsage, *, begun: float, now: float) -> Object | None:
    """None when there is no rate yet. CPU time that went with an ended process never makes a rate negative."""
    window = now - begun
    if window < SHORTEST_WINDOW_SECONDS:
        return None
    rate = max(after.cpu_seconds - before.cpu_seconds, 0.0) / window
    time = format_time(now)
    return {
        "cpu": {
            "time": time,
            "window": round(window, 3),
            "usageNanoCores": round(rate * 1e9),
            "usageCoreNanoSeconds": round(after.cpu_seconds * 1e9),
        },
        "memory": {"time": time, "workingSetBytes": after.memory_bytes},
    }

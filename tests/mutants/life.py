"""The life of one set in a whole cluster in virtual time, seen as an experiment sees it (chaos/observations.py).

    create ─▶ a rollout ─▶ scale down, up ─▶ a pod is deleted ─▶ its node falls silent, long enough for an eviction
           ─▶ the node returns ─▶ converge

Writers store entries on the volume that a running pod's claim is bound to, so that a swapped or lost disk shows in the
journals as it would on real ones. A stray pod that the service selects is never Ready. Nobody is deleted by force:
every oracle must hold, unless something is broken.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import count

from petset.cluster.api.objects import Object, condition_is_true, is_terminating
from petset.cluster.chaos.deeds import Done, parse_deed, perform
from petset.cluster.chaos.observations import WATCHED, Injected, Journal, Observations, Process, Sample, Write
from petset.cluster.chaos.settled import unsettled_nodes, unsettled_workload
from petset.cluster.chaos.watching import Follower
from petset.cluster.clock import LoopClock
from petset.cluster.errors import ApiError
from tests.local import Local, local_cluster
from tests.scenarios.stage import PodHealth, new_set, pod_spec

NAMESPACE = "default"
SET = "web"
SAMPLE_SECONDS = 0.5
WRITE_SECONDS = 5.0
LOOK_SECONDS = 1.0
STEP_SECONDS = 30.0
"""A deed's time, after which the next one comes whether or not the cluster is whole."""
SILENCE_SECONDS = 420.0
"""Longer than a node's grace (40 s) and its pods' toleration (300 s)."""
CONVERGE_SECONDS = 120.0
LISTED = ("StatefulSet", "Pod", "PersistentVolumeClaim", "Service", "EndpointSlice")


@dataclass
class Life:
    """One cluster and what was seen of it."""

    local: Local
    health: PodHealth
    clock: LoopClock
    seen: Observations
    has_disks: bool
    has_silence: bool
    _disks: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _starts: dict[tuple[str, str], float] = field(default_factory=dict)

    async def live(self) -> None:
        """From the creation to the last look."""
        await self._create()
        await self._do({"deed": "restart", "set": SET})
        for replicas in (1, 3):
            await self._do({"deed": "scale", "set": SET, "replicas": replicas})
        await self._do({"deed": "delete-pod", "pod": f"{SET}-1"})
        if self.has_silence:
            await self._silence_a_node()
        self.seen.healed_at = self.clock.now()
        await self._converge()
        self.seen.final = await self._objects()
        self.seen.journals = [await self._journal(f"{SET}-{ordinal}") for ordinal in range(3)]

    async def _create(self) -> None:
        labels = {"app": SET}
        service = {"spec": {"clusterIP": "None", "selector": labels, "ports": [{"port": 8080}]}}
        stray = {"spec": pod_spec("broken", [])}
        await self.local.apply(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": SET}, **service},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stray", "labels": labels}, **stray},
            new_set(SET, {"replicas": "3", "grace": "5"} | ({"claims": "data"} if self.has_disks else {})),
        )
        await self._whole_or(STEP_SECONDS)

    async def _do(self, mapping: Object) -> None:
        began_at = self.clock.now()
        try:
            done = await perform(parse_deed(mapping), self.local.client, NAMESPACE, now=began_at)
        except ApiError:
            done = Done()
        self.seen.injected.append(
            Injected(mapping["deed"], mapping, began_at, began_at, forced=done.forced, deleted=done.deleted)
        )
        await asyncio.sleep(1.0)
        await self._whole_or(STEP_SECONDS)

    async def _silence_a_node(self) -> None:
        """Its kubelet is gone, its processes run on; then it returns."""
        pods = await self.local.pods()
        node = str(pods[f"{SET}-1"]["spec"].get("nodeName") if f"{SET}-1" in pods else "node-1")
        self.local.cluster.crash_kubelet(node)
        await asyncio.sleep(SILENCE_SECONDS)
        self.local.cluster.start_kubelet(node)

    async def _converge(self) -> None:
        missing = await self._whole_or(CONVERGE_SECONDS)
        self.seen.converged_at = None if missing else self.clock.now()
        self.seen.unsettled = tuple(missing)

    async def _whole_or(self, seconds: float) -> list[str]:
        """Wait until nothing is missing, at most so long; what is."""
        deadline = self.clock.now() + seconds
        while True:
            nodes = (await self.local.client.list("Node")).items
            missing = [*unsettled_nodes(nodes), *unsettled_workload(await self._objects())]
            if not missing or self.clock.now() > deadline:
                return missing
            await asyncio.sleep(LOOK_SECONDS)

    async def _objects(self) -> list[Object]:
        listings = [await self.local.client.list(kind, NAMESPACE) for kind in LISTED]
        return [{**obj, "kind": kind} for kind, listing in zip(LISTED, listings, strict=True) for obj in listing.items]

    # What is seen

    async def sample(self) -> None:
        """The machines' processes, until cancelled."""
        while True:
            self._take_sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    def _take_sample(self) -> None:
        now = self.clock.now()
        processes = []
        for node, machine in self.local.machines.items():
            for uid, name in machine.running_pods():
                started_at = self._starts.setdefault((uid, node), now)
                processes.append(Process(node, NAMESPACE, name, uid, "web", uid, 1, started_at))
        self.seen.samples.append(Sample(now, now, tuple(processes)))

    async def write(self) -> None:
        """One entry after the other for each pod, until cancelled; a pod that is not Ready refuses."""
        for number in count(1):
            pods = await self.local.pods()
            for ordinal in range(3):
                pod, now = f"{SET}-{ordinal}", self.clock.now()
                disk = await self._disk_of(pods.get(pod))
                entry = f"{pod}:{number}"
                if disk is not None:
                    self._disks[disk].append(entry)
                by = pod if disk is not None else ""
                self.seen.writes.append(Write(entry, pod, now, now, "acknowledged" if by else "refused", by))
            await asyncio.sleep(WRITE_SECONDS)

    async def _disk_of(self, pod: Object | None) -> str | None:
        """The volume behind a Ready pod's claim."""
        if pod is None or is_terminating(pod) or not condition_is_true(pod, "Ready"):
            return None
        mounted = (each.get("persistentVolumeClaim") for each in pod["spec"].get("volumes") or ())
        claim = next((each["claimName"] for each in mounted if each), None)
        if claim is None:
            return None
        found = await self.local.client.get("PersistentVolumeClaim", claim, NAMESPACE)
        return str(found["spec"]["volumeName"])

    async def _journal(self, name: str) -> Journal:
        disk = await self._disk_of((await self.local.pods()).get(name))
        error = "" if disk else "the pod is not Ready"
        return Journal(name, self.clock.now(), tuple(self._disks[disk]) if disk else (), error)


async def lived(*, disks: bool = True, silence: bool = True) -> Observations:
    """Everything seen of one life, with whatever controllers LocalCluster makes.

    `disks`: whether the set has any. `silence`: whether a node falls silent, which is most of the time.
    """
    health, clock = PodHealth(), LoopClock()
    async with local_cluster(3, prober=health) as local:
        health.machines = local.machines
        life = Life(local, health, clock, Observations(NAMESPACE, clock.now(), CONVERGE_SECONDS), disks, silence)
        async with asyncio.TaskGroup() as tasks:
            followers = [Follower(kind, local.client, clock, life.seen) for kind in WATCHED]
            watching = [tasks.create_task(each.run(), name=f"follow {each.kind}") for each in followers]
            watching += [tasks.create_task(each, name=each.__name__) for each in (life.sample(), life.write())]
            for follower in followers:
                await follower.synced.wait()
            await life.live()
            for task in watching:
                task.cancel()
        return life.seen

"""Random histories of a Deployment in a whole cluster: real API, runner, scheduler and kubelets, in virtual time.

The controllers die between any two writes, meet conflicts, lose answers and see late; users set images, and in wild
histories also scale, pause, kill pods and choose an image that does not exist. At every change, seen by undelayed
watches:

    always   one ReplicaSet per template; no ReplicaSet is told to grow beyond replicas + maxSurge in sum;
             no pod is made for one that has as many as it was told lately
    calm     once it was complete, replicas - maxUnavailable pods stay ready throughout

Then the world rests, and the Deployment must reach its spec. A failure names its seed;
`PETSET_DEPLOYMENT_HISTORIES=500` explores further than the default number of seeds.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from petset.cluster.api.objects import Object, condition_is_true, controller_of, is_terminating, name_of
from petset.cluster.control.client import Client
from petset.cluster.control.snapshot import Key, key_of
from petset.cluster.controllers.deployment.sets import comparable
from petset.cluster.controllers.deployment.view import DeploymentView
from petset.cluster.controllers.pod_ranks import is_active
from tests.fakes.unruly import Trouble, UnrulyClient
from tests.local import Local, local_cluster
from tests.scenarios.workloads import manifest_deployment, replica_sets, rolled_out, scale, set_image

pytestmark = pytest.mark.looptime

HISTORIES = int(os.environ.get("PETSET_DEPLOYMENT_HISTORIES", "16"))
STEPS = 25
LAG_SECONDS = 1.0
WINDOW_SECONDS = 2 * LAG_SECONDS
"""A controller may act on what was true so long ago."""

BAD_IMAGE = "nginx:bad"
Timeline = list[tuple[float, int]]


@dataclass(frozen=True)
class Change:
    """One event of a watch, at a loop time."""

    revision: int
    at: float
    object: Object
    gone: bool


@dataclass
class Promises:
    """Everything that happened, in the order of its revisions, and what it had to keep to.

    From the first revision of `needs_ready` on, so many pods must be ready.
    """

    needs_ready: tuple[int, int]
    pods: dict[Key, Object] = field(default_factory=dict)
    sets: dict[Key, Object] = field(default_factory=dict)
    told: dict[str, Timeline] = field(default_factory=lambda: defaultdict(list))
    """How many pods each ReplicaSet was told to have, since when; by uid."""
    limits: Timeline = field(default_factory=list)
    """replicas + maxSurge, since when."""

    def check(self, change: Change) -> None:
        obj = change.object
        if obj["kind"] == "Deployment":
            self.limits.append((change.at, DeploymentView.of(obj).max_replicas))
            return
        known = self.pods if obj["kind"] == "Pod" else self.sets
        before = known.pop(key_of(obj), None)
        if not change.gone:
            known[key_of(obj)] = obj
        if obj["kind"] == "Pod":
            self._check_pods(change, before)
        elif not change.gone:
            self._check_sets(change, before)

    def _check_sets(self, change: Change, before: Object | None) -> None:
        changed = change.object
        size, old = changed["spec"]["replicas"], before["spec"]["replicas"] if before else 0
        self.told[changed["metadata"]["uid"]].append((change.at, size))
        templates = Counter(comparable(each["spec"]["template"]) for each in self.sets.values())
        assert max(templates.values()) == 1, "two ReplicaSets of one template"
        total = sum(each["spec"]["replicas"] for each in self.sets.values())
        most = _most(self.limits, change.at)
        assert size <= old or total <= most, f"{name_of(changed)} grew from {old} to {size}, in sum {total} of {most}"

    def _check_pods(self, change: Change, before: Object | None) -> None:
        active = [pod for pod in self.pods.values() if is_active(pod)]
        if before is None and not change.gone:
            uid = (controller_of(change.object) or {}).get("uid", "")
            count = sum((controller_of(pod) or {}).get("uid") == uid for pod in active)
            told = self.told[uid]
            assert count <= _most(told, change.at), f"pod {count} at {change.at} of a ReplicaSet that was told {told}"
        ready = sum(condition_is_true(pod, "Ready") for pod in active)
        since, wanted = self.needs_ready
        assert change.revision < since or ready >= wanted, f"only {ready} pods are ready at {change.at}"


def _most(timeline: Timeline, at: float) -> int:
    """The largest value that held at any time of the window."""
    held = [value for index, (_, value) in enumerate(timeline) if _ended(timeline, index) >= at - WINDOW_SECONDS]
    return max(held, default=0)


def _ended(timeline: Timeline, index: int) -> float:
    return timeline[index + 1][0] if index + 1 < len(timeline) else float("inf")


class History:
    """One cluster and its troubles."""

    def __init__(self, local: Local, random: Random, trouble: Trouble) -> None:
        self.local, self.random, self.trouble = local, random, trouble
        self.changes: list[Change] = []
        self.running = True
        trouble.on_death = self._died

    def _died(self) -> None:
        self.running = False
        self.local.cluster.crash_controllers()

    async def follow(self, kind: str, revision: str) -> None:
        loop = asyncio.get_running_loop()
        async with self.local.client.watch(kind, "default", revision=revision) as events:
            async for event in events:
                if event.type != "BOOKMARK":
                    number = int(event.object["metadata"]["resourceVersion"])
                    self.changes.append(Change(number, loop.time(), event.object, event.type == "DELETED"))

    async def image(self) -> None:
        await set_image(self.local, f"nginx:{self.random.randint(1, 4)}")

    async def bad_image(self) -> None:
        await set_image(self.local, BAD_IMAGE)

    async def scale(self) -> None:
        await scale(self.local, self.random.randint(0, 7))

    async def pause(self) -> None:
        body = {"spec": {"paused": self.random.choice([True, None])}}
        await self.local.client.patch("Deployment", "web", "default", body=body)

    async def kill_pod(self) -> None:
        pods = [name for name, pod in (await self.local.pods()).items() if not is_terminating(pod)]
        if pods:
            await self.local.client.delete("Pod", self.random.choice(pods), "default")

    async def die(self) -> None:
        if self.running:
            self.trouble.die_after(self.random.randint(0, 10))

    async def live(self) -> None:
        if not self.running:
            self.running = True
            self.local.cluster.start_controllers()

    async def wait(self) -> None:
        await asyncio.sleep(self.random.choice([0.0, 0.1, 1.0, 5.0, 20.0]))

    async def settle(self) -> Object:
        """Trouble ends and all users agree; the Deployment must reach its spec."""
        self.trouble.rest()
        await self.live()
        body = {"spec": {"paused": None, "replicas": 4}}
        await self.local.client.patch("Deployment", "web", "default", body=body)
        await set_image(self.local, "nginx:last")
        return await rolled_out(self.local)


CALM: tuple[Callable[[History], Awaitable[None]], ...] = (
    History.image, History.die, History.live, History.live, History.wait, History.wait,
)  # fmt: skip
WILD = (*CALM, History.bad_image, History.scale, History.scale, History.pause, History.kill_pod)


@pytest.mark.parametrize("seed", range(HISTORIES))
@pytest.mark.parametrize("mood", ["calm", "wild"])
async def test_history(mood: str, seed: int) -> None:
    random = Random(f"{mood} {seed}")
    trouble = Trouble(random)

    def link(component: str, client: Client) -> Client:
        return UnrulyClient(client, trouble) if component == "controllers" else client

    async with local_cluster(2, link=link) as local, asyncio.TaskGroup() as tasks:
        for machine in local.machines.values():
            machine.unknown_images.add(BAD_IMAGE)
        it = History(local, random, trouble)
        revision = (await local.client.list("Pod")).revision
        watches = [tasks.create_task(it.follow(kind, revision)) for kind in ("Deployment", "ReplicaSet", "Pod")]
        surge, unavailable = random.choice([(1, 0), (0, 1), (2, 1), (3, 2)])
        strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
        await local.apply(manifest_deployment(replicas=4, strategy=strategy))
        await rolled_out(local)
        since = int((await local.client.list("Pod")).revision)
        _begin_trouble(local, trouble)
        for _ in range(STEPS):
            await random.choice(CALM if mood == "calm" else WILD)(it)
        deployment = await it.settle()
        for watch in watches:
            watch.cancel()
        promises = Promises(needs_ready=(since, 4 - unavailable if mood == "calm" else 0))
        for change in sorted(it.changes, key=lambda each: each.revision):
            promises.check(change)
        assert deployment["status"]["readyReplicas"] == 4
        assert len(await replica_sets(local)) == len((await local.client.list("ReplicaSet", "default")).items)


def _begin_trouble(local: Local, trouble: Trouble) -> None:
    """From here on every request may fail and every watch is late; watches that are open already are opened anew."""
    trouble.conflicts = trouble.lost_answers = 0.1
    trouble.broken_watches, trouble.lag_seconds = 0.02, LAG_SECONDS
    local.cluster.crash_controllers()
    local.cluster.start_controllers()

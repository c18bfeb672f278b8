"""A history of a whole cluster: what its users do, what befalls it, and what must hold meanwhile and in the end.

A seed is a history (life.py). The controllers speak through an UnrulyClient.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from petset.cluster.api.objects import Object, condition_is_true, controller_of, labels_of, name_of, uid_of
from petset.cluster.api.revisions import encode, sorted_revisions
from petset.cluster.clock import LoopClock
from petset.cluster.control.client import Client
from petset.cluster.errors import NotFound
from tests.fakes.unruly import Trouble, UnrulyClient
from tests.histories.cluster_promises import FINAL_PHASES, SET, Promises, image_of, ordinal
from tests.histories.life import Deeds, Life, now_seconds
from tests.local import Local, local_cluster
from tests.scenarios.stage import PodHealth, new_set

IMAGES = ("v1", "v2", "v3")
MAX_LAG_SECONDS = 3.0
WATCHED = ("Pod", "StatefulSet", "PersistentVolumeClaim")
SETTLING_SECONDS = 900


class History(Life):
    """One set, its user and its troubles. `step` does something; `settle` ends it well."""

    def __init__(self, local: Local, random: Random, trouble: Trouble, health: PodHealth) -> None:
        self.promises = Promises(window_seconds=MAX_LAG_SECONDS + 0.5, epoch=LoopClock().now() - now_seconds())
        super().__init__(local, random, trouble, self.promises.log)
        self.health = health
        self._dead_kubelets: list[str] = []
        self._forced: set[str] = set()
        """Uids of pods that users declared over, by force or by a final phase, without asking their machine."""
        self._grace_seconds = random.choice([1, 5, 30])

    def check(self) -> None:
        """The promises, over what has happened since the last time."""
        written, self.trouble.wrote = self.trouble.wrote, []
        self.promises.take(self.news(), written)
        self._check_machines()

    def _check_machines(self) -> None:
        """No two processes of one identity, whatever objects say; one that a user forced away does not count."""
        running: dict[str, str] = {}
        for node, machine in self.local.machines.items():
            for uid, name in machine.running_pods():
                if uid in self._forced:
                    continue
                assert name not in running, f"{name} runs on {running[name]} and on {node}"
                running[name] = node

    # What users do

    async def step(self) -> None:
        """One deed, and some time."""
        await self.do_one(_DEEDS)
        await asyncio.sleep(self.random.choice([0, 0, 0.1, 0.5, 1, 2, 4]))
        self.check()

    async def create(self) -> None:
        random = self.random
        options = {"replicas": str(random.randint(1, 4)), "claims": "data", "image": random.choice(IMAGES)}
        options["policy"] = random.choice(["OrderedReady", "Parallel"])
        if random.random() < 0.3:
            options["minReady"] = "3"
        obj = new_set(SET, options)
        obj["spec"]["revisionHistoryLimit"] = random.choice([0, 2, 10])
        obj["spec"]["updateStrategy"] = self._strategy()
        obj["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = self._grace_seconds
        await self.local.apply(obj)

    def _strategy(self) -> Object:
        random = self.random
        blocks: list[Object | None] = [
            None,
            {"partition": 0},
            {"partition": random.randint(0, 4)},
            {"partition": 0, "maxUnavailable": random.randint(1, 3)},
            {"partition": random.randint(0, 2), "maxUnavailable": random.choice(["25%", "50%", "100%"])},
        ]
        block = random.choice(blocks)
        if block is None:
            return {"type": random.choice(["OnDelete", "RollingUpdate"])}
        return {"type": "RollingUpdate", "rollingUpdate": block}

    async def _edit(self, **spec: object) -> None:
        self.note(f"   {spec}")
        await self.local.client.patch("StatefulSet", SET, "default", body={"spec": spec})

    async def scale(self) -> None:
        await self._edit(replicas=self.random.randint(0, 5))

    async def update(self) -> None:
        path = "/spec/template/spec/containers/0/image"
        body = [{"op": "replace", "path": path, "value": self.random.choice(IMAGES)}]
        await self.local.client.patch("StatefulSet", SET, "default", body=body, patch_type="json")

    async def roll_back(self) -> None:
        revisions = sorted_revisions((await self.local.client.list("ControllerRevision", "default")).items)
        if revisions:
            data = self.random.choice(revisions)["data"]
            await self.local.client.patch("StatefulSet", SET, "default", body=data, patch_type="strategic")

    async def change_strategy(self) -> None:
        wanted = self._strategy()
        await self._edit(updateStrategy={"rollingUpdate": None} | wanted)

    async def move_start(self) -> None:
        await self._edit(ordinals={"start": self.random.randint(0, 2)})

    async def change_retention(self) -> None:
        policy = {field: self.random.choice(["Retain", "Delete"]) for field in ("whenScaled", "whenDeleted")}
        await self._edit(persistentVolumeClaimRetentionPolicy=policy)

    async def recreate(self) -> None:
        owner = self.promises.owner
        if owner is None:
            await self.create()
            return
        cascade = self.random.choice(["Orphan", "Orphan", "Background", "Foreground"])
        await self.local.client.delete("StatefulSet", SET, "default", options={"propagationPolicy": cascade})
        await asyncio.sleep(self.random.choice([0, 1, 5]))
        metadata = {"name": SET, "namespace": "default"}
        await self.local.client.create({**owner, "metadata": metadata, "status": {}})

    async def delete_pod(self) -> None:
        if pod := self._any_pod():
            await self.local.client.delete("Pod", name_of(pod), "default")

    async def force_delete_pod(self) -> None:
        if pod := self._any_pod():
            self._forced.add(uid_of(pod))
            await self.local.client.delete("Pod", name_of(pod), "default", options={"gracePeriodSeconds": 0})

    async def fail_pod(self) -> None:
        if pod := self._any_pod():
            self._forced.add(uid_of(pod))
            body = {"status": {"phase": self.random.choice(FINAL_PHASES), "reason": "Evicted"}}
            await self.local.client.patch("Pod", name_of(pod), "default", body=body, subresource="status")

    async def break_or_heal_pod(self) -> None:
        if pod := self._any_pod():
            self.health.broken ^= {uid_of(pod)}

    async def relabel_pod(self) -> None:
        if pod := self._any_pod():
            labels = self.random.choice([{"app": "debug"}, {"app": SET}, {"app": SET}, {_POD_NAME: "web-9"}])
            body = {"metadata": {"labels": labels}}
            await self.local.client.patch("Pod", name_of(pod), "default", body=body)

    def _any_pod(self) -> Object | None:
        pods = self.promises.pods
        return pods[self.random.choice(sorted(pods))] if pods else None

    # What befalls the cluster

    async def crash_kubelet(self) -> None:
        node = self.random.choice(sorted(self.local.machines))
        if node not in self._dead_kubelets:
            self._dead_kubelets.append(node)
            self.local.cluster.crash_kubelet(node)

    async def start_kubelets(self) -> None:
        while self._dead_kubelets:
            self.local.cluster.start_kubelet(self._dead_kubelets.pop())

    async def reboot_machine(self) -> None:
        self.local.machines[self.random.choice(sorted(self.local.machines))].reboot()

    # Rest

    async def settle(self) -> None:
        """Trouble ends, all parts run, and users clear away what only they can: the set must reach its spec."""
        self.note(">> rest")
        self.trouble.rest()
        self.health.broken.clear()
        await self.start_controllers()
        await self.start_kubelets()
        for _ in range(SETTLING_SECONDS // 5):
            await self._clear_away()
            await asyncio.sleep(5)
            self.check()
            if self.promises.owner is None:
                await self.create()  # it was deleted, and not made again
            problem = await self._unsettled()
            if not problem:
                return
        raise AssertionError(f"not settled after {SETTLING_SECONDS} s: {problem}")

    async def _clear_away(self) -> None:
        """Released pods hold names; of two finished pods that an ordered set is to scale away, each waits for the
        other to become healthy (as upstream)."""
        for name, pod in self.promises.pods.items():
            finished = pod["status"].get("phase") in FINAL_PHASES
            released = labels_of(pod).get("app") != SET and controller_of(pod) is None
            if released or (finished and name not in self._wanted()):
                with contextlib.suppress(NotFound):
                    await self.local.client.delete("Pod", name, "default")

    def _wanted(self) -> list[str]:
        owner = self.promises.owner
        if owner is None:
            return []
        start = (owner["spec"].get("ordinals") or {}).get("start", 0)
        return [f"{SET}-{start + index}" for index in range(owner["spec"]["replicas"])]

    async def _unsettled(self) -> str:
        """What is still missing."""
        owner, pods = self.promises.owner, self.promises.pods
        if owner is None:
            return "the set is gone"
        if sorted(pods) != sorted(self._wanted()):
            return f"pods {sorted(pods)} instead of {self._wanted()}"
        if down := [name for name, pod in pods.items() if not condition_is_true(pod, "Ready")]:
            return f"{down} are not ready"
        newest = image_of(owner["spec"]["template"]["spec"])
        old = [name for name, pod in pods.items() if image_of(pod["spec"]) != newest]
        strategy = owner["spec"]["updateStrategy"]
        lowest = min(map(ordinal, pods), default=0) + (strategy.get("rollingUpdate") or {}).get("partition", 0)
        if strategy["type"] == "RollingUpdate" and [name for name in old if ordinal(name) >= lowest]:
            return f"{old} are old"
        return self._wrong_status(owner, len(pods), len(pods) - len(old)) or await self._wrong_revisions(owner)

    def _wrong_status(self, owner: Object, replicas: int, updated: int) -> str:
        status = owner.get("status") or {}
        wanted = {
            "observedGeneration": owner["metadata"]["generation"],
            "replicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
            "updatedReplicas": updated,
        }
        return "" if all(status.get(key, 0) == value for key, value in wanted.items()) else f"status {status}"

    async def _wrong_revisions(self, owner: Object) -> str:
        revisions = (await self.local.client.list("ControllerRevision", "default")).items
        templates = {encode(each["data"]) for each in revisions}
        if len(templates) != len(revisions):
            return f"two revisions of one template: {list(map(name_of, revisions))}"
        used = {labels_of(pod)["controller-revision-hash"] for pod in self.promises.pods.values()}
        live = used | {owner["status"]["currentRevision"], owner["status"]["updateRevision"]}
        past = [name_of(each) for each in revisions if name_of(each) not in live]
        return f"history beyond its limit: {past}" if len(past) > owner["spec"]["revisionHistoryLimit"] else ""


_POD_NAME = "statefulset.kubernetes.io/pod-name"
_DEEDS: Deeds = {
    "scale": (6, History.scale),
    "update": (5, History.update),
    "roll back": (2, History.roll_back),
    "change strategy": (3, History.change_strategy),
    "move start": (1, History.move_start),
    "change retention": (2, History.change_retention),
    "recreate": (1, History.recreate),
    "delete pod": (4, History.delete_pod),
    "force": (1, History.force_delete_pod),
    "fail pod": (3, History.fail_pod),
    "break or heal": (4, History.break_or_heal_pod),
    "relabel": (4, History.relabel_pod),
    "crash controllers": (4, History.crash_controllers),
    "start controllers": (8, History.start_controllers),
    "crash kubelet": (1, History.crash_kubelet),
    "start kubelets": (4, History.start_kubelets),
    "reboot": (1, History.reboot_machine),
}


@asynccontextmanager
async def history(seed: int) -> AsyncIterator[History]:
    """A cluster with the seed's kind of trouble, and a set in it."""
    random = Random(seed)
    trouble = Trouble(random)

    def link(component: str, client: Client) -> Client:
        return UnrulyClient(client, trouble) if component == "controllers" else client

    health = PodHealth()
    async with local_cluster(2, prober=health, link=link) as local:
        health.machines = local.machines
        it = History(local, random, trouble, health)
        async with it.watching(WATCHED):
            _begin_trouble(trouble)
            it.promises.answers_get_lost = trouble.lost_answers > 0
            await it.create()
            yield it


def _begin_trouble(trouble: Trouble) -> None:
    """Each kind of trouble is there in some histories only, so that a failure shows what it needs."""
    random = trouble.random
    trouble.conflicts = random.choice([0.0, 0.05])
    trouble.lost_answers = random.choice([0.0, 0.03])
    trouble.broken_watches = random.choice([0.0, 0.01])
    trouble.lag_seconds = random.choice([0.0, 0.2, MAX_LAG_SECONDS])

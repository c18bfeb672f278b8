"""All pods of one node: who has a worker, and what of the machine belongs to nobody.

    informer (pods of this node) ─▶ one worker per uid                     next_change ─▶ listing ─▶ every worker
                                                                                             └─▶ strays are removed

The machine is listed once before the first pod is seen, so that a restarted kubelet adopts what runs. A sandbox
whose pod the API server does not have (any more) is stopped and removed, but only once the first list of pods is
complete. After the machine's death the listing is empty, and the workers build everything anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from signal import SIGTERM

from petset.cluster.api.cri import SandboxStatus
from petset.cluster.api.objects import Object, is_terminating, name_of, namespace_of, uid_of
from petset.cluster.control.informer import Informer
from petset.cluster.errors import ApiError
from petset.cluster.kubelet.admission import Refusal, refusal_of
from petset.cluster.kubelet.effects import Say
from petset.cluster.kubelet.health import Health
from petset.cluster.kubelet.machine import FORCED_GRACE_SECONDS
from petset.cluster.kubelet.parts import Parts
from petset.cluster.kubelet.runtime import Runtime
from petset.cluster.kubelet.worker import PodWorker

SILENCE_RETRY_SECONDS = 1.0
RELIST_SECONDS = 10.0
"""A machine on which nothing happens is looked at this often, to know that it still answers."""
LIST_SECONDS = 30.0
"""A machine that takes longer to say what is on it counts as silent."""

log = logging.getLogger(__name__)


class MachineWatch:
    """Lists a machine whenever something changed on it, and tells `health` when it is silent for too long."""

    def __init__(self, runtime: Runtime, health: Health) -> None:
        self._health = health
        self.listed: asyncio.Queue[tuple[float, list[SandboxStatus]]] = asyncio.Queue(1)
        """(loop time of the question, answer); the machine is asked again only when the last answer was taken."""
        self._runtime = runtime
        self._due = asyncio.Event()

    def look_again(self) -> None:
        self._due.set()

    async def run(self) -> None:
        """Until cancelled."""
        self._due.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_changes(), name="machine changes")
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RELIST_SECONDS):
                        await self._due.wait()
                self._due.clear()
                await self._list()

    async def _list(self) -> None:
        asked_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(LIST_SECONDS):
                sandboxes = await self._runtime.list_sandboxes()
        except (ApiError, TimeoutError) as error:
            self._health.failed(f"container runtime is down: {error}", at=asked_at)
            await asyncio.sleep(SILENCE_RETRY_SECONDS)
            self._due.set()
            return
        self._health.succeeded(at=asked_at)
        await self.listed.put((asked_at, sandboxes))

    async def _follow_changes(self) -> None:
        seen = 0
        while True:
            try:
                seen = await self._runtime.next_change(seen)
            except ApiError:
                seen = 0
                await asyncio.sleep(SILENCE_RETRY_SECONDS)
            self._due.set()


class Pods:
    """The workers of one node, living in `tasks`."""

    def __init__(self, parts: Parts, informer: Informer, watch: MachineWatch, tasks: asyncio.TaskGroup) -> None:
        self._parts = parts
        self._informer = informer
        self._watch = watch
        self._tasks = tasks
        self._workers: dict[str, PodWorker] = {}
        self._newest: dict[tuple[str, str], PodWorker] = {}
        self._listing: dict[str, SandboxStatus] = {}
        self._strays: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        await self._take_listing()
        self._parts.attachments.adopt(self._listing.values())
        self._informer.subscribe(self._see)
        self._tasks.create_task(self._informer.run(), name="pod informer")
        await self._informer.synced.wait()
        self._remove_strays()
        while True:
            await self._take_listing()
            self._remove_strays()

    async def _take_listing(self) -> None:
        asked_at, sandboxes = await self._watch.listed.get()
        self._listing = {each.uid: each for each in sandboxes}
        for uid, worker in self._workers.items():
            worker.see_sandbox(self._listing.get(uid), asked_at=asked_at)

    def _see(self, old: Object | None, new: Object | None) -> None:
        """The informer's handler."""
        replaced = old is not None and (new is None or uid_of(new) != uid_of(old))
        if old is not None and replaced and (worker := self._workers.get(uid_of(old))):
            worker.see_gone()
        if new is None:
            return
        if worker := self._workers.get(uid_of(new)):
            worker.see_pod(new)
        else:
            self._begin(new)

    def _begin(self, pod: Object) -> None:
        uid, key = uid_of(pod), (namespace_of(pod), name_of(pod))
        earlier = self._newest.get(key)
        worker = PodWorker(pod, self._listing.get(uid), self._parts, predecessor=earlier.finished if earlier else None)
        if refusal := self._refusal(pod):
            reason, message = refusal
            worker.refuse(reason, f"Pod was rejected: {message}")
            self._parts.events.say(pod, Say("Warning", reason, message))
        self._workers[uid] = self._newest[key] = worker
        self._tasks.create_task(self._care(uid, key, worker), name=f"pod {key[0]}/{key[1]}")

    def _refusal(self, pod: Object) -> Refusal | None:
        """Why the node does not take a pod that is new to it."""
        if uid_of(pod) in self._listing or is_terminating(pod) or (pod.get("status") or {}).get("startTime"):
            return None
        others = [worker.pod for worker in self._workers.values() if worker.occupies]
        return refusal_of(pod, others, self._parts.node.capacity)

    async def _care(self, uid: str, key: tuple[str, str], worker: PodWorker) -> None:
        await worker.run()
        await self._parts.attachments.release(uid)
        del self._workers[uid]
        if self._newest.get(key) is worker:
            del self._newest[key]

    def _remove_strays(self) -> None:
        for uid, sandbox in self._listing.items():
            if uid not in self._workers and uid not in self._strays:
                self._strays.add(uid)
                self._tasks.create_task(self._remove_stray(sandbox), name=f"stray sandbox {uid}")

    async def _remove_stray(self, sandbox: SandboxStatus) -> None:
        """Kill a pod that the API server does not know; what fails is tried again after the next listing."""
        try:
            running = [each for each in sandbox.containers if each.state != "exited"]
            for container in running:
                await self._parts.runtime.signal_container(container.id, SIGTERM)
            if running:
                await asyncio.sleep(FORCED_GRACE_SECONDS)
            await self._parts.runtime.remove_sandbox(sandbox.uid)
            await self._parts.attachments.release(sandbox.uid)
        except ApiError as error:
            log.info("stray sandbox %s/%s: %s", sandbox.namespace, sandbox.name, error)
            await asyncio.sleep(SILENCE_RETRY_SECONDS)
        self._strays.discard(sandbox.uid)
        self._watch.look_again()

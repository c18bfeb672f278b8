"""The commands of scenario scripts, over a whole cluster in virtual time.

    apply SET key=value …        create a set, or change one: replicas policy partition maxUnavailable strategy
                                 minReady image claims (comma-separated) whenScaled whenDeleted start history grace
    scale SET N                  set-image SET IMAGE          partition SET N
    rollback SET                 what `kubectl rollout undo` sends
    break POD, heal POD          its readiness probe fails from now on, and no more
    fail POD                     its phase becomes Failed, as by an eviction
    kill POD                     its container ends with exit code 1
    label POD key=value key-     create POD key=value …       a pod of nobody's with these labels
    delete pod|set|claim|node NAME [cascade=background|foreground|orphan] [grace=SECONDS]
    cut NODE, mend NODE          its kubelet cannot reach the API server, and can again
    crash controllers, start controllers
    advance 40s                  let time pass
    taint NODE                   a user vouches that it is out of service
    show pods, claims, revisions, attachments (where disks are), containers (what runs where) or a set's name

Images are v1, v2, v3, v4 and broken, whose pods never become ready. A pod takes one second to become ready, with a
readiness probe each second, and two seconds to end: so what waits for what shows in the seconds. What happens within
one second is told by subject, and of a status only the last one, since its order is nobody's promise.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from petset.cluster.api.cri import SandboxStatus
from petset.cluster.api.objects import Object, condition_is_true, is_terminating, labels_of, name_of, uid_of
from petset.cluster.api.revisions import sorted_revisions
from petset.cluster.control.client import Client
from petset.cluster.control.snapshot import key_of
from petset.cluster.errors import ApiError
from tests.fakes.client import CuttableClient
from tests.fakes.runtime import FakeProber, FakeRuntime, Program
from tests.local import Local, local_cluster
from tests.scenarios.narration import REVISION_LABEL, Narrator

QUIET_SECONDS = 3
"""A cluster in which nothing was told for so long has settled."""
MAX_SETTLING_SECONDS = 120
STOP_SECONDS = 2.0
"""How long containers take to end after SIGTERM."""
IMAGES = ("v1", "v2", "v3", "v4", "broken")
SUBJECTS = ("", "set", "revision", "claim", "pod", "event", "status", "node")
KINDS = {"pod": "Pod", "set": "StatefulSet", "claim": "PersistentVolumeClaim", "node": "Node"}


@dataclass(frozen=True)
class Told:
    """One line, `at` seconds after the block's first command. `revision` is 0 for answers to commands."""

    at: float
    revision: int
    line: str

    @property
    def second(self) -> int:
        return math.floor(self.at + 0.001)

    @property
    def subject(self) -> str:
        """What the line is about; each text of an event is a subject of its own."""
        if self.revision and self.line.startswith("event "):
            return self.line
        return self.line.partition(":")[0] if self.revision else ""

    @property
    def rank(self) -> int:
        return SUBJECTS.index(self.subject.partition(" ")[0])


class PodHealth(FakeProber):
    """Answers readiness probes by the pod that has the address: 503 from broken ones."""

    def __init__(self) -> None:
        super().__init__()
        self.machines: Mapping[str, FakeRuntime] = {}
        self.broken: set[str] = set()
        """Uids of pods."""

    async def http_get(self, url: str, headers: dict[str, str], timeout_seconds: float) -> tuple[int, str]:
        pod = await self._pod_at(urlsplit(url).hostname or "")
        if pod is None:
            raise ConnectionRefusedError(f"connect to {url} refused")
        is_broken = pod.uid in self.broken or any(each.image == "broken" for each in pod.containers)
        return (503 if is_broken else 200), ""

    async def _pod_at(self, address: str) -> SandboxStatus | None:
        for machine in self.machines.values():
            for sandbox in await machine.list_sandboxes():
                if sandbox.ip == address:
                    return sandbox
        return None


class Cuts:
    """The links between components and the API server: each may be cut by its component's name."""

    def __init__(self) -> None:
        self._newest: dict[str, CuttableClient] = {}

    def __call__(self, component: str, client: Client) -> Client:
        self._newest[component] = CuttableClient(client)
        return self._newest[component]

    def __getitem__(self, component: str) -> CuttableClient:
        return self._newest[component]


class Stage:
    """One cluster, what was told about it since the last `taken`, and the commands."""

    def __init__(self, local: Local, health: PodHealth, cuts: Cuts) -> None:
        self._local = local
        self._client = local.client
        self._health = health
        self._cuts = cuts
        self._narrator = Narrator()
        self._told: list[Told] = []
        self._began_at = 0.0

    # What is told

    async def follow(self, kind: str, ready: asyncio.Event) -> None:
        """Tell every change of a kind, until cancelled."""
        listing = await self._client.list(kind)
        known = {key_of(obj): obj for obj in listing.items}
        async with self._client.watch(kind, revision=listing.revision) as events:
            ready.set()
            async for event in events:
                obj = event.object
                self._tell(known.get(key_of(obj)), None if event.type == "DELETED" else obj, obj)
                known[key_of(obj)] = obj
                if event.type == "DELETED":
                    del known[key_of(obj)]

    @property
    def kinds(self) -> tuple[str, ...]:
        return self._narrator.kinds

    def _tell(self, old: Object | None, new: Object | None, stamped: Object) -> None:
        revision, now = int(stamped["metadata"]["resourceVersion"]), asyncio.get_running_loop().time()
        self._told += [Told(now - self._began_at, revision, line) for line in self._narrator.tell(old, new)]

    def _answer(self, line: str) -> None:
        self._told.append(Told(asyncio.get_running_loop().time() - self._began_at, 0, line))

    async def play(self, commands: list[str]) -> list[str]:
        """Carry the commands out, let the cluster settle, and answer what was told: `SECONDS  LINE`."""
        await _half_past()
        self._began_at = asyncio.get_running_loop().time()
        self._told.clear()
        for command in commands:
            verb, *words = command.split()
            try:
                await self._command(verb)(words)
            except ApiError as error:
                self._answer(f"error: {error.message}")
        if not commands[-1].startswith(("advance", "show")):
            await self._settle()
        return in_order(self._told)

    async def _settle(self) -> None:
        for _ in range(MAX_SETTLING_SECONDS):
            before = len(self._told)
            await asyncio.sleep(QUIET_SECONDS)
            if len(self._told) == before:
                return
        raise AssertionError(f"not settled after {MAX_SETTLING_SECONDS * QUIET_SECONDS} s: {self._told[-5:]}")

    # Commands

    def _command(self, verb: str) -> Callable[[list[str]], Awaitable[None]]:
        name = f"_do_{verb.replace('-', '_')}"
        assert hasattr(self, name), f"no command {verb!r}"
        command: Callable[[list[str]], Awaitable[None]] = getattr(self, name)
        return command

    async def _do_apply(self, words: list[str]) -> None:
        name, options = words[0], dict(word.split("=", 1) for word in words[1:])
        if not any(name_of(each) == name for each in (await self._client.list("StatefulSet", "default")).items):
            await self._local.apply(new_set(name, options))
            return
        await self._patch_set(name, set_spec(options))

    async def _do_scale(self, words: list[str]) -> None:
        body = {"spec": {"replicas": int(words[1])}}
        await self._client.patch("StatefulSet", words[0], "default", body=body, subresource="scale")

    async def _do_set_image(self, words: list[str]) -> None:
        container = {"name": "web", "image": words[1]}
        body = {"spec": {"template": {"spec": {"containers": [container]}}}}
        await self._client.patch("StatefulSet", words[0], "default", body=body, patch_type="strategic")

    async def _do_partition(self, words: list[str]) -> None:
        await self._patch_set(words[0], set_spec({"partition": words[1]}))

    async def _do_rollback(self, words: list[str]) -> None:
        revisions = (await self._client.list("ControllerRevision", "default")).items
        owned = [each for each in revisions if name_of(each).startswith(f"{words[0]}-")]
        data = sorted_revisions(owned)[-2]["data"]
        await self._client.patch("StatefulSet", words[0], "default", body=data, patch_type="strategic")

    async def _do_break(self, words: list[str]) -> None:
        self._health.broken.add(uid_of(await self._client.get("Pod", words[0], "default")))

    async def _do_heal(self, words: list[str]) -> None:
        self._health.broken.remove(uid_of(await self._client.get("Pod", words[0], "default")))

    async def _do_fail(self, words: list[str]) -> None:
        status = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
        ready = {"type": "Ready", "status": "False", "reason": "PodFailed"}
        body = {"status": status | {"conditions": [ready]}}
        await self._client.patch("Pod", words[0], "default", body=body, patch_type="strategic", subresource="status")

    async def _do_kill(self, words: list[str]) -> None:
        pod = await self._client.get("Pod", words[0], "default")
        self._local.machines[pod["spec"]["nodeName"]].exit(words[0], "web", exit_code=1)

    async def _do_label(self, words: list[str]) -> None:
        labels = {key.rstrip("-"): value or None for key, _, value in (word.partition("=") for word in words[1:])}
        await self._client.patch("Pod", words[0], "default", body={"metadata": {"labels": labels}})

    async def _do_create(self, words: list[str]) -> None:
        labels = dict(word.split("=", 1) for word in words[1:])
        metadata = {"name": words[0], "labels": labels}
        await self._local.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec("v1", [])})

    async def _do_delete(self, words: list[str]) -> None:
        kind, options = KINDS[words[0]], dict(word.split("=", 1) for word in words[2:])
        body: Object = {}
        if "grace" in options:
            body["gracePeriodSeconds"] = int(options["grace"])
        if kind == "StatefulSet":
            body["propagationPolicy"] = options.get("cascade", "background").capitalize()
        await self._client.delete(kind, words[1], "" if kind == "Node" else "default", options=body)

    async def _do_cut(self, words: list[str]) -> None:
        self._cuts[f"kubelet {words[0]}"].cut()

    async def _do_mend(self, words: list[str]) -> None:
        self._cuts[f"kubelet {words[0]}"].mend()

    async def _do_crash(self, words: list[str]) -> None:
        assert words == ["controllers"]
        self._local.cluster.crash_controllers()

    async def _do_start(self, words: list[str]) -> None:
        assert words == ["controllers"]
        self._local.cluster.start_controllers()

    async def _do_taint(self, words: list[str]) -> None:
        taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
        present = (await self._client.get("Node", words[0]))["spec"].get("taints") or []
        await self._client.patch("Node", words[0], body={"spec": {"taints": [*present, taint]}})

    async def _do_advance(self, words: list[str]) -> None:
        await asyncio.sleep(float(words[0].removesuffix("s")))

    async def _do_show(self, words: list[str]) -> None:
        if words[0] == "containers":
            for name, machine in self._local.machines.items():
                running = sorted(pod for _, pod in machine.running_pods())
                self._answer(f"{name}: {' '.join(running) or 'nothing'}")
            return
        if words[0] == "attachments":
            for line in await self._local.attachments():
                self._answer(line)
            return
        kind = {"claims": "PersistentVolumeClaim", "revisions": "ControllerRevision", "pods": "Pod"}.get(words[0])
        if kind is None:
            obj = await self._client.get("StatefulSet", words[0], "default")
            self._answer(f"{words[0]}: {self._narrator.status(obj)}")
            return
        items = (await self._client.list(kind, "default")).items
        for obj in sorted_revisions(items) if kind == "ControllerRevision" else items:
            self._answer(self._row(obj))
        if not items:
            self._answer(f"no {words[0]}")

    async def _patch_set(self, name: str, spec: Object) -> None:
        await self._client.patch("StatefulSet", name, "default", body={"spec": spec}, patch_type="strategic")

    def _row(self, obj: Object) -> str:
        if obj["kind"] == "ControllerRevision":
            return f"{self._narrator.revision(name_of(obj))}: number {obj['revision']}"
        if obj["kind"] == "PersistentVolumeClaim":
            return f"{name_of(obj)}: {obj['status']['phase']}{' (terminating)' if is_terminating(obj) else ''}"
        revision = labels_of(obj).get(REVISION_LABEL, "")
        facts = [obj["status"]["phase"], "ready" if condition_is_true(obj, "Ready") else "not ready"]
        facts += ["terminating"] if is_terminating(obj) else []
        image, claims = obj["spec"]["containers"][0]["image"], _claims(obj)
        mounts = f", {claims}" if claims else ""
        return f"{name_of(obj)}: {', '.join(facts)}, {self._narrator.revision(revision)} ({image}){mounts}"


def in_order(told: list[Told]) -> list[str]:
    """The lines by second, subject and revision; within a second only the last status of a set, and none of one that
    is gone by then."""
    ended = {(each.second, each.line.removeprefix("set ")) for each in told if each.line.startswith("set ")}
    ordered = sorted(told, key=lambda each: (each.second, each.rank, each.subject, each.revision))
    lines: list[str] = []
    for each, following in zip(ordered, [*ordered[1:], None], strict=False):
        if each.subject.startswith("status "):
            is_last = following is None or (following.second, following.subject) != (each.second, each.subject)
            if not is_last or (each.second, f"{each.subject.removeprefix('status ')}: gone") in ended:
                continue
        lines.append(f"{each.second:3d}s  {each.line}")
    return lines


async def _half_past() -> None:
    """The parts of a cluster do what they do every few seconds on the second: commands come in between, so that no
    time that is told lies on the edge between two seconds."""
    now = asyncio.get_running_loop().time()
    await asyncio.sleep(math.floor(now + 0.5) + 0.5 - now)


def _claims(pod: Object) -> str:
    volumes = pod["spec"].get("volumes") or []
    return " ".join(each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each)


def new_set(name: str, options: Mapping[str, str]) -> Object:
    """A StatefulSet as a user would write it."""
    labels = {"app": name}
    spec: Object = {"serviceName": name, "selector": {"matchLabels": labels}}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(options.get("image", "v1"), _list(options, "claims"))}
    if "grace" in options:
        template["spec"]["terminationGracePeriodSeconds"] = int(options["grace"])
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    claims = [{"metadata": {"name": each}, "spec": claim} for each in _list(options, "claims")]
    optional = {"volumeClaimTemplates": claims} if claims else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": spec | {"template": template} | optional | set_spec(options),
    }


def pod_spec(image: str, claims: list[str]) -> Object:
    """One container with a readiness probe each second, the first after one."""
    probe = {"httpGet": {"path": "/ready", "port": 8080}, "failureThreshold": 1}
    probe |= {"initialDelaySeconds": 1, "periodSeconds": 1}
    mounts = [{"name": each, "mountPath": f"/var/{each}"} for each in claims]
    container: Object = {"name": "web", "image": image, "readinessProbe": probe}
    return {"containers": [container | ({"volumeMounts": mounts} if mounts else {})]}


def set_spec(options: Mapping[str, str]) -> Object:
    """The spec fields that options name."""
    spec: Object = {}
    direct = {"policy": "podManagementPolicy", "replicas": "replicas", "minReady": "minReadySeconds"}
    for option, field in (direct | {"history": "revisionHistoryLimit"}).items():
        if option in options:
            spec[field] = _number(options[option])
    if "start" in options:
        spec["ordinals"] = {"start": int(options["start"])}
    rolling = {each: _number(options[each]) for each in ("partition", "maxUnavailable") if each in options}
    if "strategy" in options or rolling:
        block = {"rollingUpdate": rolling} if rolling else {}
        spec["updateStrategy"] = {"type": options.get("strategy", "RollingUpdate"), **block}
    retention = {each: options[each] for each in ("whenScaled", "whenDeleted") if each in options}
    return spec | ({"persistentVolumeClaimRetentionPolicy": retention} if retention else {})


def _list(options: Mapping[str, str], name: str) -> list[str]:
    return options[name].split(",") if name in options else []


def _number(text: str) -> Any:
    return int(text) if text.isdigit() else text


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """A cluster of three nodes with a stage on it."""
    health, cuts = PodHealth(), Cuts()
    async with local_cluster(prober=health, link=cuts) as local:
        health.machines = local.machines
        for machine in local.machines.values():
            machine.programs |= {image: Program(term_after_seconds=STOP_SECONDS) for image in IMAGES}
        stage = Stage(local, health, cuts)
        signs = {kind: asyncio.Event() for kind in stage.kinds}
        followers = [asyncio.create_task(stage.follow(kind, ready)) for kind, ready in signs.items()]
        for ready in signs.values():
            await ready.wait()
        try:
            yield stage
        finally:
            for task in followers:
                task.cancel()
            await asyncio.gather(*followers, return_exceptions=True)

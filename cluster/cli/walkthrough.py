"""The kubia walk-through: what a StatefulSet promises, shown on a running cluster step by step.

Each step acts as a user would (the command beside it does the same with kubectl or curl), waits for what must
follow, and checks it. A step that does not hold raises StepFailed with what was seen instead. The manifests are those
of examples/kubia; everything goes through the API server, pods are reached through its proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from petset.cluster.api.objects import Object, condition_is_true, name_of, uid_of
from petset.cluster.control.http_client import HttpClient
from petset.cluster.errors import ApiError

STEP_SECONDS = 60.0
"""How long one step may take before it counts as failed."""
NAMESPACE = "default"
NO_DATA = "No data posted yet"
WORDS = {"kubia-0": "nice!", "kubia-1": "perfect!", "kubia-2": "good!"}


class StepFailed(Exception):
    """A promise that was not kept; the message says what was expected and what was seen."""


@dataclass(frozen=True)
class Step:
    """One promise: its title, the command that a user would type, and the deed, which answers what was seen."""

    title: str
    command: str
    perform: Callable[[], Awaitable[str]]


class Walkthrough:
    """The steps, in order, against one cluster."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    def steps(self) -> list[Step]:
        proxy = "curl localhost:8001/api/v1/namespaces/default"
        return [
            Step(
                "three persistent volumes and two services",
                "kubectl apply -f examples/kubia/persistent-volumes.yaml -f …headless.yaml -f …public.yaml",
                self.create_surroundings,
            ),
            Step(
                "kubia-0 is Ready before kubia-1 exists, each with its own volume",
                "kubectl apply -f examples/kubia/statefulset.yaml",
                self.create_set,
            ),
            Step("no data yet", f"{proxy}/pods/kubia-0/proxy/", self.read_nothing),
            Step("each pod keeps its own data", f'{proxy}/pods/kubia-0/proxy/ -X POST -d "nice!"', self.write_data),
            Step(
                "three replicas of the peers image, highest ordinal first",
                "kubectl apply -f examples/kubia/statefulset-peers.yaml",
                self.roll_out_peers,
            ),
            Step(
                "one request finds every peer through DNS SRV records",
                f"{proxy}/services/kubia-public/proxy/",
                self.ask_all_peers,
            ),
            Step(
                "a deleted pod comes back with its name and its data",
                "kubectl delete pod kubia-0",
                self.delete_pod,
            ),
        ]

    async def create_surroundings(self) -> str:
        for manifest in ("persistent-volumes.yaml", "service-headless.yaml", "service-public.yaml"):
            await self._create(manifest)
        volumes = (await self._client.list("PersistentVolume")).items
        return f"{len(volumes)} volumes, services kubia (headless) and kubia-public"

    async def create_set(self) -> str:
        listing = await self._client.list("Pod", NAMESPACE)
        await self._create("statefulset.yaml")
        pods: dict[str, Object] = {}
        async with self._client.watch("Pod", NAMESPACE, revision=listing.revision) as events:
            async for event in events:
                if event.type == "BOOKMARK":
                    continue
                name = name_of(event.object)
                if name == "kubia-1" and name not in pods and not _is_ready(pods.get("kubia-0")):
                    raise StepFailed("kubia-1 was created although kubia-0 was not Ready")
                pods[name] = event.object
                if len(pods) >= 2 and all(_is_ready(pod) for pod in pods.values()):
                    break
        claims = {
            name_of(claim): claim for claim in (await self._client.list("PersistentVolumeClaim", NAMESPACE)).items
        }
        volumes = [_bound_volume(claims, f"data-kubia-{ordinal}") for ordinal in (0, 1)]
        if volumes[0] == volumes[1]:
            raise StepFailed(f"both pods use the volume {volumes[0]}")
        return f"data-kubia-0 on {volumes[0]}, data-kubia-1 on {volumes[1]}"

    async def read_nothing(self) -> str:
        return await self._expect("kubia-0", NO_DATA)

    async def write_data(self) -> str:
        for name in ("kubia-0", "kubia-1"):
            answer = await self._post(name, WORDS[name])
            if answer != f"Data stored on pod {name}":
                raise StepFailed(f"{name} answered {answer!r} to a POST")
        return "; ".join([await self._expect(name, WORDS[name]) for name in ("kubia-0", "kubia-1")])

    async def roll_out_peers(self) -> str:
        """The manifest differs in replicas and image; the set then replaces its pods from the top."""
        body = {"spec": _changes(_manifest("statefulset-peers.yaml")[0])}
        listing = await self._client.list("Pod", NAMESPACE)
        wanted = await self._client.patch("StatefulSet", "kubia", NAMESPACE, body=body, patch_type="strategic")
        async for _ in _tries():
            if await self._is_rolled_out(wanted["metadata"]["generation"]):
                break
        replaced = await self._deleted_since(listing.revision)
        if replaced != ["kubia-1", "kubia-0"]:
            raise StepFailed(f"expected kubia-1, then kubia-0 to be replaced; it was {replaced}")
        await self._post("kubia-2", WORDS["kubia-2"])
        return "kubia-2 created, then kubia-1 and kubia-0 replaced"

    async def ask_all_peers(self) -> str:
        path = f"/api/v1/namespaces/{NAMESPACE}/services/kubia-public/proxy/"
        expected = [f"- {name}.kubia.{NAMESPACE}.svc.cluster.local: {word}" for name, word in sorted(WORDS.items())]
        answer = ""
        async for _ in _tries():
            answer = await self._read(path)
            if sorted(line for line in answer.splitlines() if line.startswith("- ")) == expected:
                return f"{answer.splitlines()[0]}, which knows all {len(expected)} peers"
        raise StepFailed(f"expected the data of all three peers, got:\n{answer}")

    async def delete_pod(self) -> str:
        old = await self._client.get("Pod", "kubia-0", NAMESPACE)
        await self._client.delete("Pod", "kubia-0", NAMESPACE)
        async for _ in _tries():
            pod = await self._find("Pod", "kubia-0")
            if pod is not None and uid_of(pod) != uid_of(old) and _is_ready(pod):
                break
        answer = ""
        async for _ in _tries():  # without a readiness probe a pod is Ready before its server listens
            answer = await self._read(f"/api/v1/namespaces/{NAMESPACE}/pods/kubia-0/proxy/data")
            if "connection refused" not in answer:
                break
        if answer.strip() != WORDS["kubia-0"]:
            raise StepFailed(f"the new kubia-0 has {answer.strip()!r} instead of {WORDS['kubia-0']!r}")
        where = [pod["spec"]["nodeName"] for pod in (old, await self._client.get("Pod", "kubia-0", NAMESPACE))]
        return f"same name, same data; {where[0]} before, {where[1]} now"

    async def _is_rolled_out(self, generation: int) -> bool:
        status = (await self._client.get("StatefulSet", "kubia", NAMESPACE)).get("status", {})
        counts = [status.get(field) for field in ("replicas", "readyReplicas", "updatedReplicas")]
        return bool(status.get("observedGeneration", 0) >= generation and counts == [3, 3, 3])

    async def _deleted_since(self, revision: str) -> list[str]:
        """The pods that were deleted after that revision, in order."""
        newest = int((await self._client.list("Pod", NAMESPACE)).revision)
        deleted: list[str] = []
        async with self._client.watch("Pod", NAMESPACE, revision=revision) as events:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    async for event in events:
                        if event.type == "DELETED":
                            deleted.append(name_of(event.object))
                        if int(event.object["metadata"]["resourceVersion"]) >= newest:
                            break
        return deleted

    async def _create(self, manifest: str) -> None:
        for obj in _manifest(manifest):
            if "namespace" not in obj["metadata"] and obj["kind"] != "PersistentVolume":
                obj["metadata"]["namespace"] = NAMESPACE
            await self._client.create(obj)

    async def _find(self, kind: str, name: str) -> Object | None:
        found = await self._client.list(kind, NAMESPACE, field_selector=f"metadata.name={name}")
        return found.items[0] if found.items else None

    async def _expect(self, pod: str, data: str) -> str:
        """GET a kubia-pet until it answers (its socket may be a moment later than its process)."""
        expected = f"You've hit {pod}\nData stored on this pod: {data}"
        answer = ""
        async for _ in _tries():
            answer = await self._read(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/proxy/")
            if answer.strip() == expected:
                return f"{pod}: {data}"
        raise StepFailed(f"expected {expected!r}, got {answer!r}")

    async def _read(self, path: str) -> str:
        try:
            return (await self._client.request_raw("GET", path)).decode()
        except ApiError as error:
            return str(error)

    async def _post(self, pod: str, data: str) -> str:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/proxy/"
        answer = ""
        async for _ in _tries():
            try:
                return (await self._client.request_raw("POST", path, body=data.encode())).decode().strip()
            except ApiError as error:
                answer = str(error)
        raise StepFailed(f"{pod} did not take its data: {answer}")


async def perform(step: Step) -> str:
    """Play one step; raises StepFailed, also when it takes longer than STEP_SECONDS or the API refuses something."""
    try:
        async with asyncio.timeout(STEP_SECONDS):
            return await step.perform()
    except TimeoutError:
        raise StepFailed(f"not within {STEP_SECONDS:.0f} s") from None
    except ApiError as error:
        raise StepFailed(str(error)) from error


async def _tries() -> AsyncIterator[int]:
    """A short pause before each further try; the step's own bound ends them."""
    for number in range(int(STEP_SECONDS * 20)):
        yield number
        await asyncio.sleep(0.05)


def _manifest(name: str) -> list[dict[str, Any]]:
    text = (files("petset") / "examples" / "kubia" / name).read_text()
    documents = [document for document in yaml.safe_load_all(text) if document]
    return [item for document in documents for item in document.get("items", [document])]


def _changes(stateful_set: Object) -> Object:
    """What `kubectl apply` would send: the fields of a set that may change."""
    return {field: stateful_set["spec"][field] for field in ("replicas", "template")}


def _is_ready(pod: Object | None) -> bool:
    return pod is not None and condition_is_true(pod, "Ready")


def _bound_volume(claims: dict[str, Object], name: str) -> str:
    claim = claims.get(name)
    if claim is None or claim.get("status", {}).get("phase") != "Bound":
        raise StepFailed(f"the claim {name} is not Bound")
    return str(claim["spec"]["volumeName"])

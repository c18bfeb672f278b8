"""Deployments for scenarios, and the questions that are asked about their rollouts."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from petset.cluster.api.objects import Object, condition, condition_is_true, is_terminating, labels_of, name_of
from petset.cluster.control.snapshot import Key, key_of
from tests.local import Local

REVISION = "deployment.kubernetes.io/revision"


def manifest_deployment(name: str = "web", *, image: str = "nginx:1", **spec: Any) -> Object:
    """A Deployment of three pods as a user would write it."""
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }


def manifest_budget(name: str = "web", **spec: Any) -> Object:
    """A PodDisruptionBudget over the pods of a workload of that name."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, **spec},
    }


def eviction(pod: str) -> Object:
    """The body that `kubectl drain` POSTs."""
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "default"}}


async def set_image(local: Local, image: str, name: str = "web") -> None:
    change = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image}]
    await local.client.patch("Deployment", name, "default", body=change, patch_type="json")


async def scale(local: Local, replicas: int, *, kind: str = "Deployment", name: str = "web") -> None:
    await local.client.patch(kind, name, "default", body={"spec": {"replicas": replicas}})


async def rolled_out(local: Local, name: str = "web") -> Object:
    """Wait until a Deployment's rollout is complete; the Deployment. Nothing is left of old pods either."""

    async def holds() -> Object | None:
        found = await local.client.get("Deployment", name, "default")
        status, wanted = found.get("status", {}), found["spec"]["replicas"]
        counts = [status.get(each, 0) for each in ("replicas", "updatedReplicas", "availableReplicas")]
        observed = status.get("observedGeneration") == found["metadata"]["generation"]
        return found if observed and counts == [wanted] * 3 and len(await local.pods()) == wanted else None

    found = await local.until(f"{name} is rolled out", holds)
    assert isinstance(found, dict)
    return found


async def replica_sets(local: Local) -> dict[int, Object]:
    """The ReplicaSets of the namespace by revision."""
    items = (await local.client.list("ReplicaSet", "default")).items
    return {int(each["metadata"]["annotations"][REVISION]): each for each in items}


def progressing(deployment: Object) -> tuple[str, str]:
    """(status, reason) of the condition Progressing."""
    found = condition(deployment, "Progressing") or {}
    return found.get("status", ""), found.get("reason", "")


@dataclass
class Extremes:
    """What was seen of the pods at every single change: the most that were active, the fewest that were available, and
    the sets of template hashes that existed at the same time (terminating pods included)."""

    most: int = 0
    fewest: int = 1_000_000
    hashes: set[frozenset[str]] = field(default_factory=set)
    pods: dict[Key, Object] = field(default_factory=dict)

    def look(self) -> None:
        active = [pod for pod in self.pods.values() if not is_terminating(pod)]
        self.most = max(self.most, len(active))
        self.fewest = min(self.fewest, sum(condition_is_true(pod, "Ready") for pod in active))
        self.hashes.add(frozenset(labels_of(pod).get("pod-template-hash", "") for pod in self.pods.values()))


@asynccontextmanager
async def watching_pods(local: Local) -> AsyncIterator[Extremes]:
    """Observe every change of the namespace's pods while the body runs."""
    listing = await local.client.list("Pod", "default")
    extremes = Extremes(pods={key_of(pod): pod for pod in listing.items})
    extremes.look()

    async def follow() -> None:
        async with local.client.watch("Pod", "default", revision=listing.revision) as events:
            async for event in events:
                if event.type == "DELETED":
                    extremes.pods.pop(key_of(event.object), None)
                elif event.type != "BOOKMARK":
                    extremes.pods[key_of(event.object)] = event.object
                extremes.look()

    task = asyncio.create_task(follow())
    try:
        yield extremes
        await asyncio.sleep(1)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def revisions_of(local: Local, *kinds: str) -> dict[tuple[str, str], str]:
    """The resourceVersions of all objects of these kinds: equal twice means that nothing was written."""
    found = [each for kind in kinds for each in (await local.client.list(kind, "default")).items]
    return {(each["kind"], name_of(each)): each["metadata"]["resourceVersion"] for each in copy.copy(found)}

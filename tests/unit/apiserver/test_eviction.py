"""POST eviction: who is asked, what is spent, and how a refusal reads. Budgets stand here as their controller left
them; that the figures are right is tested in tests/scenarios/test_disruption.py."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object, condition
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.errors import BadRequest, NotFound, TooManyRequests
from tests.apis import manifest_pod, new_api

READY = {"type": "Ready", "status": "True"}


async def cluster(
    *, allowed: int | None = 1, ready: bool = True, phase: str = "Running", budget: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
) -> LoopbackClient:  # fmt: skip
    """A bound pod `a` in this state, and a budget over it (none with `allowed` None)."""
    client = LoopbackClient(await new_api())
    pod = {**manifest_pod("a"), "metadata": {"name": "a", "namespace": "default", "labels": {"app": "a"}}}
    pod["spec"] = {**pod["spec"], "nodeName": "node-1"}
    await client.create(pod)
    body = {"status": {"phase": phase, "conditions": [READY] if ready else []}}
    await client.patch("Pod", "a", "default", body=body, subresource="status")
    if allowed is None:
        return client
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "a"}}, **(budget or {})}
    meta = {"name": "guard", "namespace": "default"}
    await client.create({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec})
    figures = {
        "observedGeneration": 1, "expectedPods": 3, "desiredHealthy": 2, "currentHealthy": 3,
        "disruptionsAllowed": allowed, **(status or {}),
    }  # fmt: skip
    await client.patch("PodDisruptionBudget", "guard", "default", body={"status": figures}, subresource="status")
    return client


async def evict(client: LoopbackClient, **body: Any) -> Object:
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "a", "namespace": "default"},
        **body,
    }
    return await client.create(eviction, subresource="eviction", name="a")


async def is_going(client: LoopbackClient) -> bool:
    """Marked as being deleted, or gone already (a pod without a process goes at once)."""
    try:
        return "deletionTimestamp" in (await client.get("Pod", "a", "default"))["metadata"]
    except NotFound:
        return True


async def budget_status(client: LoopbackClient) -> Object:
    status: Object = (await client.get("PodDisruptionBudget", "guard", "default"))["status"]
    return status


DECISIONS: list[tuple[str, dict[str, Any], bool, int | None]] = [
    # the state ─▶ whether the pod goes, and what is left of the budget
    ("no-budget", {"allowed": None}, True, None),
    ("one-allowed", {}, True, 0),
    ("several-allowed", {"allowed": 3}, True, 2),
    ("none-allowed", {"allowed": 0}, False, 0),
    ("another-pods-budget", {"allowed": 0, "budget": {"selector": {"matchLabels": {"app": "b"}}}}, True, 0),
    ("an-absent-selector-selects-nothing", {"allowed": 0, "budget": {"selector": None}}, True, 0),
    ("an-empty-selector-selects-all", {"allowed": 0, "budget": {"selector": {}}}, False, 0),
    ("pending-asks-nobody", {"allowed": 0, "phase": "Pending"}, True, 0),
    ("failed-asks-nobody", {"allowed": 0, "phase": "Failed"}, True, 0),
    ("succeeded-asks-nobody", {"allowed": 0, "phase": "Succeeded"}, True, 0),
    ("unready-while-enough-are-healthy", {"allowed": 0, "ready": False}, True, 0),
    ("unready-while-too-few-are", {"allowed": 0, "ready": False, "status": {"currentHealthy": 1}}, False, 0),
    ("unready-and-nothing-desired", {"allowed": 0, "ready": False, "status": {"desiredHealthy": 0}}, False, 0),
    ("unready-always-allowed", {"allowed": 0, "ready": False, "status": {"currentHealthy": 1},
     "budget": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}, True, 0),
    ("ready-is-never-always-allowed", {"allowed": 0, "budget": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}},
     False, 0),
    ("a-status-that-is-out-of-date", {"status": {"observedGeneration": 0}}, False, 1),
]  # fmt: skip


@pytest.mark.parametrize(("state", "goes", "left"), [pytest.param(*row[1:], id=row[0]) for row in DECISIONS])
async def test_decision(state: dict[str, Any], goes: bool, left: int | None) -> None:
    client = await cluster(**state)
    if goes:
        assert (await evict(client))["status"] == "Success"
    else:
        with pytest.raises(TooManyRequests, match="Cannot evict pod as it would violate"):
            await evict(client)
    assert await is_going(client) == goes
    if left is not None:
        assert (await budget_status(client))["disruptionsAllowed"] == left


async def test_what_is_spent_is_noted() -> None:
    client = await cluster()
    await evict(client)
    status = await budget_status(client)
    assert status["disruptedPods"] == {"a": "2026-01-01T00:00:00Z"}
    [allowed] = status["conditions"]
    assert (allowed["status"], allowed["reason"], allowed["observedGeneration"]) == ("False", "InsufficientPods", 1)
    target = condition(await client.get("Pod", "a", "default"), "DisruptionTarget") or {}
    assert (target["reason"], target["message"]) == ("EvictionByEvictionAPI", "Eviction API: evicting")


async def test_a_spent_budget_names_no_time_and_one_in_process_does() -> None:
    client = await cluster(allowed=0)
    with pytest.raises(TooManyRequests) as refused:
        await evict(client)
    assert refused.value.details == {
        "causes": [
            {
                "reason": "DisruptionBudget",
                "message": "The disruption budget guard needs 2 healthy pods and has 3 currently",
            }
        ]
    }
    client = await cluster(status={"observedGeneration": 0})
    with pytest.raises(TooManyRequests) as refused:
        await evict(client)
    assert refused.value.details["retryAfterSeconds"] == 10
    [cause] = refused.value.details["causes"]
    assert cause["message"] == "The disruption budget guard is still being processed by the server."


async def test_options_are_the_deletions() -> None:
    client = await cluster(allowed=3)
    await evict(client, deleteOptions={"dryRun": ["All"]})
    assert (await is_going(client), (await budget_status(client))["disruptionsAllowed"]) == (False, 3)
    await evict(client, deleteOptions={"gracePeriodSeconds": 7})
    assert (await client.get("Pod", "a", "default"))["metadata"]["deletionGracePeriodSeconds"] == 7

    await evict(client)
    assert (await budget_status(client))["disruptionsAllowed"] == 2, "a pod that is going already costs nothing"


async def test_names_must_agree() -> None:
    with pytest.raises(BadRequest, match="name in URL does not match"):
        await evict(await cluster(), metadata={"name": "b", "namespace": "default"})

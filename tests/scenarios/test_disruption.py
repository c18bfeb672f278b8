"""Budgets and evictions over the whole control plane: what may be disrupted on purpose, and what waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from petset.cluster.api.objects import Object, condition, is_terminating
from petset.cluster.api.times import format_time
from petset.cluster.errors import ApiError, InternalError, NotFound, TooManyRequests
from tests.apis import manifest_pod, manifest_stateful_set
from tests.fakes.runtime import Program
from tests.local import Local, example, local_cluster
from tests.scenarios.workloads import eviction, manifest_budget, manifest_deployment, rolled_out, scale, set_image

pytestmark = pytest.mark.looptime


async def budget_status(local: Local, name: str = "web") -> Object:
    await asyncio.sleep(1)
    status = (await local.client.get("PodDisruptionBudget", name, "default"))["status"]
    assert isinstance(status, dict)
    return status


async def evict(local: Local, pod: str) -> Object:
    return await local.client.create(eviction(pod), subresource="eviction", name=pod)


def figures(status: Object) -> tuple[int, int, int, int]:
    """(expected, desired, healthy, allowed)."""
    names = ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed")
    expected, desired, healthy, allowed = (status[name] for name in names)
    return expected, desired, healthy, allowed


BUDGETS: list[tuple[str, dict[str, Any], tuple[int, int, int, int]]] = [
    ("max-unavailable-number", {"maxUnavailable": 1}, (3, 2, 3, 1)),
    ("max-unavailable-percent-rounds-up", {"maxUnavailable": "34%"}, (3, 1, 3, 2)),
    ("min-available-number", {"minAvailable": 2}, (3, 2, 3, 1)),
    ("min-available-percent-rounds-up", {"minAvailable": "50%"}, (3, 2, 3, 1)),
    ("nothing-may-go", {"maxUnavailable": 0}, (3, 3, 3, 0)),
    ("more-wanted-than-there-are", {"minAvailable": 5}, (3, 5, 3, 0)),
]


@pytest.mark.parametrize(("spec", "expected"), [pytest.param(*row[1:], id=row[0]) for row in BUDGETS])
async def test_figures_of_a_deployments_budget(spec: dict[str, Any], expected: tuple[int, int, int, int]) -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment(), manifest_budget(**spec))
        await rolled_out(local)
        status = await budget_status(local)
        assert figures(status) == expected
        [allowed] = status["conditions"]
        wanted = ("True", "SufficientPods") if expected[3] else ("False", "InsufficientPods")
        assert (allowed["type"], allowed["status"], allowed["reason"]) == ("DisruptionAllowed", *wanted)


async def test_evictions_spend_the_budget_and_the_rest_is_refused() -> None:
    async with local_cluster() as local:
        for machine in local.machines.values():
            machine.programs["nginx:1"] = Program(term_after_seconds=10)
        await local.apply(manifest_deployment(), manifest_budget(maxUnavailable=1))
        await rolled_out(local)
        await budget_status(local)
        first, second, _ = await local.pods()
        assert (await evict(local, first))["status"] == "Success"
        with pytest.raises(TooManyRequests) as refused:
            await evict(local, second)
        assert refused.value.message == "Cannot evict pod as it would violate the pod's disruption budget."
        assert refused.value.details == {
            "causes": [
                {
                    "reason": "DisruptionBudget",
                    "message": "The disruption budget web needs 2 healthy pods and has 3 currently",
                }
            ]
        }
        going = (await local.pods())[first]
        assert is_terminating(going)
        assert (condition(going, "DisruptionTarget") or {})["reason"] == "EvictionByEvictionAPI"
        assert not is_terminating((await local.pods())[second])
        await rolled_out(local)
        assert figures(await budget_status(local)) == (3, 2, 3, 1)
        await evict(local, second)


async def test_two_evictions_at_once_never_spend_the_same_disruption() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment(replicas=6), manifest_budget(maxUnavailable=2))
        await rolled_out(local)
        await budget_status(local)
        answers = await asyncio.gather(*(evict(local, pod) for pod in await local.pods()), return_exceptions=True)
        refused = [each for each in answers if isinstance(each, TooManyRequests)]
        assert (len(answers) - len(refused), len(refused)) == (2, 4)


async def test_a_budget_guards_a_stateful_set() -> None:
    async with local_cluster() as local:
        budget = manifest_budget("kubia", minAvailable="50%")
        await local.apply(*example("kubia/persistent-volumes.yaml"), manifest_stateful_set(replicas=3), budget)
        await local.ready("kubia-0", "kubia-1", "kubia-2")
        assert figures(await budget_status(local, "kubia")) == (3, 2, 3, 1)
        await scale(local, 2, kind="StatefulSet", name="kubia")
        await local.ready("kubia-0", "kubia-1")
        assert figures(await budget_status(local, "kubia")) == (2, 1, 2, 1)


async def test_failures_count_against_the_budget_too() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment(), manifest_budget(maxUnavailable=1))
        await rolled_out(local)
        for machine in local.machines.values():
            machine.unknown_images.add("nginx:1")
        lost = next(iter(await local.pods()))
        await local.client.delete("Pod", lost, "default")
        await asyncio.sleep(20)
        assert figures(await budget_status(local)) == (3, 2, 2, 0)


async def test_pods_that_serve_nobody_are_evicted_without_asking() -> None:
    async with local_cluster() as local:
        for machine in local.machines.values():
            machine.unknown_images.add("nginx:1")
        await local.apply(manifest_deployment(), manifest_budget(minAvailable="100%"))
        await asyncio.sleep(10)
        assert figures(await budget_status(local)) == (3, 3, 0, 0)
        for pod in await local.pods():
            assert (await evict(local, pod))["status"] == "Success"


async def test_a_pod_without_a_budget_and_one_with_two() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_pod("a"), manifest_pod("b"))
        await local.ready("a", "b")
        await evict(local, "a")
        await local.ready("b")
        labels = {"selector": {"matchLabels": {"app": "b"}}}
        await local.apply(manifest_budget("one", **labels), manifest_budget("two", **labels))
        with pytest.raises(InternalError, match="more than one PodDisruptionBudget"):
            await evict(local, "b")
        with pytest.raises(NotFound):
            await evict(local, "nobody")


async def test_bare_pods_are_unmanaged() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_pod("a"), manifest_budget("a", maxUnavailable=1))
        await local.ready("a")
        assert figures(await budget_status(local, "a")) == (0, 0, 1, 0)
        assert "UnmanagedPods" in [reason for reason, _ in await local.events("a")]


async def test_a_controller_that_nobody_knows_stops_every_eviction() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_budget("strange", maxUnavailable=1))
        assert figures(await budget_status(local, "strange")) == (0, 0, 0, 0)
        reference = {"apiVersion": "example.com/v1", "kind": "Strange", "name": "x", "uid": "x", "controller": True}
        pod = manifest_pod("strange")
        pod["metadata"]["ownerReferences"] = [reference]
        await local.apply(pod)
        await local.ready("strange")
        status = await budget_status(local, "strange")
        assert (status["disruptionsAllowed"], status["conditions"][0]["reason"]) == (0, "SyncFailed")
        with pytest.raises(TooManyRequests) as refused:
            await evict(local, "strange")
        [cause] = refused.value.details["causes"]
        assert cause["message"].endswith('because it failed sync: found no controllers for pod "strange"')


async def test_an_eviction_that_never_came_to_pass_is_given_back() -> None:
    """The note lasts two minutes, e.g. when a client was refused after the budget had been spent."""
    async with local_cluster() as local:
        await local.apply(manifest_deployment(), manifest_budget(maxUnavailable=1))
        await rolled_out(local)
        await budget_status(local)
        pod = next(iter(await local.pods()))
        now = local.cluster.api.clock.now()
        note = {"disruptedPods": {pod: format_time(now)}, "disruptionsAllowed": 0}
        await local.client.patch("PodDisruptionBudget", "web", "default", body={"status": note}, subresource="status")
        assert figures(await budget_status(local)) == (3, 2, 2, 0)
        await asyncio.sleep(125)
        status = await budget_status(local)
        assert (figures(status), "disruptedPods" in status) == ((3, 2, 3, 1), False)


async def test_a_rolling_update_takes_no_notice_of_budgets() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment(), manifest_budget(maxUnavailable=0))
        await rolled_out(local)
        await set_image(local, "nginx:2")
        await rolled_out(local)


async def test_a_namespace_with_everything_in_it_is_emptied() -> None:
    async with local_cluster() as local:
        await local.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
        kinds = ("Deployment", "ReplicaSet", "Pod", "PodDisruptionBudget", "StatefulSet", "PersistentVolumeClaim")
        things = [manifest_deployment(), manifest_budget(minAvailable="100%"), manifest_stateful_set()]
        for each in things:
            each["metadata"]["namespace"] = "team"
        await local.apply(*things)
        await asyncio.sleep(30)
        await local.client.delete("Namespace", "team")

        async def gone() -> bool:
            try:
                await local.client.get("Namespace", "team")
            except ApiError:
                return True
            return False

        await local.until("the namespace is gone", gone)
        assert [each for kind in kinds for each in (await local.client.list(kind, "team")).items] == []

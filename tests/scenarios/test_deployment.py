"""Rollouts of a Deployment over the whole control plane, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from petset.cluster.api.objects import Object, condition, controller_of, name_of, uid_of
from tests.fakes.runtime import Program
from tests.local import Local, local_cluster
from tests.scenarios.workloads import (
    REVISION,
    manifest_deployment,
    progressing,
    replica_sets,
    revisions_of,
    rolled_out,
    scale,
    set_image,
    watching_pods,
)

pytestmark = pytest.mark.looptime

ROLLS: list[tuple[str, int, int | str, int | str, tuple[int, int]]] = [
    # replicas, maxSurge, maxUnavailable ─▶ most active pods, fewest available ones
    ("a-quarter-of-three", 3, "25%", "25%", (4, 3)),
    ("a-quarter-of-eight", 8, "25%", "25%", (10, 6)),
    ("only-surge", 4, 2, 0, (6, 4)),
    ("only-unavailable", 4, 0, 1, (4, 3)),
    ("both-round-to-nothing", 2, "0%", "25%", (2, 1)),
    ("everything-at-once", 3, "100%", "100%", (6, 0)),
]


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"), [pytest.param(*row[1:], id=row[0]) for row in ROLLS]
)
async def test_a_roll_keeps_its_bounds(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    async with local_cluster() as local:
        await local.apply(manifest_deployment(replicas=replicas, strategy=strategy))
        await rolled_out(local)
        async with watching_pods(local) as seen:
            await set_image(local, "nginx:2")
            await rolled_out(local)
        assert seen.most <= expected[0]
        assert seen.fewest >= expected[1]
        old, new = (await replica_sets(local)).values()
        assert sorted((each["spec"]["replicas"], each["status"]["replicas"]) for each in (old, new)) == [
            (0, 0), (replicas, replicas),
        ]  # fmt: skip


async def test_a_roll_says_each_step_and_ends_in_peace() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment())
        await rolled_out(local)
        await set_image(local, "nginx:2")
        deployment = await rolled_out(local)
        sets = await replica_sets(local)
        old, new = name_of(sets[1]), name_of(sets[2])
        assert [message for _, message in await local.events("web")] == [
            f"Scaled up replica set {old} from 0 to 3",
            f"Scaled up replica set {new} from 0 to 1",
            f"Scaled down replica set {old} from 3 to 2",
            f"Scaled up replica set {new} from 1 to 2",
            f"Scaled down replica set {old} from 2 to 1",
            f"Scaled up replica set {new} from 2 to 3",
            f"Scaled down replica set {old} from 1 to 0",
        ]
        assert deployment["metadata"]["annotations"][REVISION] == "2"
        assert progressing(deployment) == ("True", "NewReplicaSetAvailable")
        message = (condition(deployment, "Progressing") or {})["message"]
        assert message == f'ReplicaSet "{new}" has successfully progressed.'
        assert (condition(deployment, "Available") or {})["reason"] == "MinimumReplicasAvailable"
        before = await revisions_of(local, "Deployment", "ReplicaSet", "Pod")
        await asyncio.sleep(2000)
        assert await revisions_of(local, "Deployment", "ReplicaSet", "Pod") == before


async def test_what_changes_nothing_rolls_nothing() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment())
        before = await rolled_out(local)
        noise: dict[str, Any] = {"metadata": {"creationTimestamp": None, "labels": {"app": "web"}}}
        await local.client.patch("Deployment", "web", "default", body={"spec": {"template": noise}})
        await local.client.update(before)
        await asyncio.sleep(60)
        assert [*await replica_sets(local)] == [1]


async def test_a_rollback_finds_its_replicaset_again() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment())
        await rolled_out(local)
        first = (await replica_sets(local))[1]
        await set_image(local, "nginx:2")
        await rolled_out(local)
        await set_image(local, "nginx:1")
        deployment = await rolled_out(local)
        sets = await replica_sets(local)
        assert [*sorted(sets)] == [2, 3]
        assert uid_of(sets[3]) == uid_of(first)
        assert sets[3]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
        assert deployment["metadata"]["annotations"][REVISION] == "3"


async def test_recreate_never_runs_two_templates_at_once() -> None:
    async with local_cluster() as local:
        for machine in local.machines.values():
            machine.programs["nginx:1"] = Program(term_after_seconds=15)
        await local.apply(manifest_deployment(strategy={"type": "Recreate"}))
        await rolled_out(local)
        async with watching_pods(local) as seen:
            await set_image(local, "nginx:2")
            await rolled_out(local)
        assert all(len(hashes) <= 1 for hashes in seen.hashes)
        assert seen.most == 3


async def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment())
        await rolled_out(local)
        await local.client.patch("Deployment", "web", "default", body={"spec": {"paused": True}})
        await set_image(local, "nginx:2")
        await set_image(local, "nginx:3")
        await scale(local, 5)
        await asyncio.sleep(30)
        sets = await replica_sets(local)
        assert [(revision, each["spec"]["replicas"]) for revision, each in sets.items()] == [(1, 5)]
        assert progressing(await local.client.get("Deployment", "web", "default")) == ("Unknown", "DeploymentPaused")
        await local.client.patch("Deployment", "web", "default", body={"spec": {"paused": None}})
        deployment = await rolled_out(local)
        assert progressing(deployment) == ("True", "NewReplicaSetAvailable")
        assert [*sorted(await replica_sets(local))] == [1, 2]
        assert {pod["spec"]["containers"][0]["image"] for pod in (await local.pods()).values()} == {"nginx:3"}


async def test_scaling_in_the_middle_of_a_roll_keeps_proportions() -> None:
    """10 pods and 3 more stand at 8 old and 5 new; 15 and 3 more at 11 and 7."""
    strategy = {"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    async with local_cluster() as local:
        await local.apply(manifest_deployment(replicas=10, strategy=strategy))
        await rolled_out(local)
        for machine in local.machines.values():
            machine.unknown_images.add("nginx:2")
        await set_image(local, "nginx:2")
        await asyncio.sleep(30)
        assert await _sizes(local) == {1: 8, 2: 5}
        await scale(local, 15)
        await asyncio.sleep(30)
        assert await _sizes(local) == {1: 11, 2: 7}
        await scale(local, 0)
        await asyncio.sleep(60)
        assert (await _sizes(local), await local.pods()) == ({1: 0, 2: 0}, {})


async def _sizes(local: Local) -> dict[int, int]:
    return {revision: each["spec"]["replicas"] for revision, each in sorted((await replica_sets(local)).items())}


async def test_a_stuck_roll_misses_its_deadline_keeps_the_old_pods_and_heals_by_a_rollback() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment(progressDeadlineSeconds=120))
        await rolled_out(local)
        for machine in local.machines.values():
            machine.unknown_images.add("nginx:2")
        await set_image(local, "nginx:2")
        await asyncio.sleep(100)
        stuck = await local.client.get("Deployment", "web", "default")
        assert progressing(stuck) == ("True", "ReplicaSetUpdated")
        await asyncio.sleep(40)
        late = await local.client.get("Deployment", "web", "default")
        assert progressing(late) == ("False", "ProgressDeadlineExceeded")
        assert (condition(late, "Available") or {})["status"] == "True"
        assert late["status"]["unavailableReplicas"] == 1
        await set_image(local, "nginx:1")
        assert progressing(await rolled_out(local)) == ("True", "NewReplicaSetAvailable")


async def test_pods_count_as_available_after_min_ready_seconds() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment(minReadySeconds=30))
        await asyncio.sleep(20)
        young = await local.client.get("Deployment", "web", "default")
        assert (young["status"]["readyReplicas"], young["status"].get("availableReplicas", 0)) == (3, 0)
        await asyncio.sleep(20)
        assert (await rolled_out(local))["status"]["availableReplicas"] == 3


async def test_history_is_limited() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment(revisionHistoryLimit=1))
        for number in range(1, 5):
            await set_image(local, f"nginx:{number}")
            await rolled_out(local)
        await asyncio.sleep(10)
        assert [*sorted(await replica_sets(local))] == [3, 4]


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_deleting_a_deployment_takes_its_replicasets_and_pods(propagation: str) -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment())
        await rolled_out(local)
        await set_image(local, "nginx:2")
        await local.client.delete("Deployment", "web", "default", options={"propagationPolicy": propagation})

        async def gone() -> bool:
            left = [*(await local.client.list("Deployment", "default")).items, *(await replica_sets(local)).values()]
            return not left and not await local.pods()

        await local.until("everything is gone", gone)


async def test_an_orphaned_replicaset_is_adopted_by_the_next_deployment_and_nothing_restarts() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment())
        await rolled_out(local)
        before = {uid_of(pod) for pod in (await local.pods()).values()}
        await local.client.delete("Deployment", "web", "default", options={"propagationPolicy": "Orphan"})

        async def orphaned() -> bool:
            return all(controller_of(each) is None for each in (await replica_sets(local)).values())

        await local.until("the ReplicaSet is an orphan", orphaned)
        await local.apply(manifest_deployment())
        await rolled_out(local)
        assert {uid_of(pod) for pod in (await local.pods()).values()} == before
        assert len(await replica_sets(local)) == 1


async def test_a_replicaset_that_takes_the_name_first_counts_as_a_collision() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment())
        await rolled_out(local)
        taken = name_of((await replica_sets(local))[1])
        await local.client.delete("Deployment", "web", "default", options={"propagationPolicy": "Foreground"})

        async def gone() -> bool:
            return not await replica_sets(local) and not await local.pods()

        await local.until("everything is gone", gone)
        labels = {"app": "squatter"}
        spec: Object = {"replicas": 0, "selector": {"matchLabels": labels}, "template": _template(labels)}
        squatter = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": taken, "annotations": {REVISION: "0"}},
        }
        await local.apply({**squatter, "spec": spec}, manifest_deployment())
        deployment = await rolled_out(local)
        assert deployment["status"]["collisionCount"] == 1
        assert name_of((await replica_sets(local))[1]) != taken


def _template(labels: dict[str, str]) -> Object:
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "nginx:1"}]}}


async def test_controllers_that_crash_all_the_time_finish_the_roll() -> None:
    async with local_cluster() as local:
        await local.apply(manifest_deployment())
        await rolled_out(local)
        async with watching_pods(local) as seen:
            await set_image(local, "nginx:2")
            for step in range(60):
                local.cluster.crash_controllers()
                local.cluster.start_controllers()
                await asyncio.sleep(0.01 * (step % 7))
            await rolled_out(local)
        assert seen.most <= 4
        assert [*sorted(await replica_sets(local))] == [1, 2]

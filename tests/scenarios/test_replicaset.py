"""Why not a ReplicaSet: interchangeable pods on one disk, and the three ways round it, over the whole control plane."""

from __future__ import annotations

import asyncio

import pytest

from petset.cluster.api.objects import Object, controller_of, is_terminating, labels_of, name_of, uid_of
from tests.fakes.runtime import Program
from tests.local import Local, example, local_cluster
from tests.scenarios.workloads import scale

pytestmark = pytest.mark.looptime


async def ready_pods(local: Local, selector: str, count: int) -> list[Object]:
    """Wait until exactly so many pods with these labels exist, all of them Ready."""

    async def holds() -> list[Object] | None:
        found = (await local.client.list("Pod", "default", label_selector=selector)).items
        ready = [pod for pod in found if any(each == ("Ready", "True") for each in conditions(pod))]
        return ready if len(found) == len(ready) == count else None

    found = await local.until(f"{count} ready pods with {selector}", holds)
    assert isinstance(found, list)
    return found


def conditions(pod: Object) -> list[tuple[str, str]]:
    return [(each["type"], each["status"]) for each in pod.get("status", {}).get("conditions", ())]


def claims_of(pods: list[Object]) -> list[str]:
    return [
        volume["persistentVolumeClaim"]["claimName"]
        for pod in pods
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    ]


async def test_replicas_have_random_names_and_one_disk_between_them() -> None:
    async with local_cluster() as local:
        await local.apply(*example("replicaset/shared-claim.yaml"))
        pods = await ready_pods(local, "app=pets", 3)
        assert all(name_of(pod).startswith("pets-") and len(name_of(pod)) == len("pets-xxxxx") for pod in pods)
        assert claims_of(pods) == ["shared"] * 3
        sandboxes = [spec for machine in local.machines.values() for spec in machine.sandbox_specs.values()]
        assert len({volume.source for spec in sandboxes for volume in spec.volumes if volume.name == "data"}) == 1
        said = [message for reason, message in await local.events("pets") if reason == "SuccessfulCreate"]
        assert sorted(said) == sorted(f"Created pod: {name_of(pod)}" for pod in pods)
        assert len({pod["spec"]["nodeName"] for pod in pods}) == 3


async def test_a_replacement_does_not_wait_for_the_pod_it_replaces() -> None:
    """A StatefulSet would: there the name must be free first."""
    async with local_cluster() as local:
        for machine in local.machines.values():
            machine.programs["luksa/kubia-pet"] = Program(term_after_seconds=20)
        await local.apply(*example("replicaset/shared-claim.yaml"))
        going = (await ready_pods(local, "app=pets", 3))[0]
        await local.client.delete("Pod", name_of(going), "default")

        async def four() -> bool:
            return len(await local.pods()) == 4

        await local.until("the replacement is there", four)
        assert is_terminating((await local.pods())[name_of(going)])
        after = await ready_pods(local, "app=pets", 3)
        assert name_of(going) not in [name_of(pod) for pod in after]


async def test_a_relabelled_pod_is_let_go_and_one_that_comes_back_makes_one_too_many() -> None:
    async with local_cluster() as local:
        await local.apply(*example("replicaset/shared-claim.yaml"))
        stray = name_of((await ready_pods(local, "app=pets", 3))[0])
        await local.client.patch("Pod", stray, "default", body={"metadata": {"labels": {"app": "stray"}}})
        await ready_pods(local, "app=pets", 3)
        assert controller_of((await local.pods())[stray]) is None
        await local.client.patch("Pod", stray, "default", body={"metadata": {"labels": {"app": "pets"}}})
        await ready_pods(local, "app=pets", 3)
        assert len(await local.pods()) == 3


async def test_scaling_reports_each_pod() -> None:
    async with local_cluster() as local:
        await local.apply(*example("replicaset/shared-claim.yaml"))
        await ready_pods(local, "app=pets", 3)
        await scale(local, 1, kind="ReplicaSet", name="pets")
        await ready_pods(local, "app=pets", 1)
        deleted = [message for reason, message in await local.events("pets") if reason == "SuccessfulDelete"]
        assert len(deleted) == len(set(deleted)) == 2
        assert deleted[0].startswith("Deleted pod: pets-")
        status = (await local.client.get("ReplicaSet", "pets", "default"))["status"]
        assert (status["replicas"], status["availableReplicas"], status["observedGeneration"]) == (1, 1, 2)


async def test_bare_pods_keep_name_and_disk_but_do_not_come_back() -> None:
    async with local_cluster() as local:
        await local.apply(*example("replicaset/bare-pods.yaml"))
        assert claims_of(await ready_pods(local, "app=bare", 2)) == ["data-bare-0", "data-bare-1"]
        await local.client.delete("Pod", "bare-0", "default")
        await ready_pods(local, "app=bare", 1)
        await asyncio.sleep(600)
        assert [*await local.pods()] == ["bare-1"]


async def test_a_replicaset_per_pod_keeps_disks_but_not_names_and_does_not_scale() -> None:
    async with local_cluster() as local:
        await local.apply(*example("replicaset/replicaset-per-pod.yaml"))
        before = await ready_pods(local, "member=single-a", 1)
        await local.client.delete("Pod", name_of(before[0]), "default")
        await asyncio.sleep(60)
        after = await ready_pods(local, "member=single-a", 1)
        assert name_of(after[0]) != name_of(before[0])
        assert claims_of(after) == claims_of(before) == ["data-single-a"]
        await scale(local, 2, kind="ReplicaSet", name="single-a")
        assert claims_of(await ready_pods(local, "member=single-a", 2)) == ["data-single-a"] * 2


async def test_a_service_per_pod_keeps_its_address_while_the_pod_changes() -> None:
    async with local_cluster() as local:
        await local.apply(*example("replicaset/replicaset-per-pod.yaml"), *example("replicaset/service-per-pod.yaml"))
        await ready_pods(local, "app=single", 2)
        address = (await local.client.get("Service", "single-a", "default"))["spec"]["clusterIP"]

        async def targets() -> list[str]:
            selector = "kubernetes.io/service-name=single-a"
            slices = (await local.client.list("EndpointSlice", "default", label_selector=selector)).items
            return [
                end["targetRef"]["name"] for each in slices for end in each["endpoints"] if end["conditions"]["ready"]
            ]

        [first] = await local.until("single-a has an endpoint", targets)
        await local.client.delete("Pod", first, "default")

        async def moved() -> bool:
            found = await targets()
            return len(found) == 1 and found != [first]

        await local.until("single-a points to the new pod", moved)
        service = await local.client.get("Service", "single-a", "default")
        assert service["spec"]["clusterIP"] == address


async def test_a_replicationcontroller_takes_its_selector_and_labels_from_the_template() -> None:
    async with local_cluster() as local:
        await local.apply(*example("replicaset/replicationcontroller.yaml"))
        pods = await ready_pods(local, "app=cattle", 2)
        assert [controller_of(pod)["kind"] for pod in pods] == ["ReplicationController"] * 2  # type: ignore[index]
        controller = await local.client.get("ReplicationController", "cattle", "default")
        assert (controller["spec"]["selector"], labels_of(controller)) == ({"app": "cattle"}, {"app": "cattle"})
        await scale(local, 1, kind="ReplicationController", name="cattle")
        await ready_pods(local, "app=cattle", 1)


@pytest.mark.parametrize(
    ("kind", "policy", "left"),
    [
        pytest.param("ReplicaSet", {}, 0, id="a-replicaset-takes-its-pods"),
        pytest.param("ReplicationController", {}, 2, id="a-controller-leaves-them-unless-told"),
        pytest.param("ReplicationController", {"propagationPolicy": "Background"}, 0, id="told-as-kubectl-does"),
    ],
)
async def test_what_deleting_the_owner_does_to_its_pods(kind: str, policy: dict[str, str], left: int) -> None:
    async with local_cluster() as local:
        [controller] = example("replicaset/replicationcontroller.yaml")
        if kind == "ReplicaSet":
            spec = {**controller["spec"], "selector": {"matchLabels": {"app": "cattle"}}}
            controller |= {"apiVersion": "apps/v1", "kind": kind, "spec": spec}
        await local.apply(controller)
        await ready_pods(local, "app=cattle", 2)
        await local.client.delete(kind, "cattle", "default", options=policy)
        await asyncio.sleep(120)
        pods = (await local.pods()).values()
        assert (len(pods), [controller_of(pod) for pod in pods]) == (left, [None] * left)


async def test_orphaned_pods_are_adopted_by_the_next_replicaset_of_the_selector() -> None:
    async with local_cluster() as local:
        *storage, owner = example("replicaset/shared-claim.yaml")
        await local.apply(*storage, owner)
        before = await ready_pods(local, "app=pets", 3)
        await local.client.delete("ReplicaSet", "pets", "default", options={"propagationPolicy": "Orphan"})

        async def orphaned() -> bool:
            return all(controller_of(pod) is None for pod in (await local.pods()).values())

        await local.until("the pods are orphans", orphaned)
        again = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "metadata": {"name": "heir"}}
        await local.apply({**again, "spec": owner["spec"]})
        await asyncio.sleep(60)
        after = await ready_pods(local, "app=pets", 3)
        assert sorted(map(uid_of, after)) == sorted(map(uid_of, before))
        assert {(controller_of(pod) or {}).get("name") for pod in after} == {"heir"}


async def test_controllers_that_crash_at_any_time_make_no_pod_too_many() -> None:
    async with local_cluster() as local:
        await local.apply(*example("replicaset/shared-claim.yaml"))
        for _ in range(20):
            local.cluster.crash_controllers()
            local.cluster.start_controllers()
            await asyncio.sleep(0)
        await ready_pods(local, "app=pets", 3)
        uids = {spec.uid for machine in local.machines.values() for spec in machine.sandbox_specs.values()}
        assert len(uids) == 3

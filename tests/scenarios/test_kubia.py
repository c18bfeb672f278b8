"""The seeds' StatefulSet over the whole control plane, in virtual time."""

from __future__ import annotations

import pytest

from petset.cluster.api.objects import name_of, uid_of
from tests.apis import manifest_stateful_set
from tests.local import Local, example, local_cluster

pytestmark = pytest.mark.looptime


async def kubia(local: Local, **spec: object) -> None:
    await local.apply(*example("kubia/persistent-volumes.yaml"), *example("kubia/service-headless.yaml"))
    await local.apply(manifest_stateful_set(**spec))


async def test_pods_come_in_order_each_with_its_own_volume() -> None:
    async with local_cluster() as local:
        await kubia(local)
        pods = await local.ready("kubia-0", "kubia-1")
        listing = await local.client.list("PersistentVolumeClaim", "default")
        claims = {name_of(claim): claim for claim in listing.items}
        assert sorted(claims) == ["data-kubia-0", "data-kubia-1"]
        assert len({claim["spec"]["volumeName"] for claim in claims.values()}) == 2
        assert len({pod["spec"]["nodeName"] for pod in pods.values()}) == 2
        assert [reason for reason, _ in await local.events("kubia")] == ["SuccessfulCreate"] * 4


async def test_one_claim_too_many_leaves_its_pod_pending() -> None:
    async with local_cluster() as local:
        await kubia(local, replicas=4)

        async def fourth() -> object:
            return [each for each in await local.events("kubia-3") if each[0] == "FailedScheduling"]

        reasons = await local.until("kubia-3 cannot be scheduled", fourth)
        assert "unbound immediate PersistentVolumeClaims" in reasons[0][1]


async def test_a_deleted_pod_comes_back_under_its_name_with_its_claim() -> None:
    async with local_cluster() as local:
        await kubia(local)
        before = await local.ready("kubia-0", "kubia-1")
        await local.client.delete("Pod", "kubia-0", "default")

        async def replaced() -> object:
            pod = (await local.pods()).get("kubia-0")
            return pod is not None and uid_of(pod) != uid_of(before["kubia-0"])

        await local.until("kubia-0 is replaced", replaced)
        after = await local.ready("kubia-0", "kubia-1")
        assert after["kubia-0"]["spec"]["volumes"] == before["kubia-0"]["spec"]["volumes"]
        assert uid_of(after["kubia-1"]) == uid_of(before["kubia-1"])


async def test_scaling_down_removes_the_highest_and_keeps_its_claim() -> None:
    async with local_cluster() as local:
        await kubia(local, replicas=3)
        await local.ready("kubia-0", "kubia-1", "kubia-2")
        await local.client.patch("StatefulSet", "kubia", "default", body={"spec": {"replicas": 1}})
        await local.ready("kubia-0")
        claims = (await local.client.list("PersistentVolumeClaim", "default")).items
        assert [name_of(claim) for claim in claims] == ["data-kubia-0", "data-kubia-1", "data-kubia-2"]


async def test_a_rolling_update_goes_from_the_top_one_at_a_time() -> None:
    async with local_cluster() as local:
        await kubia(local, replicas=3)
        before = await local.ready("kubia-0", "kubia-1", "kubia-2")
        image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "luksa/kubia-pet-peers"}]
        await local.client.patch("StatefulSet", "kubia", "default", body=image, patch_type="json")

        async def updated() -> object:
            status = (await local.client.get("StatefulSet", "kubia", "default"))["status"]
            complete = status["currentRevision"] == status["updateRevision"]
            return status["observedGeneration"] == 2 and complete and status.get("updatedReplicas") == 3

        await local.until("the roll is complete", updated)
        deleted = [message for reason, message in await local.events("kubia") if reason == "SuccessfulDelete"]
        assert [message.split()[2] for message in deleted] == ["kubia-2", "kubia-1", "kubia-0"]
        after = await local.ready("kubia-0", "kubia-1", "kubia-2")
        assert all(uid_of(after[name]) != uid_of(before[name]) for name in before)


async def test_an_unknown_image_backs_off_and_the_node_lives_on() -> None:
    async with local_cluster() as local:
        for machine in local.machines.values():
            machine.unknown_images.add("nobody/knows")
        manifest = manifest_stateful_set(volumeClaimTemplates=[])
        container = manifest["spec"]["template"]["spec"]["containers"][0]
        container |= {"image": "nobody/knows", "volumeMounts": []}
        await local.apply(manifest)

        async def waiting() -> object:
            pod = (await local.pods()).get("kubia-0") or {}
            statuses = pod.get("status", {}).get("containerStatuses") or [{}]
            return statuses[0].get("state", {}).get("waiting", {}).get("reason") == "ImagePullBackOff"

        await local.until("ImagePullBackOff", waiting)
        assert {"Failed", "BackOff"} <= {reason for reason, _ in await local.events("kubia-0")}
        assert "kubia-1" not in await local.pods()


async def test_deleting_the_set_takes_its_pods_and_revisions_but_not_its_claims() -> None:
    async with local_cluster() as local:
        await kubia(local)
        await local.ready("kubia-0", "kubia-1")
        await local.client.delete("StatefulSet", "kubia", "default", options={"propagationPolicy": "Background"})

        async def gone() -> object:
            revisions = (await local.client.list("ControllerRevision", "default")).items
            return not await local.pods() and not revisions

        await local.until("pods and revisions are gone", gone)
        assert len((await local.client.list("PersistentVolumeClaim", "default")).items) == 2


async def test_controllers_that_crash_are_replaced_and_nothing_is_done_twice() -> None:
    async with local_cluster() as local:
        await local.apply(*example("kubia/persistent-volumes.yaml"), manifest_stateful_set(replicas=3))
        for _ in range(5):
            local.cluster.crash_controllers()
            local.cluster.start_controllers()
        await local.ready("kubia-0", "kubia-1", "kubia-2")
        created = [message for reason, message in await local.events("kubia") if reason == "SuccessfulCreate"]
        assert len(created) == len(set(created)) == 6


async def test_a_silent_node_turns_not_ready_and_its_pods_too() -> None:
    async with local_cluster() as local:
        await kubia(local)
        pods = await local.ready("kubia-0", "kubia-1")
        node = pods["kubia-0"]["spec"]["nodeName"]
        local.cluster.crash_kubelet(node)

        async def noticed() -> object:
            status = (await local.client.get("Node", node))["status"]
            return [each for each in status["conditions"] if each["type"] == "Ready" and each["status"] == "Unknown"]

        ready = await local.until("the node is NotReady", noticed)
        assert ready[0]["reason"] == "NodeStatusUnknown"
        stateful_set = await local.client.get("StatefulSet", "kubia", "default")
        assert stateful_set["status"].get("readyReplicas", 0) <= 2
        assert "kubia-0" in await local.pods()

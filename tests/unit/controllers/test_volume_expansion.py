"""A claim grows step by step, and goes on after a crash between any two."""

from __future__ import annotations

import pytest

from petset.cluster.api.objects import Object
from tests.unit.controllers.volume_kit import PLANS, RWO, bound, reference, storage_class, user, volume
from tests.unit.controllers.world import Crash, World


def disk() -> Object:
    return volume(
        csi={"driver": "d", "volumeHandle": "h"}, claimRef=reference(), phase="Bound", storageClassName="fast"
    )


def growing(storage: str = "3Gi") -> Object:
    status = {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": [RWO]}
    return bound(storage=storage, storageClassName="fast", status=status)


def running() -> Object:
    return user("node-1") | {"status": {"phase": "Running"}}


def claim_status(world: World) -> Object:
    status: Object = world.get("PersistentVolumeClaim", "data")["status"]
    return status


def settled(*objects: Object) -> World:
    world = World(growing(), disk(), *objects)
    world.settle(PLANS)
    return world


def test_without_a_pod_the_file_system_waits() -> None:
    world = settled(storage_class(allowVolumeExpansion=True))
    (pending,) = claim_status(world)["conditions"]
    assert (pending["type"], pending["status"]) == ("FileSystemResizePending", "True")
    assert pending["message"].startswith("Waiting for user to (re-)start a pod")
    assert world.get("PersistentVolume", "pv-a", "")["spec"]["capacity"] == {"storage": "3Gi"}
    assert claim_status(world)["capacity"] == {"storage": "1Gi"}
    assert world.reasons() == ["ExternalExpanding", "Resizing", "FileSystemResizeRequired"]


def test_a_running_pod_finishes_it() -> None:
    world = settled(storage_class(allowVolumeExpansion=True), running())
    assert claim_status(world)["capacity"] == {"storage": "3Gi"}
    assert not claim_status(world).get("conditions")
    assert world.reasons()[-2:] == ["FileSystemResizeSuccessful", "FileSystemResizeSuccessful"]
    assert world.said[-1].message == 'MountVolume.NodeExpandVolume succeeded for volume "pv-a" node-1'


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([storage_class()], id="class-forbids"),
        pytest.param([], id="class-is-gone"),
    ],
)
def test_what_may_not_grow_stays(objects: list[Object]) -> None:
    world = settled(*objects, running())
    assert world.get("PersistentVolume", "pv-a", "")["spec"]["capacity"] == {"storage": "1Gi"}
    assert world.said == []


def test_a_hand_made_volume_does_not_grow() -> None:
    own = volume(claimRef=reference(), phase="Bound", storageClassName="fast")
    world = World(growing(), own, storage_class(allowVolumeExpansion=True), running())
    world.settle(PLANS)
    assert world.get("PersistentVolume", "pv-a", "")["spec"]["capacity"] == {"storage": "1Gi"}


@pytest.mark.parametrize("crash_after", range(4))
def test_expansion_survives_a_crash(crash_after: int) -> None:
    world = World(
        growing(), disk(), storage_class(allowVolumeExpansion=True), running(), writes_left=crash_after
    )  # fmt: skip
    with pytest.raises(Crash):
        world.settle(PLANS)
    world.writes_left = None
    world.settle(PLANS)
    assert claim_status(world)["capacity"] == {"storage": "3Gi"}
    assert not claim_status(world).get("conditions")


def test_growing_again_while_the_file_system_waits() -> None:
    world = settled(storage_class(allowVolumeExpansion=True))
    world.objects["PersistentVolumeClaim", "default", "data"]["spec"]["resources"]["requests"]["storage"] = "5Gi"
    world.objects["Pod", "default", "web-0"] = running()
    world.settle(PLANS)
    assert world.get("PersistentVolume", "pv-a", "")["spec"]["capacity"] == {"storage": "5Gi"}
    assert claim_status(world)["capacity"] == {"storage": "5Gi"}

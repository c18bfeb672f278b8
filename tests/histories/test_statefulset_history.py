"""Random histories of one StatefulSet: what it promises holds after every step, and it settles when the world rests.

A history is a seed: a set with a management policy, then steps in which the user scales, updates, rolls back,
repartitions, deletes and mislabels, kubelets start, fail and end pods, and the controller reconciles, sometimes
from a snapshot that the others have overtaken. The promises are checked on every outcome against the snapshot that
it was planned from, with predicates of their own; then the world rests, and the set must reach its spec and stop.

`PETSET_HISTORIES=5000` explores further than the default number of seeds.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from petset.cluster.api.objects import Object, condition, controller_of, is_terminating, name_of, uid_of
from petset.cluster.api.times import parse_time
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import Create, Delete, Outcome, Update
from petset.cluster.controllers.statefulset import CONTROLLER
from tests.histories.statefulset_world import FINAL_PHASES, World, image_template, is_selected

FILE = "test_statefulset_history.py"
KEY = ("default", "web")
HISTORIES = int(os.environ.get("PETSET_HISTORIES", "80"))
STEPS = 90
SETTLING_ROUNDS = 150


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_history(seed: int) -> None:
    world = World(Random(seed))
    try:
        _begin(world)
        for _ in range(STEPS):
            _step(world)
        _settle(world)
    except AssertionError as error:
        replay = f"PETSET_HISTORIES={seed + 1} pytest 'tests/histories/{FILE}::test_history[{seed}]'"
        raise AssertionError("\n".join([str(error), *world.log[-60:], f"replay: {replay}"])) from error


# The history


def _begin(world: World) -> None:
    random = world.random
    world.new_set(
        podManagementPolicy=random.choice(["OrderedReady", "Parallel"]),
        replicas=random.randint(0, 4),
        template=image_template(0),
        minReadySeconds=random.choice([0, 0, 3]),
        updateStrategy=_strategy(random),
        revisionHistoryLimit=random.choice([0, 2, 10]),
    )


def _strategy(random: Random) -> Object:
    block = random.choice(
        [
            None,
            {"partition": 0},
            {"partition": random.randint(0, 4)},
            {"partition": 0, "maxUnavailable": random.randint(1, 3)},
            {"partition": random.randint(0, 2), "maxUnavailable": random.choice(["25%", "50%", "100%"])},
        ]
    )
    if block is None:
        return random.choice([{"type": "OnDelete"}, {"type": "RollingUpdate"}])
    return {"type": "RollingUpdate", "rollingUpdate": block}


def _step(world: World) -> None:
    """Some events, a reconcile; in one of four steps the events come between the plan and its writes."""
    world.now += 1
    overtaken = world.random.random() < 0.25
    if not overtaken:
        _events(world)
    snapshot = world.snapshot()
    outcome = CONTROLLER.plan(KEY, snapshot, world.now)
    world.note("reconcile (overtaken)" if overtaken else "reconcile")
    Promises(snapshot, outcome, world.now).check()
    claims = _claims(world)
    if overtaken:
        _events(world)
    failures = world.perform(outcome)
    assert overtaken or not failures, f"a write failed although nobody else wrote: {failures}"
    assert claims.items() <= _claims(world).items() or overtaken, "the controller deleted or replaced a claim"
    _check_claims_of_pods(world)


def _claims(world: World) -> dict[str, str]:
    return {name_of(claim): uid_of(claim) for claim in world.all("PersistentVolumeClaim")}


def _check_claims_of_pods(world: World) -> None:
    for pod in world.all("Pod"):
        mounted = [volume["persistentVolumeClaim"]["claimName"] for volume in pod["spec"]["volumes"]]
        assert mounted == [f"data-{name_of(pod)}"], "a pod mounts another pod's claim"


def _events(world: World) -> None:
    random = world.random
    for _ in range(random.randint(0, 3)):
        pods = world.all("Pod")
        if pods:
            event = random.choices(["start", "ready", "unready", "fail", "end"], [6, 8, 2, 1, 5])[0]
            world.kubelet(random.choice(pods), event)
    if random.random() < 0.3:
        _user(world)
    world.collect()


def _user(world: World) -> None:
    """One thing that a user does to the set or to one of its pods."""
    random = world.random
    pods = world.all("Pod")
    deed = random.choices(
        ["scale", "template", "strategy", "retention", "start", "recreate", "delete", "force", "unlabel", "rename"],
        [8, 6, 3, 2, 1, 1, 3, 1, 2, 2],
    )[0]
    if deed == "scale":
        world.edit(replicas=random.randint(0, 5))
    elif deed == "template":
        world.edit(template=image_template(random.randint(0, 3)))
    elif deed == "strategy":
        world.edit(updateStrategy=_strategy(random))
    elif deed == "retention":
        policy = {when: random.choice(["Retain", "Delete"]) for when in ("whenScaled", "whenDeleted")}
        world.edit(persistentVolumeClaimRetentionPolicy=policy)
    elif deed == "start":
        world.edit(ordinals={"start": random.randint(0, 3)})
    elif deed == "recreate":
        world.recreate_set(orphan=random.random() < 0.7)
    elif pods:
        _touch(world, random.choice(pods), deed)


def _touch(world: World, pod: Object, deed: str) -> None:
    if deed == "unlabel":
        world.relabel(pod, app="")
    elif deed == "rename":
        world.relabel(pod, **{"statefulset.kubernetes.io/pod-name": world.random.choice(["", "web-9"])})
    else:
        world.note(f"user: delete {name_of(pod)}")
        world.remove("Pod", name_of(pod), force=deed == "force")


# The promises


class Promises:
    """What one outcome may do, given the snapshot that it was planned from."""

    def __init__(self, snapshot: Snapshot, outcome: Outcome, now: float) -> None:
        self.now = now
        self.outcome = outcome
        found = snapshot.get("StatefulSet", *KEY)
        assert found is not None
        self.owner = found
        spec = found["spec"]
        self.ordered = spec["podManagementPolicy"] == "OrderedReady"
        self.strategy = spec["updateStrategy"]
        self.block: Object = self.strategy.get("rollingUpdate") or {}
        self.start = int((spec.get("ordinals") or {}).get("start", 0))
        self.wanted = [f"web-{self.start + index}" for index in range(spec["replicas"])]
        self.everyone = {name_of(pod): pod for pod in snapshot.objects("Pod", "default")}
        self.members = {name: pod for name, pod in self.everyone.items() if self._is_member(pod)}
        self.created = [
            each.object for each in outcome.writes if isinstance(each, Create) and each.object["kind"] == "Pod"
        ]
        self.deleted = [each for each in outcome.writes if isinstance(each, Delete) and each.kind == "Pod"]

    def check(self) -> None:
        self._check_identities()
        self._check_scale_down()
        self._check_roll()
        self._check_status()
        if self.ordered:
            self._check_order()

    def _is_member(self, pod: Object) -> bool:
        controller = controller_of(pod)
        if controller is None:
            return is_selected(pod) and not is_terminating(pod)
        return is_selected(pod) and controller["uid"] == uid_of(self.owner)

    def _is_available(self, name: str) -> bool:
        """Exists, stays, is running and ready, and has been so for minReadySeconds."""
        pod = self.members.get(name)
        ready = condition(pod, "Ready") if pod else None
        if pod is None or ready is None or is_terminating(pod) or ready["status"] != "True":
            return False
        wait: int = self.owner["spec"]["minReadySeconds"]
        return wait == 0 or parse_time(ready["lastTransitionTime"]) + wait < self.now

    def _ordinal(self, name: str) -> int:
        return int(name.rpartition("-")[2])

    def _check_identities(self) -> None:
        names = [name_of(pod) for pod in self.created]
        assert len(set(names)) == len(names), "two pods of one identity"
        assert not set(names) & set(self.everyone), "a pod is created while its name is in use"
        assert set(names) <= set(self.wanted), "a pod is created outside the range"
        targets = [each.name for each in self.deleted]
        assert len(set(targets)) == len(targets), "a pod is deleted twice"
        for each in self.deleted:
            assert each.name in self.members, "a pod that is no member is deleted"
            assert each.uid == uid_of(self.members[each.name]), "the uid guards the deletion"
            assert not is_terminating(self.members[each.name]), "a terminating pod is deleted again"

    def _check_order(self) -> None:
        assert len(self.created) <= 1, "more than one pod is created"
        for pod in self.created:
            predecessors = self.wanted[: self.wanted.index(name_of(pod))]
            late = [name for name in predecessors if not self._is_available(name)]
            assert not late, f"{name_of(pod)} is created before {late} are available"
            assert not self.deleted, "a pod is created while another is deleted"

    def _check_scale_down(self) -> None:
        condemned = sorted(set(self.members) - set(self.wanted), key=self._ordinal, reverse=True)
        gone = [each.name for each in self.deleted if each.name in condemned]
        if not gone:
            return
        if not self.ordered:
            assert gone == [name for name in condemned if not is_terminating(self.members[name])], (
                "not all, or unsorted"
            )
            return
        assert gone == condemned[:1], "not the highest ordinal first, or more than one"
        assert all(self._is_available(name) for name in self.wanted), "scaled down while a kept pod is unavailable"

    def _check_roll(self) -> None:
        """Deletions of kept pods that had not failed are updates: old revision, strategy, partition, budget."""
        rolled = [each.name for each in self.deleted if each.name in self.wanted]
        rolled = [name for name in rolled if self.members[name]["status"]["phase"] not in FINAL_PHASES]
        if not rolled:
            return
        assert self.strategy["type"] == "RollingUpdate", "rolled under OnDelete"
        lowest = self.start + int(self.block.get("partition", 0))
        image = self.owner["spec"]["template"]["spec"]["containers"][0]["image"]
        for name in rolled:
            assert self._ordinal(name) >= lowest, "rolled below the partition"
            assert self.members[name]["spec"]["containers"][0]["image"] != image, "a pod of the new revision is rolled"
        self._check_budget(rolled)

    def _check_budget(self, rolled: list[str]) -> None:
        unavailable = sum(not self._is_available(name) for name in self.wanted)
        sound = [name for name in rolled if self._is_available(name)]
        assert sound == sorted(sound, key=self._ordinal, reverse=True), "not the highest ordinal first"
        limit = self.block.get("maxUnavailable")
        if limit is None:
            assert len(rolled) == 1, "more than one pod at a time"
            assert not self.ordered or unavailable == 0, "rolled while a pod is unavailable"
            return
        if isinstance(limit, str):
            limit = max(1, len(self.wanted) * int(limit[:-1]) // 100)
        assert len(sound) <= max(0, limit - unavailable), "more than maxUnavailable"
        assert not self.ordered or sound == rolled

    def _check_status(self) -> None:
        writes = [each for each in self.outcome.writes if isinstance(each, Update) and each.subresource]
        for write in writes:
            status = write.object["status"]
            assert write is self.outcome.writes[-1]
            for field in ("readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"):
                assert 0 <= status.get(field, 0) <= status["replicas"], f"status.{field} would be refused"
            assert status["availableReplicas"] <= status.get("readyReplicas", 0)


# Rest


def _settle(world: World) -> None:
    """Nobody interferes and kubelets do their work: the set reaches its spec and stops."""
    world.note("rest")
    for _ in range(SETTLING_ROUNDS):
        world.now += 1
        _clear_away(world)
        world.heal()
        world.collect()
        snapshot = world.snapshot()
        outcome = CONTROLLER.plan(KEY, snapshot, world.now)
        if not outcome.writes and not outcome.error and outcome.again_at is None:
            _check_settled(world)
            return
        world.note("reconcile")
        Promises(snapshot, outcome, world.now).check()
        failures = world.perform(outcome)
        assert not failures, f"a write failed at rest: {failures}"
    raise AssertionError(f"not settled after {SETTLING_ROUNDS} rounds")


def _clear_away(world: World) -> None:
    """What only a user can resolve: released pods hold names, and of two finished pods that an ordered set is to scale
    away, each waits for the other to become healthy (as upstream)."""
    owner = world.objects["StatefulSet", "web"]
    start = (owner["spec"].get("ordinals") or {}).get("start", 0)
    kept = [f"web-{start + index}" for index in range(owner["spec"]["replicas"])]
    for pod in world.all("Pod"):
        finished = pod["status"]["phase"] in FINAL_PHASES
        if not is_selected(pod) or (finished and name_of(pod) not in kept):
            world.remove("Pod", name_of(pod))


def _check_settled(world: World) -> None:
    owner = world.objects["StatefulSet", "web"]
    spec, status = owner["spec"], owner["status"]
    start = (spec.get("ordinals") or {}).get("start", 0)
    names = [f"web-{start + index}" for index in range(spec["replicas"])]
    pods = world.all("Pod")
    assert sorted(name_of(pod) for pod in pods) == sorted(names)
    image = spec["template"]["spec"]["containers"][0]["image"]
    lowest = start + ((spec["updateStrategy"].get("rollingUpdate") or {}).get("partition", 0))
    updated = 0
    for pod in pods:
        is_new = pod["spec"]["containers"][0]["image"] == image
        updated += is_new
        assert pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == name_of(pod)
        ordinal = int(name_of(pod).rpartition("-")[2])
        assert is_new or spec["updateStrategy"]["type"] == "OnDelete" or ordinal < lowest, "an old pod is left"
    assert status["observedGeneration"] == owner["metadata"]["generation"]
    assert status["replicas"] == status["availableReplicas"] == status.get("readyReplicas", 0) == len(names)
    assert status.get("updatedReplicas", 0) == updated
    assert {f"data-{name}" for name in names} <= set(_claims(world)), "a pod without its claim"
    _check_revisions(world, owner)


def _check_revisions(world: World, owner: Object) -> None:
    revisions = world.all("ControllerRevision")
    images = [each["data"]["spec"]["template"]["spec"]["containers"][0]["image"] for each in revisions]
    assert len(set(images)) == len(images), "two revisions of one template"
    newest = max(revisions, key=lambda each: int(each["revision"]))
    assert name_of(newest) == owner["status"]["updateRevision"]
    used = {pod["metadata"]["labels"]["controller-revision-hash"] for pod in world.all("Pod")}
    live = used | {owner["status"]["currentRevision"], owner["status"]["updateRevision"]}
    past = [each for each in revisions if name_of(each) not in live]
    assert len(past) <= owner["spec"]["revisionHistoryLimit"], "history beyond its limit"

"""A world for StatefulSet histories: a store, the runner's rules, a toy kubelet, a garbage collector and a user.

    user, kubelet, collector ──change──▶ objects ──snapshot──▶ plan ──outcome──▶ perform ──▶ objects

Everything happens in one namespace and one thread, and every choice comes from one `Random`: a seed is a history.
The store knows what the controller relies on: names are unique, resourceVersions guard updates, uids guard patches
and deletes, pods end gracefully. Running out of order or losing writes is not modelled; a plan from a snapshot that
is out of date is (`step` lets the others act between the plan and its writes).
"""

from __future__ import annotations

import copy
from random import Random
from typing import Any

from petset.cluster.api.objects import Object, is_terminating, labels_of, name_of, owner_references, uid_of
from petset.cluster.api.times import format_time
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import ConfirmNone, Create, Delete, Outcome, Patch, Record, Update, Write
from petset.cluster.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound
from tests.builders import EPOCH, LABELS, pod_template, stateful_set

FINAL_PHASES = ("Failed", "Succeeded")


class World:
    """The objects of namespace `default`, by (kind, name). Stored objects are replaced, never changed."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now = EPOCH
        self.objects: dict[tuple[str, str], Object] = {}
        self.log: list[str] = []
        self._counter = 0

    def note(self, text: str) -> None:
        self.log.append(f"{self.now - EPOCH:6.0f}s  {text}")

    def snapshot(self) -> Snapshot:
        return Snapshot.of(self.objects[key] for key in sorted(self.objects))

    def all(self, kind: str) -> list[Object]:
        return [self.objects[key] for key in sorted(self.objects) if key[0] == kind]

    def get(self, kind: str, name: str) -> Object | None:
        return self.objects.get((kind, name))

    # What the API server does

    def create(self, obj: Object) -> None:
        key = (obj["kind"], name_of(obj))
        if key in self.objects:
            raise AlreadyExists(f"{key[0]} {key[1]} already exists")
        fresh = copy.deepcopy(obj)
        self._counter += 1
        fresh["metadata"] |= {"uid": f"uid-{self._counter}", "creationTimestamp": format_time(self.now)}
        if obj["kind"] in ("Pod", "PersistentVolumeClaim"):
            fresh["status"] = {"phase": "Pending"}
        self.put(fresh)

    def put(self, obj: Object) -> None:
        """Store a version; a pod or claim that is marked as deleted and held by nobody is the callers' affair."""
        self._counter += 1
        obj["metadata"]["resourceVersion"] = str(self._counter)
        self.objects[(obj["kind"], name_of(obj))] = obj

    def change(self, obj: Object) -> Object:
        """A copy of the stored version, to be changed and `put`."""
        return copy.deepcopy(self.objects[(obj["kind"], name_of(obj))])

    def remove(self, kind: str, name: str, *, force: bool = False) -> None:
        """DELETE: a pod with running containers only gets its mark."""
        obj = self.objects.get((kind, name))
        if obj is None:
            return
        if kind == "Pod" and not force and obj["status"]["phase"] == "Running":
            if not is_terminating(obj):
                marked = self.change(obj)
                marked["metadata"]["deletionTimestamp"] = format_time(self.now + 30)
                self.put(marked)
            return
        del self.objects[(kind, name)]

    # What the runner does

    def perform(self, outcome: Outcome) -> list[ApiError]:
        """Apply the writes in order; after a failure only those marked `always`."""
        failures: list[ApiError] = []
        for write in outcome.writes:
            if failures and not getattr(write, "always", False):
                continue
            try:
                self._apply(write)
            except ApiError as error:
                self.note(f"    refused: {error}")
                failures.append(error)
        return failures

    def _apply(self, write: Write) -> None:
        match write:
            case ConfirmNone():
                live = self.get(write.kind, write.name)
                if live is not None and write.matching(live):
                    raise Conflict(f"{write.kind} {write.name} is another one, or about to be deleted")
            case Record():
                self.note(f"    {write.reason}: {write.message}")
            case Create():
                self.note(f"    create {write.object['kind']} {name_of(write.object)}")
                self.create(write.object)
            case Update():
                self._update(write.object, write.subresource)
            case Patch():
                self._patch(write)
            case Delete():
                self.note(f"    delete {write.kind} {write.name}")
                stored = self.get(write.kind, write.name)
                if stored is not None and uid_of(stored) == write.uid:
                    self.remove(write.kind, write.name)
            case _:
                raise AssertionError(write)

    def _update(self, obj: Object, subresource: str) -> None:
        stored = self.get(obj["kind"], name_of(obj))
        if stored is None:
            raise NotFound(f"{obj['kind']} {name_of(obj)} not found")
        if uid_of(stored) != uid_of(obj):
            raise Conflict(f"{obj['kind']} {name_of(obj)}: uid precondition")
        if obj["metadata"].get("resourceVersion") not in (None, stored["metadata"]["resourceVersion"]):
            raise Conflict(f"{obj['kind']} {name_of(obj)} has been modified")
        if obj["kind"] == "Pod" and obj["spec"] != stored["spec"]:
            raise Invalid(f"Pod {name_of(obj)}: pod updates may not change spec")
        fresh = copy.deepcopy(stored if subresource else obj)
        fresh["status"] = copy.deepcopy(obj["status"] if subresource else stored["status"])
        self.note(f"    update {obj['kind']} {name_of(obj)} {fresh['status'] if subresource else ''}")
        self.put(fresh)

    def _patch(self, write: Patch) -> None:
        stored = self.get(write.kind, write.name)
        if stored is None:
            raise NotFound(f"{write.kind} {write.name} not found")
        if uid_of(stored) != write.uid:
            raise Conflict(f"{write.kind} {write.name}: uid precondition")
        self.note(f"    patch {write.kind} {write.name} {write.body}")
        fresh = self.change(stored)
        assert isinstance(write.body, dict)
        if write.type == "merge":
            fresh |= write.body
        else:
            [reference] = write.body["metadata"]["ownerReferences"]
            others = [each for each in owner_references(fresh) if each["uid"] != reference["uid"]]
            fresh["metadata"]["ownerReferences"] = others + ([] if "$patch" in reference else [reference])
        self.put(fresh)

    # What the garbage collector does

    def collect(self) -> None:
        """Delete what lost all its owners; drop single owners that are gone. A claim waits for its pod to end."""
        uids = {uid_of(each) for each in self.objects.values()}
        mounted = {
            volume["persistentVolumeClaim"]["claimName"]
            for pod in self.all("Pod")
            for volume in pod["spec"].get("volumes", ())
        }
        for obj in [self.objects[key] for key in sorted(self.objects)]:
            owners = owner_references(obj)
            alive = [each for each in owners if each["uid"] in uids]
            if owners == alive:
                continue
            if alive:
                fresh = self.change(obj)
                fresh["metadata"]["ownerReferences"] = alive
                self.put(fresh)
            elif obj["kind"] != "PersistentVolumeClaim" or name_of(obj) not in mounted:
                self.note(f"collect {obj['kind']} {name_of(obj)}")
                self.remove(obj["kind"], name_of(obj))
            elif not is_terminating(obj):
                fresh = self.change(obj)
                fresh["metadata"]["deletionTimestamp"] = format_time(self.now)
                self.put(fresh)

    # What the kubelets do

    def kubelet(self, pod: Object, event: str) -> None:
        """One event in a pod's life; one that does not fit its state does nothing."""
        phase = pod["status"]["phase"]
        if event == "end" and is_terminating(pod):
            self.note(f"kubelet: {name_of(pod)} ended")
            self.remove("Pod", name_of(pod), force=True)
        elif event == "start" and phase == "Pending":
            self._set_status(pod, "Running", ready=False)
        elif event == "ready" and phase == "Running":
            self._set_status(pod, "Running", ready=True)
        elif event == "unready" and phase == "Running":
            self._set_status(pod, "Running", ready=False)
        elif event == "fail" and phase not in FINAL_PHASES:
            self._set_status(pod, self.random.choice(FINAL_PHASES), ready=False)

    def _set_status(self, pod: Object, phase: str, *, ready: bool) -> None:
        old = (pod["status"].get("conditions") or [{}])[0]
        status = "True" if ready else "False"
        if (pod["status"]["phase"], old.get("status")) == (phase, status):
            return
        self.note(f"kubelet: {name_of(pod)} {phase} ready={ready}")
        since = old.get("lastTransitionTime") if old.get("status") == status else format_time(self.now)
        fresh = self.change(pod)
        fresh["status"] = {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": since}],
        }
        self.put(fresh)

    def heal(self) -> None:
        """Every kubelet does its work: pods start, become ready, and end."""
        for pod in self.all("Pod"):
            for event in ("end", "start", "ready"):
                stored = self.get("Pod", name_of(pod))
                if stored is not None:
                    self.kubelet(stored, event)

    # What the user does

    def edit(self, **spec: Any) -> None:
        """Change fields of the set's spec."""
        owner = self.change(self.objects[("StatefulSet", "web")])
        if all(owner["spec"].get(key) == value for key, value in spec.items()):
            return
        self.note(f"user: {spec}")
        owner["spec"] |= spec
        owner["metadata"]["generation"] += 1
        self.put(owner)

    def new_set(self, **spec: Any) -> None:
        self.create(stateful_set("web", claims=["data"], spec=spec))

    def recreate_set(self, *, orphan: bool) -> None:
        """Delete the set, with or without its dependents, and apply the same manifest again."""
        owner = self.objects.pop(("StatefulSet", "web"))
        self.note(f"user: delete and apply, orphan={orphan}")
        if orphan:
            for key in sorted(self.objects):
                fresh = self.change(self.objects[key])
                kept = [each for each in owner_references(fresh) if each["uid"] != uid_of(owner)]
                fresh["metadata"]["ownerReferences"] = kept
                self.put(fresh)
        self.new_set(**owner["spec"])

    def relabel(self, pod: Object, **labels: str) -> None:
        """Set labels of a pod; a value of "" takes the label away."""
        self.note(f"user: label {name_of(pod)} {labels}")
        fresh = self.change(pod)
        merged = labels_of(fresh) | labels
        fresh["metadata"]["labels"] = {key: value for key, value in merged.items() if value}
        self.put(fresh)


def image_template(number: int) -> Object:
    """The pod templates between which the user chooses."""
    return pod_template(f"web:{number}")


def is_selected(pod: Object) -> bool:
    return all(labels_of(pod).get(key) == value for key, value in LABELS.items())

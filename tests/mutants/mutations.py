"""Deliberately broken controllers: each breaks one promise, by wrapping the real plan of one controller.

a StatefulSet that replaces a pod on a node that fell silent      two processes of one identity
a StatefulSet that gives pods each other's claims                 swapped disks
a StatefulSet that removes the claims of pods that it scales away lost writes
a StatefulSet that does not wait for predecessors                 order of creation
a StatefulSet that updates the lowest pod first                   order of updates
an endpoints controller that keeps unready pods                   services beyond the ready pods
a StatefulSet that never makes a pod a second time                no convergence
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from petset.cluster.api.objects import Object, condition_is_true, is_terminating, name_of, namespace_of, uid_of
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot
from petset.cluster.control.writes import Create, Delete, Outcome, Write
from petset.cluster.controllers.statefulset.pods import parent_and_ordinal

Plan = Callable[[Key, Snapshot, float], Outcome]
Mutation = Callable[[Plan], Plan]


def _pods(snapshot: Snapshot, key: Key) -> list[Object]:
    """The pods that are named after the set."""
    pods = snapshot.objects("Pod", key[0])
    return [pod for pod in pods if (parent_and_ordinal(name_of(pod)) or ("", 0))[0] == key[1]]


def replaces_on_silent_nodes(plan: Plan) -> Plan:
    def broken(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        outcome = plan(key, snapshot, now)
        forced = tuple(
            Delete("Pod", key[0], name_of(pod), uid=uid_of(pod), grace_seconds=0)
            for pod in _pods(snapshot, key)
            if is_terminating(pod) and _is_silent(snapshot, pod)
        )
        return replace(outcome, writes=outcome.writes + forced)

    return broken


def _is_silent(snapshot: Snapshot, pod: Object) -> bool:
    node = snapshot.get("Node", "", pod["spec"].get("nodeName", ""))
    return node is not None and not condition_is_true(node, "Ready")


def swaps_claims(plan: Plan) -> Plan:
    """From its second life on, each pod gets its neighbour's claim."""

    def broken(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        outcome = plan(key, snapshot, now)
        return replace(outcome, writes=tuple(_swapped(write, snapshot) for write in outcome.writes))

    return broken


def _swapped(write: Write, snapshot: Snapshot) -> Write:
    if not isinstance(write, Create) or write.object["kind"] != "Pod":
        return write
    named = parent_and_ordinal(name_of(write.object))
    neighbour = f"data-{named[0]}-{(named[1] + 1) % 3}" if named else ""
    if snapshot.get("PersistentVolumeClaim", namespace_of(write.object), neighbour) is None:
        return write
    spec = write.object["spec"]
    volumes = [
        {**each, "persistentVolumeClaim": {"claimName": neighbour}} if each["name"] == "data" else each
        for each in spec["volumes"]
    ]
    return replace(write, object={**write.object, "spec": {**spec, "volumes": volumes}})


def removes_claims(plan: Plan) -> Plan:
    def broken(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        outcome = plan(key, snapshot, now)
        owner = snapshot.get("StatefulSet", *key)
        replicas = owner["spec"]["replicas"] if owner else 0
        gone = tuple(
            Delete("PersistentVolumeClaim", key[0], f"data-{name_of(pod)}")
            for pod in _pods(snapshot, key)
            if int(name_of(pod).rpartition("-")[2]) >= replicas
        )
        return replace(outcome, writes=outcome.writes + gone)

    return broken


class _Altered(Snapshot):
    """A snapshot whose objects of one kind look otherwise."""

    def __init__(self, inner: Snapshot, kind: str, alter: Callable[[Object], Object]) -> None:
        self._inner = inner
        self._kind = kind
        self._alter = alter

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        found = self._inner.get(kind, namespace, name)
        return self._alter(found) if found is not None and kind == self._kind else found

    def objects(self, kind: str, namespace: str | None = None) -> list[Object]:
        found = self._inner.objects(kind, namespace)
        return [self._alter(obj) for obj in found] if kind == self._kind else found

    def owned_by(self, kind: str, uid: str) -> list[Object]:
        found = self._inner.owned_by(kind, uid)
        return [self._alter(obj) for obj in found] if kind == self._kind else found


def ignores_order(plan: Plan) -> Plan:
    def parallel(obj: Object) -> Object:
        return {**obj, "spec": {**obj["spec"], "podManagementPolicy": "Parallel"}}

    return lambda key, snapshot, now: plan(key, _Altered(snapshot, "StatefulSet", parallel), now)


def updates_the_lowest_first(plan: Plan) -> Plan:
    def broken(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        outcome = plan(key, snapshot, now)
        owner = snapshot.get("StatefulSet", *key)
        lowest = snapshot.get("Pod", key[0], f"{key[1]}-0")
        if owner is None or lowest is None or owner["spec"]["replicas"] != len(_pods(snapshot, key)):
            return outcome
        return replace(outcome, writes=tuple(_aimed_at(lowest, write) for write in outcome.writes))

    return broken


def _aimed_at(pod: Object, write: Write) -> Write:
    is_deletion = isinstance(write, Delete) and write.kind == "Pod"
    return replace(write, name=name_of(pod), uid=uid_of(pod)) if is_deletion and isinstance(write, Delete) else write


def keeps_unready_endpoints(plan: Plan) -> Plan:
    def ready(pod: Object) -> Object:
        conditions = (pod.get("status") or {}).get("conditions") or []
        others = [each for each in conditions if each["type"] != "Ready"]
        return {**pod, "status": {**pod["status"], "conditions": [*others, {"type": "Ready", "status": "True"}]}}

    return lambda key, snapshot, now: plan(key, _Altered(snapshot, "Pod", ready), now)


def makes_no_pod_twice(plan: Plan) -> Plan:
    made: set[str] = set()

    def is_again(write: Write) -> bool:
        if not isinstance(write, Create) or write.object["kind"] != "Pod":
            return False
        again = name_of(write.object) in made
        made.add(name_of(write.object))
        return again

    def broken(key: Key, snapshot: Snapshot, now: float) -> Outcome:
        outcome = plan(key, snapshot, now)
        return replace(outcome, writes=tuple(write for write in outcome.writes if not is_again(write)))

    return broken


STATEFUL_SET, ENDPOINTS = "statefulset-controller", "endpoint-slice-controller"


@dataclass(frozen=True)
class Mutant:
    """A controller (its component), how it is broken, and the oracle that must say so.

    `disks`: whether the set has any. A disk that one node holds keeps a second process from starting for six minutes.
    `silence`: whether it takes a silent node to see it.
    """

    component: str
    mutation: Mutation
    oracle: str
    disks: bool = True
    silence: bool = False


MUTANTS: Mapping[str, Mutant] = {
    "replaces pods on silent nodes": Mutant(
        STATEFUL_SET, replaces_on_silent_nodes, "identity", disks=False, silence=True
    ),
    "swaps claims": Mutant(STATEFUL_SET, swaps_claims, "claims"),
    "removes claims of scaled pods": Mutant(STATEFUL_SET, removes_claims, "durability"),
    "ignores the order": Mutant(STATEFUL_SET, ignores_order, "ordering"),
    "updates the lowest first": Mutant(STATEFUL_SET, updates_the_lowest_first, "ordering"),
    "keeps unready endpoints": Mutant(ENDPOINTS, keeps_unready_endpoints, "services"),
    "makes no pod twice": Mutant(STATEFUL_SET, makes_no_pod_twice, "convergence"),
}


def mutated(controllers: tuple[Controller, ...], mutant: Mutant) -> tuple[Controller, ...]:
    """The same controllers with one of them broken; it also reads nodes. Raises LookupError if it is not there."""
    found = [each for each in controllers if each.component == mutant.component]
    if not found:
        raise LookupError(f"no {mutant.component} among {sorted({each.component for each in controllers})}")
    reads = {kind for each in found for kind in (*each.reads, *each.triggers)}
    also = () if "Node" in reads else ("Node",)
    broken = {id(each): replace(each, plan=mutant.mutation(each.plan), reads=(*each.reads, *also)) for each in found}
    return tuple(broken.get(id(each), each) for each in controllers)

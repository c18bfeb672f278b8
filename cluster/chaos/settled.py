"""Whether a cluster is whole: nodes Ready, sets at their spec, services with exactly the ready pods.

A pure look at freshly listed objects: an empty answer is a steady state, everything else says what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator

from petset.cluster.api.objects import Object, condition_is_true, controller_of, is_terminating, name_of, uid_of
from petset.cluster.chaos.oracles.services import wrong_slices


def unsettled_nodes(nodes: list[Object]) -> Iterator[str]:
    """What is wrong with the nodes, one text each."""
    if not nodes:
        yield "there is no node"
    for node in nodes:
        if not condition_is_true(node, "Ready"):
            yield f"{name_of(node)} is not Ready"


def unsettled_workload(objects: list[Object]) -> Iterator[str]:
    """What is wrong with the sets, pods and services of one namespace, one text each."""
    for stateful_set in (obj for obj in objects if obj["kind"] == "StatefulSet"):
        yield from _unsettled_set(stateful_set, objects)
    yield from wrong_slices(objects)


def _unsettled_set(stateful_set: Object, objects: list[Object]) -> Iterator[str]:
    name, wanted = name_of(stateful_set), stateful_set["spec"].get("replicas", 1)
    status = stateful_set.get("status") or {}
    pods = [pod for pod in objects if pod["kind"] == "Pod" and _is_of(pod, stateful_set)]
    for pod in pods:
        if is_terminating(pod):
            yield f"{name_of(pod)} is Terminating"
        elif not condition_is_true(pod, "Ready"):
            yield f"{name_of(pod)} is not Ready"
    if len(pods) != wanted:
        yield f"{name} has {len(pods)} of {wanted} pods"
    elif status.get("observedGeneration") != stateful_set["metadata"].get("generation"):
        yield f"{name} has a spec that its controller has not seen"
    elif status.get("readyReplicas", 0) != wanted:
        yield f"{name} counts {status.get('readyReplicas', 0)} of {wanted} replicas ready"
    elif status.get("updatedReplicas", 0) < (updated := _updated(stateful_set["spec"], wanted)):
        yield f"{name} has {status.get('updatedReplicas', 0)} of {updated} replicas updated"


def _updated(spec: Object, wanted: int) -> int:
    """How many the controller updates by itself: with OnDelete none, and none below a partition."""
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return 0
    return max(0, wanted - int((strategy.get("rollingUpdate") or {}).get("partition") or 0))


def _is_of(pod: Object, stateful_set: Object) -> bool:
    owner = controller_of(pod)
    return owner is not None and owner["uid"] == uid_of(stateful_set)

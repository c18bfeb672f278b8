"""The volumes of a pod that looks for a node: what rules it out everywhere, what rules out a node, what to reserve.

    claim bound             its volume must be reachable from the node
    Immediate, not bound    the pod waits, whatever node it would get
    waits for a consumer    on each node: a free volume that is reachable, else provisioning, else not this node

Rules and texts: statefulset.md 4.4 (volumebinding plugin and binder).
"""

from __future__ import annotations

from dataclasses import dataclass

from petset.cluster.api.objects import Object, annotations_of, is_terminating, name_of, namespace_of
from petset.cluster.api.selectors import node_term_matches
from petset.cluster.api.volumes import (
    NO_PROVISIONER,
    SELECTED_NODE,
    claim_names,
    class_of,
    ephemeral_claims,
    is_bound,
    is_reachable,
    match_on_node,
    not_made_for,
    requested,
    waits_for_consumer,
)
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.scheduler.state import has_ended

UNBOUND_IMMEDIATE = "pod has unbound immediate PersistentVolumeClaims"
NODE_CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
NO_FREE_VOLUME = "node(s) didn't find available persistent volumes to bind"
VOLUME_MISSING = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
USED_BY_ANOTHER_POD = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"


@dataclass(frozen=True)
class PodClaims:
    """A pod's claims: those with a volume, and those that wait for the pod's node."""

    bound: tuple[Object, ...] = ()
    delayed: tuple[Object, ...] = ()
    problem: str = ""
    """Why no node can help; "" when one could."""


@dataclass(frozen=True)
class Reservation:
    """What a node means for the delayed claims: volumes to take, (volume, claim), and claims to provision."""

    matched: tuple[tuple[Object, Object], ...] = ()
    provisioned: tuple[Object, ...] = ()
    conflict: str = ""


def claims_of(pod: Object, snapshot: Snapshot) -> PodClaims:
    """Sort a pod's claims, or say what is wrong with the first that blocks it."""
    bound, delayed = [], []
    unbound_immediate, made = False, ephemeral_claims(pod)
    for name in claim_names(pod):
        claim = snapshot.get("PersistentVolumeClaim", namespace_of(pod), name)
        if claim is None and name in made:
            waits = f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
            return PodClaims(problem=waits)
        if claim is None:
            return PodClaims(problem=f'persistentvolumeclaim "{name}" not found')
        if (claim.get("status") or {}).get("phase") == "Lost":
            lost = claim["spec"].get("volumeName", "")
            return PodClaims(problem=f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{lost}"')
        if is_terminating(claim):
            return PodClaims(problem=f'persistentvolumeclaim "{name}" is being deleted')
        if name in made and (problem := not_made_for(claim, pod)):
            return PodClaims(problem=problem)
        if is_bound(claim):
            bound.append(claim)
        elif _waits_for_pod(claim, snapshot):
            delayed.append(claim)
        else:
            unbound_immediate = True
    problem = UNBOUND_IMMEDIATE if unbound_immediate else ""
    return PodClaims(tuple(bound), tuple(delayed), problem)


def _waits_for_pod(claim: Object, snapshot: Snapshot) -> bool:
    """A claim that names its volume binds as soon as that is possible, whatever its class says."""
    storage_class = snapshot.get("StorageClass", "", class_of(claim) or "")
    return not claim["spec"].get("volumeName") and waits_for_consumer(storage_class)


def reserve(claims: PodClaims, node: Object, snapshot: Snapshot) -> Reservation:
    """Whether the node can have all of the claims' volumes, and which it would take."""
    for claim in claims.bound:
        volume = snapshot.get("PersistentVolume", "", claim["spec"]["volumeName"])
        if volume is None:
            return Reservation(conflict=VOLUME_MISSING)
        if not is_reachable(volume, node):
            return Reservation(conflict=NODE_CONFLICT)
    return _match(claims.delayed, node, snapshot)


def _match(claims: tuple[Object, ...], node: Object, snapshot: Snapshot) -> Reservation:
    """The smallest claims choose first, so that they leave the larger volumes to those that need them."""
    matched: list[tuple[Object, Object]] = []
    provisioned: list[Object] = []
    taken: set[str] = set()
    volumes = snapshot.objects("PersistentVolume") if claims else []
    for claim in sorted(claims, key=requested):
        selected = annotations_of(claim).get(SELECTED_NODE)
        if selected:
            if selected != name_of(node):
                return Reservation(conflict=NO_FREE_VOLUME)
            provisioned.append(claim)
        elif volume := match_on_node(claim, volumes, node, excluded=taken):
            taken.add(name_of(volume))
            matched.append((volume, claim))
        elif _can_provision(claim, node, snapshot):
            provisioned.append(claim)
        else:
            return Reservation(conflict=NO_FREE_VOLUME)
    return Reservation(tuple(matched), tuple(provisioned))


def _can_provision(claim: Object, node: Object, snapshot: Snapshot) -> bool:
    storage_class = snapshot.get("StorageClass", "", class_of(claim) or "")
    if storage_class is None or storage_class["provisioner"] == NO_PROVISIONER:
        return False
    topologies = storage_class.get("allowedTopologies") or []
    terms = [
        {"matchExpressions": [{**each, "operator": "In"} for each in term.get("matchLabelExpressions") or ()]}
        for term in topologies
    ]
    return not terms or any(node_term_matches(term, node) for term in terms)


def is_used_by_another(claims: PodClaims, pod: Object, snapshot: Snapshot) -> bool:
    """A ReadWriteOncePod claim that another pod with a node has already, and has not ended with."""
    exclusive = {name_of(each) for each in claims.bound if "ReadWriteOncePod" in each["spec"].get("accessModes", ())}
    return bool(exclusive) and any(
        name_of(other) != name_of(pod)
        and other["spec"].get("nodeName")
        and not has_ended(other)
        and exclusive & set(claim_names(other))
        for other in snapshot.objects("Pod", namespace_of(pod))
    )

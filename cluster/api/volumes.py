"""PersistentVolumes and claims as values: classes, who belongs to whom, and which volume suits a claim.

Shared by the volume controllers (Immediate binding) and the scheduler (WaitForFirstConsumer), which ask the same
question at different moments. Rules: statefulset.md 4.1, 4.2 and component-helpers' storage/volume.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from typing import Any

from petset.cluster.api.objects import (
    Object,
    annotations_of,
    controller_of,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from petset.cluster.api.quantities import amount
from petset.cluster.api.selectors import forgiving_selector_of, node_selector_matches

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_STORAGE_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
IS_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
DISK_FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
"""On every provisioned volume from its creation; whoever removes its data drops it afterwards."""


LOCAL_DISKS_FOLDER = "/var/lib/petset/local-disks"
"""Where provisioned local disks are, as their nodes see it."""


def local_disk_path(node: str, name: str) -> str:
    """The path of a provisioned local disk: a folder per node, since a path is the same folder on every node."""
    return f"{LOCAL_DISKS_FOLDER}/{node}/{name}"


def class_of(obj: Mapping[str, Any]) -> str | None:
    """The class of a claim or volume; the old annotation wins. None is "not said", not the class "" ."""
    annotated = annotations_of(obj).get(CLASS_ANNOTATION)
    if annotated is not None:
        return annotated
    found = obj["spec"].get("storageClassName")
    return None if found is None else str(found)


def default_class(classes: Iterable[Object]) -> Object | None:
    """The newest class that is marked as default; equal ages are decided by name."""
    marked = [each for each in classes if annotations_of(each).get(IS_DEFAULT_CLASS) == "true"]
    marked.sort(key=name_of)
    marked.sort(key=lambda each: str(each["metadata"].get("creationTimestamp", "")), reverse=True)
    return marked[0] if marked else None


def waits_for_consumer(storage_class: Object | None) -> bool:
    """Binding is delayed until a pod that uses the claim has a node. An unknown class binds at once."""
    return storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"


def is_bound(claim: Object) -> bool:
    """The claim has its volume and the binding went through to its end."""
    return bool(claim["spec"].get("volumeName")) and BIND_COMPLETED in annotations_of(claim)


def is_claimed_by(volume: Object, claim: Object) -> bool:
    """The volume's claimRef means this claim; a claimRef without uid means any claim of that name."""
    reference = volume["spec"].get("claimRef")
    if not reference:
        return False
    same = reference.get("name") == name_of(claim) and reference.get("namespace") == namespace_of(claim)
    return same and reference.get("uid", "") in ("", uid_of(claim))


def claim_reference(claim: Object) -> Object:
    """The ObjectReference by which a volume names its claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": namespace_of(claim),
        "name": name_of(claim),
        "uid": uid_of(claim),
        "resourceVersion": claim["metadata"].get("resourceVersion", ""),
    }


def claimed(volume: Object, claim: Object) -> Object:
    """The volume with its claimRef; marked as the control plane's doing unless the user had reserved it."""
    annotations = annotations_of(volume)
    if not is_claimed_by(volume, claim):
        annotations = {**annotations, BOUND_BY_CONTROLLER: "yes"}
    meta = {**volume["metadata"], "annotations": annotations}
    return {**volume, "metadata": meta, "spec": {**volume["spec"], "claimRef": claim_reference(claim)}}


def claim_names(pod: Object) -> list[str]:
    """The claims that a pod's volumes name, in order; a generic ephemeral volume's claim is `<pod>-<volume>`."""
    names = []
    for volume in pod["spec"].get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            names.append(str(volume["persistentVolumeClaim"]["claimName"]))
        elif "ephemeral" in volume:
            names.append(f"{name_of(pod)}-{volume['name']}")
    return list(dict.fromkeys(names))


def ephemeral_claims(pod: Object) -> dict[str, Object]:
    """The volumes of a pod that get a claim made for it, by that claim's name."""
    volumes = pod["spec"].get("volumes") or ()
    return {f"{name_of(pod)}-{each['name']}": each for each in volumes if each.get("ephemeral") is not None}


def not_made_for(claim: Object, pod: Object) -> str:
    """Why a claim is not that of the pod's ephemeral volume; "" when it is (VolumeIsForPod)."""
    owner = controller_of(claim)
    if owner is not None and owner.get("uid") == uid_of(pod):
        return ""
    whole = f"PVC {namespace_of(claim)}/{name_of(claim)} was not created for pod {namespace_of(pod)}/{name_of(pod)}"
    return f"{whole} (pod is not owner)"


def requested(claim: Object) -> Fraction:
    """Requested bytes."""
    return amount((claim["spec"].get("resources") or {}).get("requests"), "storage")


def capacity(volume: Object) -> Fraction:
    """Bytes that the volume has."""
    return amount(volume["spec"].get("capacity"), "storage")


def has_modes(volume: Object, claim: Object) -> bool:
    """Every requested access mode is offered."""
    return set(claim["spec"].get("accessModes") or ()) <= set(volume["spec"].get("accessModes") or ())


def mismatch(volume: Object, claim: Object) -> str:
    """Why a volume that the user asked for by name does not do (checkVolumeSatisfyClaim); "" when it does."""
    if capacity(volume) < requested(claim):
        return "requested PV is too small"
    if (class_of(volume) or "") != (class_of(claim) or ""):
        return "storageClassName does not match"
    if _mode(volume) != _mode(claim):
        return "incompatible volumeMode"
    if not has_modes(volume, claim):
        return "incompatible accessMode"
    return ""


def match_now(claim: Object, volumes: Iterable[Object], *, prebound_only: bool) -> Object | None:
    """The volume to bind without regard to any node: fewest access modes first, then the smallest.

    `prebound_only` is for claims that wait for a consumer: only a volume reserved for them by name counts.
    """
    groups: dict[frozenset[str], list[Object]] = {}
    for volume in volumes:
        if has_modes(volume, claim):
            groups.setdefault(frozenset(volume["spec"].get("accessModes") or ()), []).append(volume)
    for modes in sorted(groups, key=lambda each: (len(each), sorted(each))):
        if found := _smallest(claim, groups[modes], node=None, prebound_only=prebound_only):
            return found
    return None


def match_on_node(
    claim: Object, volumes: Iterable[Object], node: Object, *, excluded: Collection[str] = ()
) -> Object | None:
    """The smallest volume that suits the claim and is reachable from the node; `excluded` are names taken already."""
    offered = [each for each in volumes if name_of(each) not in excluded and has_modes(each, claim)]
    return _smallest(claim, offered, node=node, prebound_only=False)


def is_reachable(volume: Object, node: Object) -> bool:
    """The volume's required node affinity admits the node."""
    return node_selector_matches((volume["spec"].get("nodeAffinity") or {}).get("required"), node)


def _smallest(claim: Object, volumes: list[Object], *, node: Object | None, prebound_only: bool) -> Object | None:
    best: Object | None = None
    for volume in volumes:
        if not _could_hold(volume, claim):
            continue
        reachable = node is None or is_reachable(volume, node)
        if is_claimed_by(volume, claim):
            return volume if reachable else None
        if prebound_only or not reachable or not _is_free_for(volume, claim):
            continue
        if best is None or capacity(volume) < capacity(best):
            best = volume
    return best


def _could_hold(volume: Object, claim: Object) -> bool:
    if volume["spec"].get("claimRef") and not is_claimed_by(volume, claim):
        return False
    attributes = "volumeAttributesClassName"
    return (
        not is_terminating(volume)
        and capacity(volume) >= requested(claim)
        and _mode(volume) == _mode(claim)
        and (volume["spec"].get(attributes) or "") == (claim["spec"].get(attributes) or "")
    )


def _is_free_for(volume: Object, claim: Object) -> bool:
    if (volume.get("status") or {}).get("phase") != "Available":
        return False
    if (class_of(volume) or "") != (class_of(claim) or ""):
        return False
    selector = claim["spec"].get("selector")
    return selector is None or forgiving_selector_of(selector).matches(labels_of(volume))


def _mode(obj: Object) -> str:
    return str(obj["spec"].get("volumeMode") or "Filesystem")

"""A pod's volumes as the machine must prepare them (pure).

    needed_objects(pod) ─▶ the kubelet fetches them ─▶ bound_volumes(…) ─▶ it fetches those ─▶ pod_volumes(…)

    emptyDir ─▶ empty        hostPath, local PV, hostPath PV ─▶ hostPath        provisioned PV ─▶ disk (its handle)
    configMap, secret, downwardAPI, projected ─▶ files

An object that is missing, a claim that is not bound or is going, and a volume that is another claim's or does not admit
the node raise `VolumeNotReady`: the pod waits, with a `FailedMount`
event. Volumes of files (volume_files.py) are read-only, as in Kubernetes, and follow their objects while the pod runs
(refresher.py). Left out: raw block devices.
"""

from __future__ import annotations

import math
from typing import Literal

from petset.cluster.api.attachments import unique_name
from petset.cluster.api.cri import Volume
from petset.cluster.api.objects import Object, is_terminating, name_of, namespace_of, uid_of
from petset.cluster.api.quantities import parse_quantity
from petset.cluster.api.volumes import is_reachable, not_made_for
from petset.cluster.kubelet.downward import ConfigError, PodFacts
from petset.cluster.kubelet.environment import Sources
from petset.cluster.kubelet.facts import every_container
from petset.cluster.kubelet.volume_files import Needed, default_mode, files_of, needed_by, shows_files


class VolumeNotReady(Exception):
    """The pod's volumes cannot be prepared for now; the message is the FailedMount event's."""


def needed_objects(pod: Object) -> list[Needed]:
    """All ConfigMaps, Secrets and claims of a pod, for its volumes and its containers' environment, each once."""
    found: list[Needed] = []
    for volume in pod["spec"].get("volumes") or ():
        found += _needed_by_volume(pod, volume)
    for container in every_container(pod):
        found += _needed_by_environment(container)
    return list(dict.fromkeys(found))


def bound_volumes(pod: Object, sources: Sources) -> list[str]:
    """The names of the PersistentVolumes of the pod's claims. Raises VolumeNotReady while one is not bound."""
    claims = [
        _claim_of(pod, volume, sources) for volume in pod["spec"].get("volumes") or () if _claim_name(pod, volume)
    ]
    return [str(each["spec"]["volumeName"]) for each in claims]


def check_reachable(sources: Sources, node: Object | None) -> None:
    """Every PersistentVolume admits the node, as far as that is known: a pod may come here past the scheduler.

    Raises VolumeNotReady (checkNodeAffinity).
    """
    for (kind, name), persistent in sources.items():
        if kind == "PersistentVolume" and node is not None and not is_reachable(persistent, node):
            why = "no matching NodeSelectorTerms"
            raise VolumeNotReady(f'MountVolume.NodeAffinity check failed for volume "{name}" : {why}')


def pod_volumes(pod: Object, sources: Sources, facts: PodFacts) -> tuple[Volume, ...]:
    """The volumes of a sandbox; `sources` also holds the PersistentVolumes. Raises VolumeNotReady."""
    return tuple(_volume(pod, volume, sources, facts) for volume in pod["spec"].get("volumes") or ())


def file_volumes(pod: Object, sources: Sources, facts: PodFacts) -> tuple[Volume, ...]:
    """Those of a pod's volumes that show files, as they are to be now. Raises VolumeNotReady."""
    return tuple(
        _file_volume(pod, each, sources, facts) for each in pod["spec"].get("volumes") or () if shows_files(each)
    )


def _volume(pod: Object, volume: Object, sources: Sources, facts: PodFacts) -> Volume:
    name = str(volume["name"])
    if _claim_name(pod, volume):
        return _persistent(pod, volume, sources)
    if "hostPath" in volume:
        host = volume["hostPath"]
        return Volume(name, "hostPath", source=host["path"], path_type=host.get("type") or "")
    if "emptyDir" in volume:
        return _empty(name, volume["emptyDir"] or {})
    if shows_files(volume):
        return _file_volume(pod, volume, sources, facts)
    kinds = ", ".join(sorted(set(volume) - {"name"})) or "nothing"
    raise VolumeNotReady(f'MountVolume.SetUp failed for volume "{name}" : no volume plugin matched ({kinds})')


def _file_volume(pod: Object, volume: Object, sources: Sources, facts: PodFacts) -> Volume:
    try:
        files = files_of(pod, volume, sources, facts)
    except ConfigError as error:
        raise VolumeNotReady(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}') from error
    return Volume(
        str(volume["name"]),
        "files",
        files=files.contents,
        mode=default_mode(volume),
        modes=files.modes,
        read_only=True,
    )


def _empty(name: str, source: Object) -> Volume:
    bound = math.ceil(parse_quantity(source.get("sizeLimit") or "0"))
    return Volume(name, "empty", in_memory=source.get("medium") == "Memory", size_bytes=bound)


def _persistent(pod: Object, volume: Object, sources: Sources) -> Volume:
    claim, name = _claim_of(pod, volume, sources), str(volume["name"])
    volume_name = claim["spec"]["volumeName"]
    persistent = sources.get(("PersistentVolume", volume_name))
    if persistent is None:
        raise VolumeNotReady(
            f'MountVolume.SetUp failed for volume "{name}" : persistentvolume "{volume_name}" not found'
        )
    spec, read_only = persistent["spec"], _is_read_only(volume)
    if problem := _not_of(claim, persistent):
        raise _not_processed(pod, volume, problem)
    if spec.get("volumeMode") == "Block":
        text = "raw block volumes are not supported: this cluster's volumes are folders"
        raise VolumeNotReady(f'MapVolume.SetUp failed for volume "{volume_name}" : {text}')
    kind, source = _place_of(volume_name, spec)
    one_pod = "ReadWriteOncePod" in (spec.get("accessModes") or ())
    unique = unique_name(persistent)
    return Volume(name, kind, source=source, read_only=read_only, persistent=unique, one_pod=one_pod)


def _place_of(volume_name: str, spec: Object) -> tuple[Literal["disk", "hostPath"], str]:
    """(kind, source) of a PersistentVolume's files."""
    if "csi" in spec:
        return "disk", str(spec["csi"]["volumeHandle"])
    for kind in ("hostPath", "local"):
        if kind in spec:
            return "hostPath", str(spec[kind]["path"])
    raise VolumeNotReady(f'MountVolume.SetUp failed for volume "{volume_name}" : no volume plugin matched')


def _not_of(claim: Object, persistent: Object) -> str:
    """Why a volume is not to be mounted for a claim; "" when it is bound to exactly this one (getPVSpec)."""
    reference, found = persistent["spec"].get("claimRef"), f"found PV object {name_of(persistent)} but"
    if not reference:
        return f"{found} it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
    uid = reference.get("uid", "")
    if uid == uid_of(claim):
        return ""
    return f"{found} its pv.Spec.ClaimRef.UID {uid} does not point to claim.UID {uid_of(claim)}"


def _is_read_only(volume: Object) -> bool:
    return bool((volume.get("persistentVolumeClaim") or {}).get("readOnly"))


def _claim_name(pod: Object, volume: Object) -> str:
    if claim := volume.get("persistentVolumeClaim"):
        return str(claim["claimName"])
    return f"{name_of(pod)}-{volume['name']}" if "ephemeral" in volume else ""


def _claim_of(pod: Object, volume: Object, sources: Sources) -> Object:
    """The bound claim of a volume."""
    claim_name = _claim_name(pod, volume)
    claim = sources.get(("PersistentVolumeClaim", claim_name))
    problem = ""
    if claim is None:
        problem = f'failed to fetch PVC from API server: persistentvolumeclaim "{claim_name}" not found'
    elif is_terminating(claim):
        problem = "PVC is being deleted"
    elif (claim.get("status") or {}).get("phase") != "Bound" or not claim["spec"].get("volumeName"):
        problem = "PVC is not bound"
    elif "ephemeral" in volume:
        problem = not_made_for(claim, pod)
    if claim is None or problem:
        raise _not_processed(pod, volume, problem)
    return claim


def _not_processed(pod: Object, volume: Object, problem: str) -> VolumeNotReady:
    name, claim_name = volume["name"], _claim_name(pod, volume)
    return VolumeNotReady(
        f"Unable to attach or mount volumes: unmounted volumes=[{name}], unattached volumes=[], failed to process "
        f"volumes=[{name}]: error processing PVC {namespace_of(pod)}/{claim_name}: {problem}"
    )


def _needed_by_volume(pod: Object, volume: Object) -> list[Needed]:
    if claim_name := _claim_name(pod, volume):
        return [Needed("PersistentVolumeClaim", claim_name)]
    return needed_by(volume)


def _needed_by_environment(container: Object) -> list[Needed]:
    found = []
    for source in container.get("envFrom") or ():
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if field in source:
                found.append(Needed(kind, source[field].get("name", "")))
    for variable in container.get("env") or ():
        reference = variable.get("valueFrom") or {}
        for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if field in reference:
                found.append(Needed(kind, reference[field].get("name", "")))
    return found

"""A pod's volumes as the machine must prepare them (pure).

    needed_objects(pod) ─▶ the kubelet fetches them ─▶ bound_volumes(…) ─▶ it fetches those ─▶ pod_volumes(…)

    emptyDir ─▶ empty        hostPath, local PV, hostPath PV ─▶ hostPath        provisioned PV ─▶ disk (its handle)
    configMap, secret, downwardAPI, projected ─▶ files

An object that is missing or a claim that is not bound raises `VolumeNotReady`: the pod waits, with a `FailedMount`
event. Left out: files keep the content of the pod's start (Kubernetes updates mounted ConfigMaps), one mode for all
files of a volume, service account tokens, raw block devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from petset.cluster.api.cri import Volume
from petset.cluster.api.objects import Object, name_of, namespace_of
from petset.cluster.kubelet.downward import ConfigError, PodFacts, field_value, resource_field
from petset.cluster.kubelet.environment import Sources, data_of

_CONTENT_KINDS = {"configMap": ("ConfigMap", "name"), "secret": ("Secret", "secretName")}


class VolumeNotReady(Exception):
    """The pod's volumes cannot be prepared for now; the message is the FailedMount event's."""


@dataclass(frozen=True)
class Needed:
    """An object of the pod's namespace that the pod refers to."""

    kind: str
    name: str


def needed_objects(pod: Object) -> list[Needed]:
    """All ConfigMaps, Secrets and claims of a pod, for its volumes and its containers' environment, each once."""
    found: list[Needed] = []
    for volume in pod["spec"].get("volumes") or ():
        found += _needed_by_volume(pod, volume)
    for field in ("initContainers", "containers"):
        for container in pod["spec"].get(field) or ():
            found += _needed_by_environment(container)
    return list(dict.fromkeys(found))


def bound_volumes(pod: Object, sources: Sources) -> list[str]:
    """The names of the PersistentVolumes of the pod's claims. Raises VolumeNotReady while one is not bound."""
    claims = [
        _claim_of(pod, volume, sources) for volume in pod["spec"].get("volumes") or () if _claim_name(pod, volume)
    ]
    return [str(each["spec"]["volumeName"]) for each in claims]


def pod_volumes(pod: Object, sources: Sources, facts: PodFacts) -> tuple[Volume, ...]:
    """The volumes of a sandbox; `sources` also holds the PersistentVolumes. Raises VolumeNotReady."""
    return tuple(_volume(pod, volume, sources, facts) for volume in pod["spec"].get("volumes") or ())


def _volume(pod: Object, volume: Object, sources: Sources, facts: PodFacts) -> Volume:
    name = str(volume["name"])
    if _claim_name(pod, volume):
        return _persistent(name, _claim_of(pod, volume, sources), sources)
    if "hostPath" in volume:
        return Volume(name, "hostPath", source=volume["hostPath"]["path"])
    if "emptyDir" in volume:
        return Volume(name, "empty")
    try:
        for kind in ("configMap", "secret", "downwardAPI", "projected"):
            if kind in volume:
                files = _files(pod, {kind: volume[kind]}, sources, facts)
                return Volume(name, "files", files=files, mode=int(volume[kind].get("defaultMode") or 0o644))
    except ConfigError as error:
        raise VolumeNotReady(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error
    kinds = ", ".join(sorted(set(volume) - {"name"})) or "nothing"
    raise VolumeNotReady(f'MountVolume.SetUp failed for volume "{name}" : no volume plugin matched ({kinds})')


def _persistent(name: str, claim: Object, sources: Sources) -> Volume:
    volume_name = claim["spec"]["volumeName"]
    persistent = sources.get(("PersistentVolume", volume_name))
    if persistent is None:
        raise VolumeNotReady(
            f'MountVolume.SetUp failed for volume "{name}" : persistentvolume "{volume_name}" not found'
        )
    spec = persistent["spec"]
    if "csi" in spec:
        return Volume(name, "disk", source=str(spec["csi"]["volumeHandle"]))
    for kind in ("hostPath", "local"):
        if kind in spec:
            return Volume(name, "hostPath", source=str(spec[kind]["path"]))
    raise VolumeNotReady(f'MountVolume.SetUp failed for volume "{volume_name}" : no volume plugin matched')


def _claim_name(pod: Object, volume: Object) -> str:
    if claim := volume.get("persistentVolumeClaim"):
        return str(claim["claimName"])
    return f"{name_of(pod)}-{volume['name']}" if "ephemeral" in volume else ""


def _claim_of(pod: Object, volume: Object, sources: Sources) -> Object:
    """The bound claim of a volume."""
    claim_name, name = _claim_name(pod, volume), volume["name"]
    claim = sources.get(("PersistentVolumeClaim", claim_name))
    problem = ""
    if claim is None:
        problem = f'failed to fetch PVC from API server: persistentvolumeclaim "{claim_name}" not found'
    elif (claim.get("status") or {}).get("phase") != "Bound" or not claim["spec"].get("volumeName"):
        problem = "PVC is not bound"
    if claim is None or problem:
        raise VolumeNotReady(
            f"Unable to attach or mount volumes: unmounted volumes=[{name}], unattached volumes=[], failed to process "
            f"volumes=[{name}]: error processing PVC {namespace_of(pod)}/{claim_name}: {problem}"
        )
    return claim


def _files(pod: Object, source: Mapping[str, Object], sources: Sources, facts: PodFacts) -> dict[str, bytes]:
    """The files of one source of files, by relative path. Raises ConfigError."""
    if "projected" in source:
        files: dict[str, bytes] = {}
        for each in source["projected"].get("sources") or ():
            files |= _files(pod, each, sources, facts)
        return files
    for field, (kind, name_field) in _CONTENT_KINDS.items():
        if field in source:
            return _content(pod, kind, source[field], sources, name_field=name_field)
    if "downwardAPI" in source:
        return {each["path"]: _downward(pod, each, facts).encode() for each in source["downwardAPI"].get("items") or ()}
    raise ConfigError(f"no volume plugin matched ({', '.join(sorted(source))})")


def _content(pod: Object, kind: str, source: Object, sources: Sources, *, name_field: str) -> dict[str, bytes]:
    name = source.get(name_field) or source.get("name") or ""
    obj = sources.get((kind, name))
    if obj is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    data = data_of(obj)
    if not source.get("items"):
        return data
    missing = [each["key"] for each in source["items"] if each["key"] not in data]
    if missing and not source.get("optional"):
        raise ConfigError(f"references non-existent {kind.lower()} key: {missing[0]}")
    return {each["path"]: data[each["key"]] for each in source["items"] if each["key"] in data}


def _downward(pod: Object, item: Object, facts: PodFacts) -> str:
    if "fieldRef" in item:
        return field_value(pod, item["fieldRef"]["fieldPath"], facts)
    return resource_field(pod, item["resourceFieldRef"], facts=facts)


def _needed_by_volume(pod: Object, volume: Object) -> list[Needed]:
    if claim_name := _claim_name(pod, volume):
        return [Needed("PersistentVolumeClaim", claim_name)]
    sources = (volume.get("projected") or {}).get("sources") or [volume]
    found = []
    for source in sources:
        for field, (kind, name_field) in _CONTENT_KINDS.items():
            if field in source:
                found.append(Needed(kind, source[field].get(name_field) or source[field].get("name") or ""))
    return found


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

"""Rules that a schema cannot state: names, immutable fields, and what must agree with what.

`validate(kind, obj)` checks a new object, `validate_update(kind, new, old)` a changed one; both answer a list of
FieldErrors, worded as Kubernetes words them. Objects come here defaulted and structurally sound.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from petset.cluster.api.custom_definitions import validate_definition, validate_definition_update
from petset.cluster.api.fields import FieldError, forbidden, not_supported, required, wrong
from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object
from petset.cluster.api.quantities import amount
from petset.cluster.api.validation_data import validate_config_map, validate_secret
from petset.cluster.api.validation_ephemeral import validate_no_ephemeral_containers
from petset.cluster.api.validation_names import label_faults, service_faults, subdomain_faults, wrong_name
from petset.cluster.api.validation_ports import service_port_errors
from petset.cluster.api.validation_replicas import (
    validate_budget,
    validate_deployment,
    validate_fixed_selector,
    validate_replica_set,
    validate_replication_controller,
)
from petset.cluster.api.validation_services import external_name_errors
from petset.cluster.api.validation_volumes import PERSISTENT_VOLUME_TYPES, volume_type_errors
from petset.cluster.api.validation_workloads import (
    validate_pod_spec,
    validate_stateful_set,
    validate_stateful_set_update,
)
from petset.cluster.api.volumes import requested

_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")

_QUALIFIED_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_NAME_RULES = {"Namespace": label_faults, "StatefulSet": label_faults, "Service": service_faults}
_FIXED_CLAIM = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)
_ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_MAX_ANNOTATIONS_BYTES = 256 * 1024


def validate(kind: Kind, obj: Object) -> list[FieldError]:
    """Errors of a new object."""
    errors = _validate_metadata(kind, obj)
    if check := _CHECKS.get(kind.rules):
        errors += check(obj)
    if kind.rules == "Pod":
        errors += validate_no_ephemeral_containers(obj["spec"])
    return errors


def validate_update(kind: Kind, new: Object, old: Object) -> list[FieldError]:
    """Errors of a changed object, immutable fields included."""
    errors = _validate_labels(new["metadata"])
    errors += [
        wrong(f"metadata.{name}", new["metadata"].get(name), "field is immutable")
        for name in ("name", "namespace", "uid", "creationTimestamp")
        if new["metadata"].get(name) != old["metadata"].get(name)
    ]
    if (check := _CHECKS.get(kind.rules)) and not new["metadata"].get("deletionTimestamp"):
        errors += check(new)
    if check_update := _UPDATE_CHECKS.get(kind.rules):
        errors += check_update(new, old)
    return errors


def _validate_metadata(kind: Kind, obj: Object) -> list[FieldError]:
    meta = obj["metadata"]
    errors = wrong_name("metadata.name", meta.get("name", ""), _NAME_RULES.get(kind.rules, subdomain_faults))
    return errors + _validate_labels(meta)


def _validate_labels(meta: Object) -> list[FieldError]:
    errors = []
    for field in ("labels", "annotations"):
        for key in meta.get(field) or {}:
            prefix, slash, name = key.rpartition("/")
            if not _QUALIFIED.fullmatch(name) or len(name) > 63 or (slash and subdomain_faults(prefix)):
                errors.append(wrong(f"metadata.{field}", key, _QUALIFIED_TEXT))
    for value in (meta.get("labels") or {}).values():
        if value and (not _QUALIFIED.fullmatch(value) or len(value) > 63):
            errors.append(wrong("metadata.labels", value, _LABEL_VALUE_TEXT))
    size = sum(len(key) + len(value) for key, value in (meta.get("annotations") or {}).items())
    if size > _MAX_ANNOTATIONS_BYTES:
        errors.append(
            FieldError("FieldValueTooLong", "metadata.annotations", "Too long: may not be more than 262144 bytes")
        )
    return errors


def _validate_service(service: Object) -> list[FieldError]:
    spec = service["spec"]
    ports = spec.get("ports") or []
    errors: list[FieldError] = []
    if spec["type"] not in ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"):
        kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
        errors.append(not_supported("spec.type", spec["type"], kinds))
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and spec["type"] != "ExternalName":
        errors.append(required("spec.ports"))
    if headless and spec["type"] in ("NodePort", "LoadBalancer"):
        errors.append(wrong("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {spec['type']} services"))
    if spec["type"] == "ExternalName":
        errors += external_name_errors(spec)
        if not spec.get("externalName"):
            errors.append(required("spec.externalName"))
    return errors + service_port_errors(ports, "spec.ports")


def _validate_service_update(new: Object, old: Object) -> list[FieldError]:
    was, now = old["spec"].get("clusterIP"), new["spec"].get("clusterIP")
    fixed = old["spec"].get("type") != "ExternalName" and new["spec"].get("type") != "ExternalName"
    if fixed and was and was != now:
        return [wrong("spec.clusterIPs[0]", [now], "may not change once set")]
    return []


def _validate_volume(volume: Object) -> list[FieldError]:
    spec = volume["spec"]
    errors = _validate_access_modes(spec)
    if not (spec.get("capacity") or {}).get("storage"):
        errors.append(required("spec.capacity"))
    else:
        errors += _validate_size("spec.capacity[storage]", spec["capacity"])
    policies = ("Delete", "Recycle", "Retain")
    if spec["persistentVolumeReclaimPolicy"] not in policies:
        errors.append(
            not_supported("spec.persistentVolumeReclaimPolicy", spec["persistentVolumeReclaimPolicy"], policies)
        )
    errors += volume_type_errors(spec, "spec", PERSISTENT_VOLUME_TYPES)
    return errors + _validate_volume_source(spec)


def _validate_volume_source(spec: Object) -> list[FieldError]:
    errors = []
    for kind in ("hostPath", "local"):
        path = (spec.get(kind) or {}).get("path", "")
        if ".." in path.split("/"):
            errors.append(wrong(f"spec.{kind}.path", path, "must not contain '..'"))
    if "local" in spec and not (spec.get("nodeAffinity") or {}).get("required"):
        errors.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
    csi = spec.get("csi")
    if csi is not None:
        errors += [required(f"spec.csi.{name}") for name in ("driver", "volumeHandle") if not csi.get(name)]
    return errors


def _validate_volume_update(new: Object, old: Object) -> list[FieldError]:
    if any(new["spec"].get(name) != old["spec"].get(name) for name in PERSISTENT_VOLUME_TYPES):
        return [forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")]
    return []


def _validate_claim(claim: Object) -> list[FieldError]:
    spec = claim["spec"]
    errors = _validate_access_modes(spec)
    if not ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        errors.append(required("spec.resources[storage]"))
    else:
        errors += _validate_size("spec.resources[storage]", spec["resources"]["requests"])
    return errors


def _validate_size(path: str, quantities: Object) -> list[FieldError]:
    """A size that is no quantity would be met by everyone who compares volumes."""
    try:
        size = amount(quantities, "storage")
    except ValueError as error:
        return [wrong(path, quantities["storage"], str(error))]
    return [] if size > 0 else [wrong(path, quantities["storage"], "must be greater than zero")]


def _validate_claim_update(new: Object, old: Object) -> list[FieldError]:
    """The volume may be set once, the class once (retroactive default), and the request may only be changed later."""

    def fixed(spec: Object, other: Object) -> Object:
        free = {"resources", "volumeAttributesClassName"}
        if not other.get("volumeName"):
            free.add("volumeName")
        if other.get("storageClassName") is None:
            free.add("storageClassName")
        return {name: value for name, value in spec.items() if name not in free}

    if fixed(new["spec"], old["spec"]) != fixed(old["spec"], old["spec"]):
        return [forbidden("spec", _FIXED_CLAIM)]
    return _validate_request(new, old)


def _validate_request(new: Object, old: Object) -> list[FieldError]:
    """The request of a bound claim may grow, and shrink no further than to what it has (ValidatePersistentVolumeClaim
    Update); that of an unbound one is fixed."""
    try:
        asked, before = requested(new), requested(old)
    except ValueError:  # said already
        return []
    if asked == before:
        return []
    if (old.get("status") or {}).get("phase") != "Bound":
        return [forbidden("spec", _FIXED_CLAIM)]
    has = amount((old.get("status") or {}).get("capacity"), "storage")
    if asked < before and asked <= has:
        return [forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")]
    return []


def _validate_access_modes(spec: Object) -> list[FieldError]:
    modes = spec.get("accessModes") or []
    if not modes:
        return [required("spec.accessModes", "at least 1 access mode is required")]
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        return [forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes")]
    return [not_supported("spec.accessModes", mode, _ACCESS_MODES) for mode in modes if mode not in _ACCESS_MODES]


def _validate_storage_class(storage_class: Object) -> list[FieldError]:
    errors = [] if storage_class.get("provisioner") else [required("provisioner")]
    modes = ("Immediate", "WaitForFirstConsumer")
    if storage_class["volumeBindingMode"] not in modes:
        errors.append(not_supported("volumeBindingMode", storage_class["volumeBindingMode"], modes))
    return errors


def _validate_storage_class_update(new: Object, old: Object) -> list[FieldError]:
    names = ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode")
    return [
        forbidden(name, "updates to " + name + " are forbidden.") for name in names if new.get(name) != old.get(name)
    ]


def _validate_pod(pod: Object) -> list[FieldError]:
    return validate_pod_spec(pod["spec"], "spec")


def _validate_pod_update(new: Object, old: Object) -> list[FieldError]:
    """A pod's spec is fixed but for images, deadlines, added tolerations and its (one) binding."""
    if _fixed_pod_spec(new["spec"]) == _fixed_pod_spec(old["spec"]):
        return []
    text = (
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
        "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
    )
    return [forbidden("spec", text)]


def _fixed_pod_spec(spec: Object) -> Object:
    def without_image(containers: Iterable[Object]) -> list[Object]:
        return [{name: value for name, value in each.items() if name != "image"} for each in containers]

    free = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "containers", "initContainers")
    rest: dict[str, Any] = {name: value for name, value in spec.items() if name not in free}
    rest["containers"] = without_image(spec.get("containers") or ())
    rest["initContainers"] = without_image(spec.get("initContainers") or ())
    return rest


_CHECKS: dict[str, Callable[[Object], list[FieldError]]] = {
    "ConfigMap": validate_config_map,
    "Secret": validate_secret,
    "Service": _validate_service,
    "PersistentVolume": _validate_volume,
    "PersistentVolumeClaim": _validate_claim,
    "StorageClass": _validate_storage_class,
    "CustomResourceDefinition": validate_definition,
    "Pod": _validate_pod,
    "StatefulSet": validate_stateful_set,
    "Deployment": validate_deployment,
    "ReplicaSet": validate_replica_set,
    "ReplicationController": validate_replication_controller,
    "PodDisruptionBudget": validate_budget,
}
_UPDATE_CHECKS: dict[str, Callable[[Object, Object], list[FieldError]]] = {
    "Service": _validate_service_update,
    "PersistentVolume": _validate_volume_update,
    "PersistentVolumeClaim": _validate_claim_update,
    "StorageClass": _validate_storage_class_update,
    "CustomResourceDefinition": validate_definition_update,
    "Pod": _validate_pod_update,
    "StatefulSet": validate_stateful_set_update,
    "Deployment": validate_fixed_selector,
    "ReplicaSet": validate_fixed_selector,
}

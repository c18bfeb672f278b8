"""Validation of pod templates and of the sets made from them (apps and core validation.go)."""

from __future__ import annotations

from petset.cluster.api.fields import FieldError, duplicate, forbidden, not_supported, required, wrong
from petset.cluster.api.objects import Object
from petset.cluster.api.portions import is_zero, validate_portion
from petset.cluster.api.selectors import selector_of
from petset.cluster.api.validation_containers import validate_contents
from petset.cluster.api.validation_names import label_faults, wrong_name
from petset.cluster.api.validation_ports import container_port_errors
from petset.cluster.api.validation_volumes import POD_VOLUME_TYPES, volume_type_errors

MUTABLE_STATEFUL_SET_FIELDS = (
    "replicas", "ordinals", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip


def validate_pod_spec(spec: Object, path: str) -> list[FieldError]:
    """A pod's or a template's spec."""
    errors: list[FieldError] = []
    containers = spec.get("containers") or []
    if not containers:
        errors.append(required(f"{path}.containers"))
    if path != "spec" and spec.get("ephemeralContainers"):
        errors.append(forbidden(f"{path}.ephemeralContainers", "ephemeral containers not allowed in pod template"))
    volumes = _volume_names(spec, path, errors)
    names: set[str] = set()
    for field, list_ in (("initContainers", spec.get("initContainers") or []), ("containers", containers)):
        for number, container in enumerate(list_):
            errors += validate_container(container, f"{path}.{field}[{number}]", volumes=volumes, names=names)
    policies = ("Always", "OnFailure", "Never")
    if spec.get("restartPolicy") not in policies:
        errors.append(not_supported(f"{path}.restartPolicy", spec.get("restartPolicy"), policies))
    dns_policies = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
    if spec.get("dnsPolicy") not in dns_policies:
        errors.append(not_supported(f"{path}.dnsPolicy", spec.get("dnsPolicy"), dns_policies))
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            errors += wrong_name(f"{path}.{name}", spec[name], label_faults)
    return errors


def _volume_names(spec: Object, path: str, errors: list[FieldError]) -> set[str]:
    names: set[str] = set()
    for number, volume in enumerate(spec.get("volumes") or ()):
        where = f"{path}.volumes[{number}]"
        name = volume.get("name", "")
        errors += wrong_name(f"{where}.name", name, label_faults) if name else [required(f"{where}.name")]
        if name in names:
            errors.append(duplicate(f"{where}.name", name))
        errors += volume_type_errors(volume, where, POD_VOLUME_TYPES)
        ephemeral = volume.get("ephemeral")
        if ephemeral is not None and ephemeral.get("volumeClaimTemplate") is None:
            errors.append(required(f"{where}.ephemeral.volumeClaimTemplate"))
        names.add(name)
    return names


def validate_container(container: Object, path: str, *, volumes: set[str], names: set[str]) -> list[FieldError]:
    """One container; its name joins `names`, those of the pod's other containers."""
    errors: list[FieldError] = []
    name = container.get("name", "")
    errors += wrong_name(f"{path}.name", name, label_faults) if name else [required(f"{path}.name")]
    if name in names:
        errors.append(duplicate(f"{path}.name", name))
    names.add(name)
    if not container.get("image"):
        errors.append(required(f"{path}.image"))
    errors += container_port_errors(container.get("ports") or (), f"{path}.ports")
    mounted: set[str] = set()
    for number, mount in enumerate(container.get("volumeMounts") or ()):
        where = f"{path}.volumeMounts[{number}]"
        if mount.get("name") not in volumes:
            errors.append(FieldError("FieldValueNotFound", f"{where}.name", f'Not found: "{mount.get("name")}"'))
        if mount.get("mountPath") in mounted:
            errors.append(wrong(f"{where}.mountPath", mount["mountPath"], "must be unique"))
        mounted.add(mount.get("mountPath", ""))
    return errors + validate_contents(container, path)


def validate_stateful_set(stateful_set: Object) -> list[FieldError]:
    """ValidateStatefulSetSpec. Volumes of the claim templates count as volumes of the pod template."""
    spec = stateful_set["spec"]
    errors: list[FieldError] = []
    if spec["podManagementPolicy"] not in ("OrderedReady", "Parallel"):
        errors.append(wrong("spec.podManagementPolicy", spec["podManagementPolicy"],
                            "must be 'OrderedReady' or 'Parallel'"))  # fmt: skip
    errors += _validate_strategy(spec["updateStrategy"])
    for name, value in spec["persistentVolumeClaimRetentionPolicy"].items():
        if value not in ("Retain", "Delete"):
            path = f"spec.persistentVolumeClaimRetentionPolicy.{name}"
            errors.append(not_supported(path, value, ("Retain", "Delete")))
    errors += not_negative("spec.replicas", spec.get("replicas"))
    errors += not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    errors += not_negative("spec.ordinals.start", (spec.get("ordinals") or {}).get("start"))
    errors += _validate_selector(spec)
    template = (spec.get("template") or {}).get("spec") or {}
    claims = _claim_volumes(spec, errors)
    replaced = {claim["name"] for claim in claims}
    volumes = [volume for volume in template.get("volumes") or () if volume.get("name") not in replaced] + claims
    path = "spec.template.spec"
    errors += validate_pod_spec({**template, "volumes": volumes}, path)
    if template.get("restartPolicy") != "Always":
        errors.append(not_supported(f"{path}.restartPolicy", template.get("restartPolicy"), ("Always",)))
    if template.get("activeDeadlineSeconds") is not None:
        text = "activeDeadlineSeconds in StatefulSet is not Supported"
        errors.append(forbidden(f"{path}.activeDeadlineSeconds", text))
    return errors


def _claim_volumes(spec: Object, errors: list[FieldError]) -> list[Object]:
    """The volumes that the claim templates make."""
    claims = []
    for number, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        name = (claim.get("metadata") or {}).get("name", "")
        if not name:
            errors.append(required(f"spec.volumeClaimTemplates[{number}].metadata.name", "name is required"))
        claims.append({"name": name, "persistentVolumeClaim": {"claimName": name}})
    return claims


def validate_stateful_set_update(new: Object, old: Object) -> list[FieldError]:
    """Only the mutable fields may differ (statefulset.md 1.2, the text of releases up to 1.34)."""

    def fixed(spec: Object) -> Object:
        return {name: value for name, value in spec.items() if name not in MUTABLE_STATEFUL_SET_FIELDS}

    if fixed(new["spec"]) == fixed(old["spec"]):
        return []
    text = (
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
        "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
    )
    return [forbidden("spec", text)]


def _validate_strategy(strategy: Object) -> list[FieldError]:
    path = "spec.updateStrategy"
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] not in ("RollingUpdate", "OnDelete"):
        return [wrong(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")]
    if rolling is None:
        return []
    if strategy["type"] == "OnDelete":
        return [wrong(f"{path}.rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'")]
    errors = not_negative(f"{path}.rollingUpdate.partition", rolling.get("partition"))
    return errors + _validate_max_unavailable(f"{path}.rollingUpdate.maxUnavailable", rolling.get("maxUnavailable"))


def _validate_max_unavailable(path: str, value: int | str | None) -> list[FieldError]:
    if errors := validate_portion(path, value, at_most_all=True):
        return errors
    return [wrong(path, value, "cannot be 0")] if value is not None and is_zero(value) else []


def _validate_selector(spec: Object) -> list[FieldError]:
    selector = spec.get("selector")
    if selector is None:
        return [required("spec.selector")]
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        return [wrong("spec.selector", selector, "empty selector is invalid for statefulset")]
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not selector_of(selector).matches(labels):
        return [wrong("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")]
    return []


def not_negative(path: str, value: int | None) -> list[FieldError]:
    """The error of a count below zero; an absent one is fine."""
    if value is None or value >= 0:
        return []
    return [wrong(path, value, "must be greater than or equal to 0")]

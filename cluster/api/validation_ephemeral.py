"""Validation of ephemeral containers (core validation.go: validateEphemeralContainers and its update).

They may only be added, one by one, to a pod that exists: none in a new pod or a template, none changed or removed
afterwards. A debugging container is nothing that a pod relies on, so whatever serves that end (ports, probes, hooks,
resources) is refused.
"""

from __future__ import annotations

from petset.cluster.api.fields import FieldError, duplicate, forbidden
from petset.cluster.api.objects import Object
from petset.cluster.api.validation_workloads import validate_container

EPHEMERAL_CONTAINERS = "ephemeralcontainers"
"""The subresource that they are added through."""

_PATH = "spec.ephemeralContainers"
_ALLOWED_FIELDS = frozenset((
    "name", "image", "command", "args", "workingDir", "envFrom", "env", "volumeMounts", "volumeDevices",
    "terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy", "securityContext", "stdin", "stdinOnce",
    "tty", "targetContainerName",
))  # fmt: skip


def validate_no_ephemeral_containers(spec: Object) -> list[FieldError]:
    """Of a new pod."""
    return [forbidden(_PATH, "cannot be set on create")] if spec.get("ephemeralContainers") else []


def validate_ephemeral_containers(new: Object, old: Object) -> list[FieldError]:
    """Of a pod that they are added to."""
    spec = new["spec"]
    others = {each["name"] for field in ("initContainers", "containers") for each in spec.get(field) or ()}
    volumes = {str(each["name"]) for each in spec.get("volumes") or ()}
    errors: list[FieldError] = []
    names: set[str] = set()
    for number, container in enumerate(spec.get("ephemeralContainers") or ()):
        path = f"{_PATH}[{number}]"
        errors += validate_container(container, path, volumes=volumes, names=names)
        errors += _validate_one(container, path, others=others)
    return errors or _validate_kept(new, old)


def _validate_one(container: Object, path: str, *, others: set[str]) -> list[FieldError]:
    errors = []
    if container.get("name") in others:
        errors.append(duplicate(f"{path}.name", container["name"]))
    target = container.get("targetContainerName") or ""
    if target and target not in others:
        errors.append(FieldError("FieldValueNotFound", f"{path}.targetContainerName", f'Not found: "{target}"'))
    for field, value in container.items():
        if value and field not in _ALLOWED_FIELDS:
            errors.append(forbidden(f"{path}.{field}", "cannot be set for an Ephemeral Container"))
    for number, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("subPath") or mount.get("subPathExpr"):
            where = f"{path}.volumeMounts[{number}].subPath"
            errors.append(forbidden(where, "cannot be set for an Ephemeral Container"))
    return errors


def _validate_kept(new: Object, old: Object) -> list[FieldError]:
    """The order does not matter: a patch does not keep it."""
    now = {each["name"]: each for each in new["spec"].get("ephemeralContainers") or ()}
    errors = []
    for container in old["spec"].get("ephemeralContainers") or ():
        name = container["name"]
        if name not in now:
            errors.append(forbidden(_PATH, f'existing ephemeral containers "{name}" may not be removed\n'))
        elif now[name] != container:
            errors.append(forbidden(_PATH, f'existing ephemeral containers "{name}" may not be changed\n'))
    return errors

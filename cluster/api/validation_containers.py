"""Rules inside one container: resources, environment, probes, where volumes go (core validation.go, validateContainer).

Quantities are judged here and not by the schema, which takes them for plain texts: Kubernetes refuses one that is none
already while decoding (400), here it is an invalid field (422) with the same text.
"""

from __future__ import annotations

from fractions import Fraction

from petset.cluster.api.fields import FieldError, not_supported, required, wrong
from petset.cluster.api.objects import Object
from petset.cluster.api.quantities import parse_quantity

_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_ENV_NAME_TEXT = "a valid environment variable name must consist only of printable ASCII characters other than '='"


def validate_contents(container: Object, path: str) -> list[FieldError]:
    """Everything inside a container but its name, image and ports."""
    errors = _resources(container.get("resources") or {}, f"{path}.resources")
    for number, variable in enumerate(container.get("env") or ()):
        errors += _variable(variable.get("name", ""), f"{path}.env[{number}].name")
    for number, mount in enumerate(container.get("volumeMounts") or ()):
        errors += _mount(mount, f"{path}.volumeMounts[{number}]")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(probe) is not None and not any(container[probe].get(each) for each in _HANDLERS):
            errors.append(required(f"{path}.{probe}", "must specify a handler type"))
    policy = container.get("imagePullPolicy")
    if policy and policy not in _PULL_POLICIES:
        errors.append(not_supported(f"{path}.imagePullPolicy", policy, _PULL_POLICIES))
    return errors


def _resources(resources: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    amounts: dict[str, dict[str, Fraction]] = {"limits": {}, "requests": {}}
    for field, known in amounts.items():
        for name, text in (resources.get(field) or {}).items():
            try:
                known[name] = parse_quantity(text)
            except ValueError as error:
                errors.append(wrong(f"{path}.{field}[{name}]", text, str(error)))
                continue
            if known[name] < 0:
                errors.append(wrong(f"{path}.{field}[{name}]", text, "must be greater than or equal to 0"))
    for name, least in amounts["requests"].items():
        if least > amounts["limits"].get(name, least):
            detail = f"must be less than or equal to {name} limit of {resources['limits'][name]}"
            errors.append(wrong(f"{path}.requests", resources["requests"][name], detail))
    return errors


def _variable(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    if "=" in name or not (name.isascii() and name.isprintable()):
        return [wrong(path, name, _ENV_NAME_TEXT)]
    return []


def _mount(mount: Object, path: str) -> list[FieldError]:
    errors = [] if mount.get("mountPath") else [required(f"{path}.mountPath")]
    for field in ("subPath", "subPathExpr"):
        inner = mount.get(field) or ""
        if inner.startswith("/"):
            errors.append(wrong(f"{path}.{field}", inner, "must be a relative path"))
        elif ".." in inner.split("/"):
            errors.append(wrong(f"{path}.{field}", inner, "must not contain '..'"))
    return errors

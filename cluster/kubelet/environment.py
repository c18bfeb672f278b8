"""A container's environment, command and mounts from its spec and the objects that the spec refers to (pure).

    services ─▶ envFrom ─▶ env, in order; later ones win, `$(NAME)` sees what came before ─▶ command, args, subPathExpr

`$(NAME)` is replaced where NAME is known, stays literally where it is not, and `$$` gives `$` (third_party/forked/
golang/expansion). A reference to a missing object or key raises `ConfigError`, which becomes the container's
`CreateContainerConfigError`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any

from petset.cluster.api.cri import ContainerSpec, Mount
from petset.cluster.api.objects import Object, name_of, namespace_of
from petset.cluster.kubelet.downward import ConfigError, PodFacts, field_value, resource_field
from petset.cluster.kubelet.non_root import security_context

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)|\$")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


Sources = Mapping[tuple[str, str], Object]
"""(kind, name) -> object, of the pod's namespace; a missing object is absent."""


def container_spec(
    pod: Object, container: Object, *, attempt: int, sources: Sources, services: Iterable[Object], facts: PodFacts
) -> ContainerSpec:
    """The container to start. `services` are those whose addresses go into the environment. Raises ConfigError."""
    env = container_environment(pod, container, sources=sources, services=services, facts=facts)
    return ContainerSpec(
        name=container["name"],
        image=container["image"],
        attempt=attempt,
        command=tuple(expand(word, env) for word in container.get("command") or ()),
        args=tuple(expand(word, env) for word in container.get("args") or ()),
        env=env,
        working_dir=container.get("workingDir") or "",
        user=_user(pod, container),
        mounts=tuple(_mount(each, env) for each in container.get("volumeMounts") or ()),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        target=container.get("targetContainerName") or "",
        termination_log=container.get("terminationMessagePath") or "",
        message_from_log=container.get("terminationMessagePolicy") == "FallbackToLogsOnError",
    )


def container_environment(
    pod: Object, container: Object, *, sources: Sources, services: Iterable[Object], facts: PodFacts
) -> dict[str, str]:
    """The variables of a container. Raises ConfigError."""
    env: dict[str, str] = {"HOSTNAME": facts.hostname}
    for service in services:
        env |= service_variables(service)
    for each in container.get("envFrom") or ():
        env |= _from_source(each, sources=sources, namespace=namespace_of(pod))
    declared: dict[str, str] = {}
    for each in container.get("env") or ():
        name = str(each["name"])
        if "valueFrom" in each:
            value = _from_reference(each["valueFrom"], pod=pod, container=container, sources=sources, facts=facts)
            if value is None:
                continue
        else:
            value = expand(str(each.get("value") or ""), env | declared)
        declared[name] = value
    return env | declared


def expand(text: str, env: Mapping[str, str]) -> str:
    """`text` with its `$(NAME)` references replaced."""

    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0]) if match[1] is not None else match[0]

    return _REFERENCE.sub(replacement, text)


def service_variables(service: Object) -> dict[str, str]:
    """The variables of one service, in both old styles (envvars.FromServices); none for a headless one."""
    spec = service.get("spec") or {}
    address, ports = spec.get("clusterIP"), spec.get("ports") or ()
    if not address or address == "None" or not ports:
        return {}
    prefix = name_of(service).upper().replace("-", "_")
    env = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            env[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    for number, port in enumerate(ports):
        protocol = port.get("protocol", "TCP")
        url = f"{protocol.lower()}://{address}:{port['port']}"
        if number == 0:
            env[f"{prefix}_PORT"] = url
        stem = f"{prefix}_PORT_{port['port']}_{protocol}"
        env |= {
            stem: url,
            f"{stem}_PROTO": protocol.lower(),
            f"{stem}_PORT": str(port["port"]),
            f"{stem}_ADDR": address,
        }
    return env


def data_of(obj: Object) -> dict[str, bytes]:
    """The entries of a ConfigMap or Secret as bytes. Raises ConfigError when they are not base64."""
    encoded = obj.get("data") or {} if obj.get("kind") == "Secret" else obj.get("binaryData") or {}
    plain = obj.get("stringData") or {} if obj.get("kind") == "Secret" else obj.get("data") or {}
    try:
        data = {key: base64.b64decode(value, validate=True) for key, value in encoded.items()}
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"{obj.get('kind')} {name_of(obj)} is not base64: {error}") from error
    return data | {key: str(value).encode() for key, value in plain.items()}


def _from_source(source: Object, *, sources: Sources, namespace: str) -> dict[str, str]:
    """All entries of the ConfigMap or Secret of one `envFrom`; names that no variable can have are left out."""
    kind = "ConfigMap" if "configMapRef" in source else "Secret"
    reference = source.get("configMapRef") or source.get("secretRef") or {}
    obj = _referenced(kind, reference, sources=sources)
    if obj is None:
        return {}
    prefix = source.get("prefix") or ""
    entries = {prefix + key: value.decode(errors="replace") for key, value in data_of(obj).items()}
    return {name: value for name, value in entries.items() if _ENV_NAME.fullmatch(name)}


def _from_reference(
    reference: Object, *, pod: Object, container: Object, sources: Sources, facts: PodFacts
) -> str | None:
    """The value of a `valueFrom`; None when an optional source is missing."""
    if field_ref := reference.get("fieldRef"):
        return field_value(pod, field_ref["fieldPath"], facts)
    if resource_ref := reference.get("resourceFieldRef"):
        return resource_field(pod, resource_ref, container=container, facts=facts)
    for field_name, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if key_ref := reference.get(field_name):
            obj = _referenced(kind, key_ref, sources=sources)
            data = data_of(obj) if obj else {}
            if key_ref["key"] in data:
                return data[key_ref["key"]].decode(errors="replace")
            if key_ref.get("optional"):
                return None
            raise ConfigError(f"couldn't find key {key_ref['key']} in {kind} {namespace_of(pod)}/{key_ref['name']}")
    raise ConfigError(f"invalid valueFrom: {', '.join(reference)}")


def _referenced(kind: str, reference: Mapping[str, Any], *, sources: Sources) -> Object | None:
    obj = sources.get((kind, reference.get("name", "")))
    if obj is None and not reference.get("optional"):
        raise ConfigError(f'{kind.lower()} "{reference.get("name", "")}" not found')
    return obj


def _user(pod: Object, container: Object) -> str:
    """`runAsUser` and `runAsGroup`, the container's own or the pod's; "" when nobody names a user."""
    context = security_context(pod, container)
    if context.get("runAsUser") is None:
        return ""
    group = context.get("runAsGroup")
    return f"{context['runAsUser']}:{(context.get('fsGroup') or 0) if group is None else group}"


def _mount(mount: Object, env: Mapping[str, str]) -> Mount:
    sub_path = mount.get("subPath") or ""
    if expression := mount.get("subPathExpr"):
        sub_path = expand(expression, env)
        if unknown := [name for name in _REFERENCE.findall(expression) if name and name not in env]:
            raise ConfigError(f'missing value for "{unknown[0]}"')
    return Mount(
        volume=mount["name"],
        target=mount["mountPath"],
        sub_path=sub_path,
        read_only=bool(mount.get("readOnly")),
    )

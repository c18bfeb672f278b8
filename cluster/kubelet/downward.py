"""The downward API: what a pod may learn about itself (pure; fieldpath and resource/helpers.go)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from petset.cluster.api.objects import Object, annotations_of, labels_of, name_of, namespace_of, uid_of
from petset.cluster.api.quantities import parse_quantity
from petset.cluster.kubelet.facts import every_container

_QUOTED_PATH = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")


class ConfigError(Exception):
    """The container cannot be described yet; the message is Kubernetes' own."""


@dataclass(frozen=True)
class PodFacts:
    """What the node knows of a pod and hands to its containers. `allocatable` bounds containers without limits."""

    hostname: str
    pod_ip: str
    host_ip: str
    node_name: str
    allocatable: Mapping[str, str] = field(default_factory=dict)


def field_value(pod: Object, path: str, facts: PodFacts) -> str:
    """What a `fieldRef` stands for. Raises ConfigError for a path that pods do not have."""
    if match := _QUOTED_PATH.fullmatch(path):
        values = labels_of(pod) if match[1] == "labels" else annotations_of(pod)
        return values.get(match[2], "")
    known = {
        "metadata.name": name_of(pod),
        "metadata.namespace": namespace_of(pod),
        "metadata.uid": uid_of(pod),
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName") or "default",
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
        "metadata.labels": formatted_map(labels_of(pod)),
        "metadata.annotations": formatted_map(annotations_of(pod)),
    }
    if path not in known:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return known[path]


def formatted_map(values: Mapping[str, str]) -> str:
    """Labels or annotations as the downward API writes them: `key="value"`, one per line, sorted."""
    return "\n".join(f'{key}="{_escaped(value)}"' for key, value in sorted(values.items()))


def resource_field(pod: Object, reference: Object, *, facts: PodFacts, container: Object | None = None) -> str:
    """What a `resourceFieldRef` such as `limits.cpu` stands for: divided by its divisor and rounded up.

    `containerName` names another container. A container without that limit may use all that its node offers; without
    that request it asks for 0. Raises ConfigError.
    """
    if wanted := reference.get("containerName"):
        container = next((each for each in every_container(pod) if each["name"] == wanted), None)
    if container is None:
        raise ConfigError(f"container {reference.get('containerName', '')} not found")
    side, _, name = str(reference["resource"]).partition(".")
    if side not in ("limits", "requests") or not name:
        raise ConfigError(f"unsupported container resource : {reference['resource']}")
    present = (container.get("resources") or {}).get(side) or {}
    amount = present.get(name, facts.allocatable.get(name, "0") if side == "limits" else "0")
    try:
        return str(math.ceil(parse_quantity(amount) / (parse_quantity(reference.get("divisor") or "0") or 1)))
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

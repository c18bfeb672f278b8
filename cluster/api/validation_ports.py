"""Rules of ports: a container's and a Service's (core validation.go: validateContainerPorts, validateServicePort).

The two name their ports by different rules: a Service's is a label of DNS, which its SRV records hold; a container's
is short, and has a letter, so that a `targetPort` is either a name or a number.
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.cluster.api.fields import FieldError, duplicate, not_supported, required, wrong
from petset.cluster.api.objects import Object
from petset.cluster.api.validation_names import label_faults, port_name_faults, wrong_name

_PROTOCOLS = ("SCTP", "TCP", "UDP")


def container_port_errors(ports: Sequence[Object], path: str) -> list[FieldError]:
    """Of the ports of one container; names are its own, other containers may have the same."""
    errors: list[FieldError] = []
    names: set[str] = set()
    for number, port in enumerate(ports):
        where = f"{path}[{number}]"
        if name := port.get("name"):
            faulty = wrong_name(f"{where}.name", name, port_name_faults)
            errors += faulty or ([duplicate(f"{where}.name", name)] if name in names else [])
            names.add(name)
        if not port.get("containerPort"):
            errors.append(required(f"{where}.containerPort"))
        else:
            errors += _number_errors(f"{where}.containerPort", port["containerPort"])
        if port.get("hostPort"):
            errors += _number_errors(f"{where}.hostPort", port["hostPort"])
        errors += _protocol_errors(port, where)
    return errors


def service_port_errors(ports: Sequence[Object], path: str) -> list[FieldError]:
    """Of the ports of a Service; where there are several, each needs a name."""
    errors: list[FieldError] = []
    names: set[str] = set()
    for number, port in enumerate(ports):
        where = f"{path}[{number}]"
        if name := port.get("name"):
            errors += wrong_name(f"{where}.name", name, label_faults)
            errors += [duplicate(f"{where}.name", name)] if name in names else []
            names.add(name)
        elif len(ports) > 1:
            errors.append(required(f"{where}.name"))
        errors += _number_errors(f"{where}.port", port.get("port") or 0)
        errors += _protocol_errors(port, where)
        target = port.get("targetPort") or 0
        if isinstance(target, str):
            errors += wrong_name(f"{where}.targetPort", target, port_name_faults)
        else:
            errors += _number_errors(f"{where}.targetPort", target)
    return errors


def _number_errors(path: str, number: int) -> list[FieldError]:
    if 1 <= number <= 65535:
        return []
    return [wrong(path, number, "must be between 1 and 65535, inclusive")]


def _protocol_errors(port: Object, path: str) -> list[FieldError]:
    protocol = port.get("protocol")
    return [] if protocol in _PROTOCOLS else [not_supported(f"{path}.protocol", protocol, _PROTOCOLS)]

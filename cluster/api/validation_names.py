"""What a name may look like: labels and subdomains of DNS, names of Services and of ports (apimachinery's
util/validation, whose words these are).

Each `…_faults` answers what is wrong with a name, one text for each rule that it breaks; nothing for a good one. Names
that must be given at all are demanded by whoever knows the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from petset.cluster.api.fields import FieldError, wrong

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_SERVICE = r"[a-z]([-a-z0-9]*[a-z0-9])?"

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_SERVICE_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    f"and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '{_SERVICE}')"
)
_MAX_LABEL = 63
_MAX_SUBDOMAIN = 253
_MAX_PORT_NAME = 15


def wrong_name(path: str, name: str, faults_of: Callable[[str], list[str]]) -> list[FieldError]:
    """The errors of a name in a field."""
    return [wrong(path, name, fault) for fault in faults_of(name)]


def label_faults(name: str) -> list[str]:
    """IsDNS1123Label: of namespaces, StatefulSets, containers, volumes, ports of Services."""
    faults = _too_long(name, _MAX_LABEL)
    if not re.fullmatch(_LABEL, name):
        faults.append("must not contain dots" if re.fullmatch(_SUBDOMAIN, name) else _LABEL_TEXT)
    return faults


def subdomain_faults(name: str) -> list[str]:
    """IsDNS1123Subdomain: of most objects."""
    faults = _too_long(name, _MAX_SUBDOMAIN)
    return faults if re.fullmatch(_SUBDOMAIN, name) else [*faults, _SUBDOMAIN_TEXT]


def service_faults(name: str) -> list[str]:
    """IsDNS1035Label: of Services."""
    faults = _too_long(name, _MAX_LABEL)
    return faults if re.fullmatch(_SERVICE, name) else [*faults, _SERVICE_TEXT]


def port_name_faults(name: str) -> list[str]:
    """IsValidPortName: of a container's ports (service names of RFC 6335, in lower case)."""
    faults = _too_long(name, _MAX_PORT_NAME)
    if not re.fullmatch(r"[-a-z0-9]+", name):
        faults.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", name):
        faults.append("must contain at least one letter (a-z)")
    if "--" in name:
        faults.append("must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        faults.append("must not begin or end with a hyphen")
    return faults


def _too_long(name: str, longest: int) -> list[str]:
    return [f"must be no more than {longest} characters"] if len(name) > longest else []

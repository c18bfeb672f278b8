"""What a Service's `clusterIP`, `clusterIPs` and `ipFamilies` must say of one another (pure).

Clients name the singular alone, as of old, or both; the plural alone is refused, for whoever knows it must use both
(ValidateServiceClusterIPsRelatedFields in core/validation/validation.go). Which addresses and families this cluster
has is not asked here.
"""

from __future__ import annotations

from ipaddress import ip_address

from petset.cluster.api.fields import FieldError, forbidden, required, wrong
from petset.cluster.api.objects import Object

MAX_CLUSTER_IPS = 2
HEADLESS = "None"
_PATH = "spec.clusterIPs"


def cluster_ip_errors(spec: Object) -> list[FieldError]:
    """Of a spec whose clusterIPs are filled in from its clusterIP; nothing of an ExternalName."""
    ips = spec.get("clusterIPs") or []
    errors = _disagreement(spec.get("clusterIP") or "", ips)
    misplaced = HEADLESS in ips[:1] and len(ips) > 1
    if misplaced:
        errors.append(wrong(_PATH, ips, "'None' must be the first and only value"))
    families = [family_of(each) for each in ips]
    for number, (address, family) in enumerate(zip(ips, families, strict=True)):
        if not family and (number, address) != (0, HEADLESS):
            text = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            errors.append(wrong(f"{_PATH}[{number}]", address, text))
            misplaced = True
    if len(ips) > MAX_CLUSTER_IPS:
        errors.append(wrong(_PATH, ips, f"may only hold up to {MAX_CLUSTER_IPS} values"))
    if misplaced or ips == [HEADLESS]:
        return errors
    if len(ips) > 1 and sorted(families) != ["IPv4", "IPv6"]:
        errors.append(wrong(_PATH, ips, "may specify no more than one IP for each IP family"))
    for number, (address, wanted) in enumerate(zip(ips, spec.get("ipFamilies") or (), strict=False)):
        if families[number] != wanted:
            text = f"expected an {wanted} value as indicated by `ipFamilies[{number}]`"
            errors.append(wrong(f"{_PATH}[{number}]", address, text))
    return errors


def external_name_errors(spec: Object) -> list[FieldError]:
    """An ExternalName has no addresses and no families."""
    given = {"clusterIPs": spec.get("clusterIP") or spec.get("clusterIPs")}
    given |= {field: spec.get(field) for field in ("ipFamilies", "ipFamilyPolicy")}
    text = "may not be set for ExternalName services"
    return [forbidden(f"spec.{field}", text) for field, value in given.items() if value]


def family_of(address: str) -> str:
    """`IPv4` or `IPv6`; "" for what is no address."""
    try:
        return f"IPv{ip_address(address).version}"
    except ValueError:
        return ""


def _disagreement(singular: str, plural: list[str]) -> list[FieldError]:
    if not singular:
        return [wrong(_PATH, plural, "must be empty when `clusterIP` is not specified")] if plural else []
    if not plural:
        return [required(_PATH)]
    return [] if plural[0] == singular else [wrong(_PATH, plural, "first value must match `clusterIP`")]

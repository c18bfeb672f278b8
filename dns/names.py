"""What a query name asks for: labels and the cluster's zone in, one request value out. Pure.

    kubia-0.kubia.default.svc.cluster.local        EndpointName(default, kubia, kubia-0)
    _http._tcp.kubia.default.svc.cluster.local     PortName(default, kubia, http, tcp)
    kubia.default.svc.cluster.local                ServiceName(default, kubia)
    default.svc.cluster.local                      NamespaceName(default)
    10-244-1-2.default.pod.cluster.local           PodName(default, 10.244.1.2)
    2.1.244.10.in-addr.arpa                        AddressName(10.244.1.2)

The shape of a name says only what it would be; whether it exists is decided in `answers`. A name is a tuple of
lower-case labels without the root, because a label may hold any byte, a dot too. Shapes follow Kubernetes' DNS
specification 1.1.0 and CoreDNS' kubernetes plugin: underscores of `_port._proto` may be missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

Name = tuple[str, ...]
"""Labels from left to right, lower case, without the root: `("kubia", "default", "svc", "cluster", "local")`."""

MAX_LABEL_BYTES = 63
MAX_NAME_BYTES = 255
MAX_ZONE_CHARACTERS = 57
"""What 255 bytes leave for the zone when an endpoint, a service and a namespace have 63 letters each."""

REVERSE_V4: Name = ("in-addr", "arpa")
REVERSE_V6: Name = ("ip6", "arpa")

_DASHED = re.compile(r"[0-9a-f-]+")
_OCTET = re.compile(r"0|[1-9][0-9]{0,2}")
_NIBBLE = re.compile(r"[0-9a-f]")


@dataclass(frozen=True, slots=True)
class ZoneApex:
    """A served zone itself."""

    zone: Name


@dataclass(frozen=True, slots=True)
class NameServer:
    """`ns.dns.ZONE`, the name server that the zone's SOA names."""

    zone: Name


@dataclass(frozen=True, slots=True)
class Version:
    """`dns-version.Z`."""


@dataclass(frozen=True, slots=True)
class EmptyNode:
    """A name that exists only because others lie below it: `svc.Z`, `pod.Z`, `dns.Z`, `10.in-addr.arpa`."""


@dataclass(frozen=True, slots=True)
class NamespaceName:
    """`NS.svc.Z` or `NS.pod.Z`."""

    namespace: str


@dataclass(frozen=True, slots=True)
class ServiceName:
    namespace: str
    service: str


@dataclass(frozen=True, slots=True)
class EndpointName:
    """`HOST.SVC.NS.svc.Z`."""

    namespace: str
    service: str
    host: str


@dataclass(frozen=True, slots=True)
class PortName:
    """`_PORT._PROTO.SVC.NS.svc.Z`; port and protocol are without their underscores."""

    namespace: str
    service: str
    port: str
    protocol: str


@dataclass(frozen=True, slots=True)
class PodName:
    """`A-B-C-D.NS.pod.Z`; the address in its usual form."""

    namespace: str
    address: str


@dataclass(frozen=True, slots=True)
class AddressName:
    """A whole reversed address: the owner of PTR records."""

    address: str


@dataclass(frozen=True, slots=True)
class Nonsense:
    """Inside a served zone, but no name of this shape ever exists."""


@dataclass(frozen=True, slots=True)
class Outside:
    """In no served zone."""


Request = (
    ZoneApex | NameServer | Version | EmptyNode | NamespaceName | ServiceName | EndpointName | PortName | PodName
    | AddressName | Nonsense | Outside
)  # fmt: skip


def name_from_text(text: str) -> Name | None:
    """The labels of `Kubia.default.` in lower case; None for what no packet can carry. The root is the empty name."""
    labels = () if text in ("", ".") else tuple(text.removesuffix(".").lower().split("."))
    if not all(is_label(label) for label in labels) or wire_length(labels) > MAX_NAME_BYTES:
        return None
    return labels


def is_label(text: str) -> bool:
    """Whether this can be one label of a name that Kubernetes objects give."""
    return 0 < len(text) <= MAX_LABEL_BYTES and text.isascii() and text.isprintable() and "." not in text


def wire_length(name: Name) -> int:
    """Bytes of the name in a packet, uncompressed."""
    return sum(len(label) + 1 for label in name) + 1


def cluster_zone(domain: str) -> Name:
    """The zone of a cluster domain such as `cluster.local`. Raises ValueError for one that cannot work."""
    zone = name_from_text(domain)
    if not zone or len(domain) > MAX_ZONE_CHARACTERS:
        raise ValueError(f"cluster domain {domain!r}: give a domain name of 1 to {MAX_ZONE_CHARACTERS} letters")
    return zone


def usual_address(text: str) -> str | None:
    """The one form in which an address is compared and printed (RFC 5952 for IPv6); None if it is no address."""
    try:
        return str(IPv6Address(text)) if ":" in text else str(IPv4Address(text))
    except AddressValueError:
        return None


def zone_of(name: Name, zone: Name) -> Name | None:
    """The served zone that holds this name: the cluster's, a reverse zone, or none."""
    return next((each for each in (zone, REVERSE_V4, REVERSE_V6) if name[-len(each) :] == each), None)


def parse(name: Name, zone: Name) -> Request:
    """What `name` asks for in a cluster whose domain is `zone`."""
    served = zone_of(name, zone)
    if served is None:
        return Outside()
    match name[: -len(served)]:
        case ():
            return ZoneApex(served)
        case ("ns", "dns"):
            return NameServer(served)
        case ("dns",):
            return EmptyNode()
        case rest if served == zone:
            return _parse_in_cluster(rest)
        case rest if served == REVERSE_V4:
            return _parse_reverse_v4(rest)
        case rest:
            return _parse_reverse_v6(rest)


def _parse_in_cluster(rest: Name) -> Request:
    match rest:
        case ("dns-version",):
            return Version()
        case ("svc" | "pod",):
            return EmptyNode()
        case (namespace, "svc" | "pod"):
            return NamespaceName(namespace)
        case (service, namespace, "svc"):
            return ServiceName(namespace, service)
        case (dashed, namespace, "pod"):
            address = _undashed(dashed)
            return Nonsense() if address is None else PodName(namespace, address)
        case (host, service, namespace, "svc"):
            return EndpointName(namespace, service, host)
        case (port, protocol, service, namespace, "svc"):
            port, protocol = port.removeprefix("_"), protocol.removeprefix("_")
            # An unnamed port has no name of its own, not even `_._tcp`.
            return PortName(namespace, service, port, protocol) if port and protocol else Nonsense()
        case _:
            return Nonsense()


def _undashed(label: str) -> str | None:
    """`10-244-1-2` is IPv4, any other number of dashes IPv6 (`fd00--1`)."""
    if not _DASHED.fullmatch(label):
        return None
    is_v4 = label.count("-") == 3 and "--" not in label
    return usual_address(label.replace("-", "." if is_v4 else ":"))


def _parse_reverse_v4(rest: Name) -> Request:
    if len(rest) > 4 or not all(_OCTET.fullmatch(label) and int(label) < 256 for label in rest):
        return Nonsense()
    # The inside of the reverse tree counts as existing: resolvers that ask label by label must not stop there.
    return AddressName(".".join(reversed(rest))) if len(rest) == 4 else EmptyNode()


def _parse_reverse_v6(rest: Name) -> Request:
    if len(rest) > 32 or not all(_NIBBLE.fullmatch(label) for label in rest):
        return Nonsense()
    return AddressName(str(IPv6Address(int("".join(reversed(rest)), 16)))) if len(rest) == 32 else EmptyNode()

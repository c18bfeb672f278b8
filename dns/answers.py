"""What the cluster's DNS answers: a (name, type) and the directory in, rcode and records out. Pure.

    name ──parse──▶ Request ──look up──▶ Found(records) ──▶ NOERROR + records
                                         Found()        ──▶ NODATA: NOERROR, empty, SOA; the name exists
                                         None           ──▶ NXDOMAIN + SOA; no record of any type has this name,
                                                            SERVFAIL + SOA until the directory is synced

Rules: Kubernetes DNS specification 1.1.0, and CoreDNS 1.14 (plugin/kubernetes, pods insecure) where the specification
is silent. Where CoreDNS breaks DNS itself (NXDOMAIN for a name that has other types, or names below it), the RFCs
win. An answer depends only on the lower-case name, the type and what it read in the directory; the SOA's serial numbers
the state that it was made from.

A name outside the served zones is REFUSED (forwarder.py takes such questions before, when there is somebody to ask).
An ExternalName that leaves the zones is NODATA (outward.py takes such questions before, likewise), as CoreDNS answers
when its upstream is silent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from petset.dns.directory import Endpoint, Lookup, Port, Service
from petset.dns.names import (
    AddressName,
    EmptyNode,
    EndpointName,
    Name,
    NameServer,
    NamespaceName,
    PodName,
    PortName,
    ServiceName,
    Version,
    ZoneApex,
    parse,
    zone_of,
)
from petset.dns.records import AAAA, CNAME, NS, PTR, SOA, SRV, TXT, A, Answer, Rcode, Record, Type

SPECIFICATION_VERSION = "1.1.0"
VERSION_TTL_SECONDS = 28_800
MAX_SOA_TTL_SECONDS = 300
MAX_ALIASES = 10
"""ExternalNames followed one after another; a longer chain, like a loop, is NODATA."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Who answers: the cluster's zone, the server's own addresses, and how long an answer may be kept.

    `negative_ttl_seconds` is for NXDOMAIN and NODATA: the SOA's minimum, and its own time to live up to 300 s.
    """

    zone: Name
    addresses: tuple[str, ...]
    ttl_seconds: int
    negative_ttl_seconds: int


@dataclass(frozen=True, slots=True)
class Found:
    """The name exists; `records` are those of the asked type, none of them for NODATA."""

    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()


NO_DATA = Found()
NO_NAME: Found | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where something listens: the name that SRV targets, one address of it, and the ports there."""

    target: Name
    address: str
    ports: tuple[Port, ...]


class Answers:
    """The rules, applied to one directory as it is at each question."""

    def __init__(self, directory: Lookup, authority: Authority) -> None:
        self._directory = directory
        self._authority = authority
        self._zone = authority.zone
        self._ttl_seconds = authority.ttl_seconds

    def answer(self, name: Name, type_: int) -> Answer:
        """The answer to a question of class IN. `name` is lower case; any type number is allowed."""
        zone = zone_of(name, self._zone)
        if zone is None:
            return Answer(Rcode.REFUSED, authoritative=False)
        found = self._find(name, type_)
        if found is None:
            rcode = Rcode.NXDOMAIN if self._directory.synced else Rcode.SERVFAIL
            return Answer(rcode, authority=(self._start_of_authority(zone),))
        if any(record.data.type == type_ for record in found.records):
            return Answer(Rcode.NOERROR, found.records, additional=found.additional)
        # NODATA, perhaps at the end of an alias (RFC 2308 section 2.2: the SOA says for how long).
        return Answer(Rcode.NOERROR, found.records, authority=(self._start_of_authority(zone),))

    def outward(self, name: Name) -> tuple[Record, ...]:
        """The CNAMEs of an ExternalName that leads out of the served zones; () for every other name."""
        target = self._alias_of(name)
        aliases = self._aliases(name, target) if target else ()
        return aliases if aliases and zone_of(_target(aliases), self._zone) is None else ()

    def _find(self, name: Name, type_: int) -> Found | None:
        match parse(name, self._zone):
            case ServiceName(namespace, service):
                return self._find_service(name, type_, self._directory.service(namespace, service))
            case EndpointName(namespace, service, host):
                return self._find_endpoint(name, type_, host, self._directory.service(namespace, service))
            case PortName() as request:
                return self._find_port(name, type_, request)
            case NamespaceName(namespace):
                # NODATA for a namespace that exists: services and pods lie below it.
                return NO_DATA if self._directory.has_namespace(namespace) else NO_NAME
            case PodName(namespace, address):
                # Pods mode `insecure`: any address is a name in a namespace that exists, whether a pod has it or not.
                exists = self._directory.has_namespace(namespace)
                return self._addresses(name, type_, [address]) if exists else NO_NAME
            case AddressName(address):
                return self._find_pointer(name, type_, address)
            case ZoneApex(zone):
                return self._find_apex(zone, type_)
            case NameServer():
                return self._addresses(name, type_, [each for _, each in self._name_servers(name)])
            case Version():
                text = Record(name, VERSION_TTL_SECONDS, TXT(SPECIFICATION_VERSION))
                return Found((text,)) if type_ == Type.TXT else NO_DATA
            case EmptyNode():
                # NODATA: names lie below it (RFC 8020 forbids NXDOMAIN).
                return NO_DATA
        return NO_NAME  # Nonsense: no name of this shape exists. (Outside never comes here.)

    def _find_service(self, name: Name, type_: int, service: Service | None) -> Found | None:
        if service is None:
            return NO_NAME
        if service.is_external:
            return self._find_alias(name, type_, service.alias)
        places = self._places(service)
        # A headless service without a ready endpoint has no name (specification 2.4.1); a cluster IP needs none.
        if service.is_headless and not places:
            return NO_NAME
        return self._at(name, type_, places)

    def _find_endpoint(self, name: Name, type_: int, host: str, service: Service | None) -> Found | None:
        if service is None or service.is_external:
            return NO_NAME
        endpoints = self._directory.endpoints(service.namespace, service.name).by_host.get(host, ())
        if endpoints:
            return self._at(name, type_, self._endpoint_places(service, endpoints))
        # NODATA for `_tcp.SVC…` while some `_PORT._tcp.SVC…` exists below it (RFC 8020); CoreDNS: NXDOMAIN.
        protocol = host.removeprefix("_")
        ports = (port for place in self._places(service) for port in place.ports)
        return NO_DATA if any(port.name and port.protocol == protocol for port in ports) else NO_NAME

    def _find_port(self, name: Name, type_: int, request: PortName) -> Found | None:
        service = self._directory.service(request.namespace, request.service)
        if service is None or service.is_external:
            return NO_NAME
        asked = request.port, request.protocol
        places = [
            Place(place.target, place.address, ports)
            for place in self._places(service)
            if (ports := tuple(port for port in place.ports if (port.name, port.protocol) == asked))
        ]
        # NXDOMAIN when no port has this name, or only for another protocol.
        return self._at(name, type_, places) if places else NO_NAME

    def _find_alias(self, name: Name, type_: int, target: Name | None) -> Found | None:
        """An ExternalName: its CNAME, and for addresses what lies at the end of the chain."""
        if target is None:
            return NO_NAME  # An address, or no domain name: nothing to alias.
        if type_ == Type.CNAME:
            return Found((self._alias(name, target),))
        aliases = self._aliases(name, target) if type_ in (Type.A, Type.AAAA) else ()
        if not aliases:
            return NO_DATA
        end = _target(aliases)
        # NODATA, the CNAME dropped, for a target that nobody here can resolve.
        if zone_of(end, self._zone) is None:
            return NO_DATA
        found = self._find(end, type_)
        if found is None:
            return NO_DATA if self._directory.synced else NO_NAME
        return Found((*aliases, *found.records))

    def _aliases(self, name: Name, target: Name) -> tuple[Record, ...]:
        """The CNAMEs from a name to the first target that is no alias of ours; () for a loop, or as good as one."""
        aliases = [self._alias(name, target)]
        while (following := self._alias_of(target)) is not None:
            aliases.append(self._alias(target, following))
            target = following
            if len(aliases) > MAX_ALIASES:
                return ()
        return tuple(aliases)

    def _alias(self, name: Name, target: Name) -> Record:
        return Record(name, self._ttl_seconds, CNAME(target))

    def _alias_of(self, name: Name) -> Name | None:
        """The target, if this is the name of an ExternalName service."""
        match parse(name, self._zone):
            case ServiceName(namespace, service):
                found = self._directory.service(namespace, service)
                return found.alias if found else None
        return None

    def _find_pointer(self, name: Name, type_: int, address: str) -> Found | None:
        pointers = self._directory.pointers(address)
        if not pointers:
            return NO_NAME
        if type_ != Type.PTR:
            return NO_DATA
        return Found(tuple(Record(name, self._ttl_seconds, PTR(self._service_name(*each))) for each in pointers))

    def _find_apex(self, zone: Name, type_: int) -> Found:
        if type_ == Type.SOA:
            return Found((self._start_of_authority(zone),))
        if type_ != Type.NS:
            return NO_DATA
        servers = self._name_servers(("ns", "dns", *zone))
        records = dict.fromkeys(Record(zone, self._ttl_seconds, NS(target)) for target, _ in servers)
        glue = (self._address(target, address) for target, address in servers)
        return Found(tuple(records), tuple(dict.fromkeys(glue)))

    def _name_servers(self, default: Name) -> list[tuple[Name, str]]:
        """(name, address) of the services that have this server's own address, else `default` and that address."""
        pointers = (each for address in self._authority.addresses for each in self._directory.pointers(address))
        places = [place for pointer in pointers for place in self._pointed_places(pointer)]
        if not places:
            return [(default, address) for address in self._authority.addresses]
        return [(place.target, place.address) for place in places]

    def _pointed_places(self, pointer: Name) -> list[Place]:
        """Behind the name that a PTR record gives: one host of a headless service, else the service itself."""
        *host, name, namespace = pointer
        service = self._directory.service(namespace, name)
        if service is None:
            return []
        if not (service.is_headless and host):
            return self._places(service)
        return self._endpoint_places(service, self._directory.endpoints(namespace, name).by_host[host[0]])

    def _places(self, service: Service) -> list[Place]:
        """The cluster IPs, or a headless service's ready endpoints."""
        if service.is_headless:
            return self._endpoint_places(service, self._directory.endpoints(service.namespace, service.name).all)
        target = self._service_name(service.name, service.namespace)
        return [Place(target, address, service.ports) for address in service.addresses]

    def _endpoint_places(self, service: Service, endpoints: Iterable[Endpoint]) -> list[Place]:
        return [
            Place(self._service_name(each.host, service.name, service.namespace), each.address, each.ports)
            for each in endpoints
        ]

    def _at(self, name: Name, type_: int, places: list[Place]) -> Found:
        """The records of a name behind which these places are. Other types than addresses and SRV: NODATA."""
        if type_ == Type.SRV:
            return self._services(name, places)
        return self._addresses(name, type_, [place.address for place in places])

    def _services(self, name: Name, places: list[Place]) -> Found:
        """SRV records and their targets' addresses, both families. Weights as CoreDNS (plugin/backend_lookup.go)."""
        entries = [(place, port.number) for place in places for port in place.ports]
        # Entries that become one record still count: two families, or one number under two protocols.
        weight = max(1, 100 // len(entries)) if entries else 0
        records = (
            Record(name, self._ttl_seconds, SRV(priority=0, weight=weight, port=number, target=place.target))
            for place, number in entries
        )
        additional = (self._address(place.target, place.address) for place, _ in entries)
        return Found(tuple(dict.fromkeys(records)), tuple(dict.fromkeys(additional)))

    def _addresses(self, name: Name, type_: int, addresses: list[str]) -> Found:
        """Those of the asked family, each once. NODATA when there are only others, or for another type."""
        records = (self._address(name, address) for address in addresses)
        return Found(tuple(dict.fromkeys(record for record in records if record.data.type == type_)))

    def _address(self, name: Name, address: str) -> Record:
        return Record(name, self._ttl_seconds, AAAA(address) if ":" in address else A(address))

    def _service_name(self, *labels: str) -> Name:
        return (*labels, "svc", *self._zone)

    def _start_of_authority(self, zone: Name) -> Record:
        soa = SOA(
            name_server=("ns", "dns", *zone),
            mailbox=("hostmaster", *zone),
            serial=self._directory.serial % 2**32,
            refresh_seconds=7200,
            retry_seconds=1800,
            expire_seconds=86_400,
            minimum_seconds=self._authority.negative_ttl_seconds,
        )
        return Record(zone, min(self._authority.negative_ttl_seconds, MAX_SOA_TTL_SECONDS), soa)


def _target(aliases: tuple[Record, ...]) -> Name:
    """Where a chain of CNAMEs ends."""
    last = aliases[-1].data
    assert isinstance(last, CNAME)
    return last.target

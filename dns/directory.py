"""What DNS knows of the cluster: Namespaces, Services and EndpointSlices, cut down to the fields that names need. Pure.

    Namespace ─────▶ names that exist
    Service ───────▶ (namespace, service) ──▶ Service          cluster IP ──▶ services
    EndpointSlice ─▶ (namespace, service) ──▶ Endpoints        address ─────▶ slices

Fed object by object with `put` and `discard`, in any order: a slice may arrive before its service. Both answer the
*topics* that changed: what an answer may have read (a `Reader` notes it). An answer stays right until one of its
topics changes; writes that touch only fields that no query can see (a status, an annotation) change none. `serial`
counts the changes. Objects whose names no packet can carry are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from petset.cluster.api.objects import Object, labels_of, name_of, namespace_of
from petset.dns.names import Name, is_label, name_from_text, usual_address

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
KINDS = ("Namespace", "Service", "EndpointSlice")
"""The kinds that `put` and `discard` understand."""

Key = tuple[str, str]
"""(namespace, name)."""

Topic = tuple[str, ...]
"""One thing that an answer can depend on: ("namespace", NAME), ("service", NS, NAME) or ("address", ADDRESS)."""

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a service or slice; `name` ("" when unnamed) and `protocol` are lower case."""

    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class Service:
    """A Service. `alias` is an ExternalName's target, None also when that is an address or no domain name."""

    namespace: str
    name: str
    is_external: bool
    is_headless: bool
    alias: Name | None
    addresses: tuple[str, ...]
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a ready endpoint, with its one host name and its slice's ports."""

    host: str
    address: str
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """An EndpointSlice's ready endpoints; `service` is the key of the Service that it belongs to."""

    service: Key
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """All ready endpoints of one service, over its slices in the order of their names."""

    all: tuple[Endpoint, ...] = ()
    by_host: dict[str, list[Endpoint]] = field(default_factory=dict)


_NO_ENDPOINTS = Endpoints()


class Lookup(Protocol):
    """What answers read."""

    @property
    def synced(self) -> bool: ...
    @property
    def serial(self) -> int: ...
    def has_namespace(self, namespace: str) -> bool: ...
    def service(self, namespace: str, name: str) -> Service | None: ...
    def endpoints(self, namespace: str, service: str) -> Endpoints: ...
    def pointers(self, address: str) -> list[Name]: ...


class Directory:
    """The data behind every answer. `synced` is set by whoever feeds it, once everything was put in a first time."""

    def __init__(self) -> None:
        self.synced = False
        self.serial = 1
        self._namespaces: set[str] = set()
        self._services: dict[Key, Service] = {}
        self._slices: dict[Key, Slice] = {}
        self._slices_of: dict[Key, set[Key]] = defaultdict(set)
        self._endpoints: dict[Key, Endpoints] = {}
        self._services_at: dict[str, set[Key]] = defaultdict(set)
        self._slices_at: dict[str, set[Key]] = defaultdict(set)

    def put(self, obj: Object) -> set[Topic]:
        """Insert or replace an object of one of `KINDS`; what changed by it. Raises ValueError for another kind."""
        return self._set(obj, exists=True)

    def discard(self, obj: Object) -> set[Topic]:
        """Remove an object, if it is there; what changed by it. Raises ValueError for a kind not in `KINDS`."""
        return self._set(obj, exists=False)

    def has_namespace(self, namespace: str) -> bool:
        return namespace in self._namespaces

    def service(self, namespace: str, name: str) -> Service | None:
        return self._services.get((namespace, name))

    def endpoints(self, namespace: str, service: str) -> Endpoints:
        return self._endpoints.get((namespace, service), _NO_ENDPOINTS)

    def pointers(self, address: str) -> list[Name]:
        """Who has this address, as labels left of `svc.Z`: (service, namespace) or (host, service, namespace).

        A cluster IP wins over endpoints, of which there is one name per service (CoreDNS, plugin/kubernetes).
        """
        if keys := self._services_at.get(address):
            return [(name, namespace) for namespace, name in sorted(keys)]
        found: dict[Name, None] = {}
        for key in sorted(self._slices_at.get(address, ())):
            namespace, service = self._slices[key].service
            for endpoint in self._slices[key].endpoints:
                if endpoint.address == address:
                    found[endpoint.host, service, namespace] = None
        return list(found)

    def _set(self, obj: Object, *, exists: bool) -> set[Topic]:
        match obj.get("kind"):
            case "Namespace":
                changed = self._set_namespace(name_of(obj), exists=exists)
            case "Service":
                changed = self._set_service(_key(obj), _read_service(obj) if exists else None)
            case "EndpointSlice":
                changed = self._set_slice(_key(obj), _read_slice(obj) if exists else None)
            case kind:
                raise ValueError(f"DNS has no use for a {kind}")
        self.serial += bool(changed)
        return changed

    def _set_namespace(self, name: str, *, exists: bool) -> set[Topic]:
        if exists == (name in self._namespaces):
            return set()
        if exists:
            self._namespaces.add(name)
        else:
            self._namespaces.discard(name)
        return {("namespace", name)}

    def _set_service(self, key: Key, new: Service | None) -> set[Topic]:
        old = self._services.pop(key, None)
        if new is not None:
            self._services[key] = new
        if old == new:
            return set()
        was, now = old.addresses if old else (), new.addresses if new else ()
        _move(self._services_at, key, old=was, new=now)
        return {("service", *key), *(("address", each) for each in (*was, *now))}

    def _set_slice(self, key: Key, new: Slice | None) -> set[Topic]:
        old = self._slices.pop(key, None)
        if new is not None:
            self._slices[key] = new
        if old == new:
            return set()
        was, now = _addresses(old), _addresses(new)
        _move(self._slices_at, key, old=was, new=now)
        _move(self._slices_of, key, old=(old.service,) if old else (), new=(new.service,) if new else ())
        services = {each.service for each in (old, new) if each}
        for service in services:
            self._gather(service)
        return {("service", *each) for each in services} | {("address", each) for each in was | now}

    def _gather(self, service: Key) -> None:
        """Join a service's slices again."""
        keys = sorted(self._slices_of.get(service, ()))
        joined = tuple(endpoint for key in keys for endpoint in self._slices[key].endpoints)
        if not joined:
            self._endpoints.pop(service, None)
            return
        by_host: dict[str, list[Endpoint]] = {}
        for endpoint in joined:
            by_host.setdefault(endpoint.host, []).append(endpoint)
        self._endpoints[service] = Endpoints(joined, by_host)


class Reader:
    """A directory that notes the topics that were read, until they are taken."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._topics: set[Topic] = set()

    @property
    def synced(self) -> bool:
        return self._directory.synced

    @property
    def serial(self) -> int:
        """Not a topic: it only numbers the state that an answer was made from."""
        return self._directory.serial

    def has_namespace(self, namespace: str) -> bool:
        self._topics.add(("namespace", namespace))
        return self._directory.has_namespace(namespace)

    def service(self, namespace: str, name: str) -> Service | None:
        self._topics.add(("service", namespace, name))
        return self._directory.service(namespace, name)

    def endpoints(self, namespace: str, service: str) -> Endpoints:
        self._topics.add(("service", namespace, service))
        return self._directory.endpoints(namespace, service)

    def pointers(self, address: str) -> list[Name]:
        self._topics.add(("address", address))
        return self._directory.pointers(address)

    def take(self) -> frozenset[Topic]:
        """What was read since the last time."""
        topics = frozenset(self._topics)
        self._topics.clear()
        return topics


def dashed(address: str) -> str:
    """The host name of an endpoint without a hostname: `172-17-0-2`; a final dash gets a 0 (`fd00-244-6--0`)."""
    label = address.replace(".", "-").replace(":", "-")
    return f"{label}0" if label.endswith("-") else label


def _key(obj: Object) -> Key:
    return namespace_of(obj), name_of(obj)


def _addresses(slice_: Slice | None) -> set[str]:
    return {endpoint.address for endpoint in slice_.endpoints} if slice_ else set()


def _move(index: dict[T, set[Key]], key: Key, *, old: Collection[T], new: Collection[T]) -> None:
    """Take `key` out of the index under `old` and enter it under `new`; no empty set stays behind."""
    for place in old:
        index[place].discard(key)
        if not index[place]:
            del index[place]
    for place in new:
        index[place].add(key)


def _read_service(obj: Object) -> Service | None:
    """The Service as DNS sees it; None when no packet can carry its name."""
    namespace, name = _key(obj)
    if not (is_label(namespace) and is_label(name)):
        return None
    spec = obj.get("spec") or {}
    is_external = spec.get("type") == "ExternalName"
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
    return Service(
        namespace=namespace,
        name=name,
        is_external=is_external,
        is_headless=not is_external and addresses[0] == "None",
        alias=_read_alias(spec.get("externalName") or "") if is_external else None,
        addresses=() if is_external else _usual(addresses),
        ports=_read_ports(spec.get("ports")),
    )


def _read_alias(external_name: str) -> Name | None:
    """An address is no alias (CoreDNS leaves such a service without a name)."""
    return None if usual_address(external_name) else name_from_text(external_name) or None


def _read_slice(obj: Object) -> Slice | None:
    """The slice's ready endpoints; None for a slice without a service, or with endpoints that are domain names."""
    namespace, service = namespace_of(obj), labels_of(obj).get(SERVICE_NAME_LABEL, "")
    if not (is_label(namespace) and is_label(service)) or obj.get("addressType") == "FQDN":
        return None
    ports = _read_ports(obj.get("ports"))
    endpoints = (
        Endpoint(_host(each, address), address, ports)
        for each in obj.get("endpoints") or ()
        if _is_ready(each)
        for address in _usual(each.get("addresses") or ())
    )
    return Slice((namespace, service), tuple(endpoints))


def _is_ready(endpoint: dict[str, Any]) -> bool:
    """Unknown counts as ready (EndpointConditions); terminating endpoints are written as not ready."""
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _host(endpoint: dict[str, Any], address: str) -> str:
    hostname = (endpoint.get("hostname") or "").lower()
    return hostname if is_label(hostname) else dashed(address)


def _read_ports(ports: Sequence[dict[str, Any]] | None) -> tuple[Port, ...]:
    """A slice port without a number stands for all ports; it has no SRV record."""
    return tuple(
        Port((port.get("name") or "").lower(), (port.get("protocol") or "TCP").lower(), int(port["port"]))
        for port in ports or ()
        if port.get("port") is not None
    )


def _usual(addresses: Iterable[str]) -> tuple[str, ...]:
    """Those that are addresses, in their usual form."""
    return tuple(usual for text in addresses if (usual := usual_address(text)))

"""What a node's service proxy has to answer: Services and EndpointSlices in, frontends and their backends out. Pure.

    Service kubia (10.96.0.7, port 80 "http", nodePort 30080)     EndpointSlice kubia-x7k2p ("http" = 8080)
                          │                                                     │
    Frontend 10.96.0.7:80/TCP, 127.0.0.1:30080/TCP  ──▶  Backends 10.244.1.2:8080, 10.244.2.2:8080

A frontend without backends is left out: nobody listens there, and the kernel refuses its clients at once, which is
what kube-proxy's REJECT rule does. Rules (kube-proxy's topology.go and servicechangetracker.go):

- an endpoint counts when its condition `ready` is true or unknown; when a frontend has none, those that are `serving`
  while they terminate take over, so that the last pod of a rollout still finishes its work;
- cluster IPs follow `internalTrafficPolicy`, node ports and load balancer addresses `externalTrafficPolicy`: `Local`
  leaves only endpoints on this node;
- slice and service ports belong together by name and protocol.

A cluster IP that an endpoint has itself (kube-dns) is left to that one: whoever answered on it would stand in its way.

Left out: IPv6 and FQDN slices, SCTP, externalIPs, topology hints, health check node ports, source ranges.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from petset.cluster.api.objects import Object, labels_of, name_of, namespace_of

SERVICE_NAME = "kubernetes.io/service-name"
KINDS = ("Service", "EndpointSlice")
DEFAULT_AFFINITY_SECONDS = 10_800
MAX_TRIES = 4
"""How many endpoints one connection may try before it is given up (the userspace kube-proxy's number)."""

Protocol = Literal["TCP", "UDP"]
Key = tuple[str, str]
"""(namespace, name)."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where a connection can be sent."""

    address: str
    port: int


@dataclass(frozen=True, slots=True, order=True)
class Frontend:
    """Where clients connect to."""

    address: str
    port: int
    protocol: Protocol

    def __str__(self) -> str:
        return f"{self.address}:{self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Backends:
    """At least one endpoint, sorted, and how a frontend sends clients there."""

    endpoints: tuple[Endpoint, ...]
    affinity_seconds: int = 0
    """How long a silent client keeps its endpoint (sessionAffinity ClientIP); 0: each connection may go elsewhere."""
    is_from_outside: bool = False
    """Any node sends on what comes from outside of the cluster: answers must come back through the same node."""

    @property
    def is_sticky(self) -> bool:
        return self.affinity_seconds > 0


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An endpoint of one slice port that may get connections."""

    endpoint: Endpoint
    is_ready: bool
    is_local: bool


class ServiceTable:
    """All Services and slices, as the proxy of `node_name` sees them; node ports are answered on `node_addresses`."""

    def __init__(self, node_name: str, node_addresses: tuple[str, ...]) -> None:
        self._node_name = node_name
        self._node_addresses = node_addresses
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, Object] = {}
        self._slices_of: dict[Key, set[Key]] = defaultdict(set)

    def put(self, kind: str, obj: Object) -> set[Key]:
        """Insert or replace an object of one of `KINDS`; the Services whose frontends may have changed."""
        return self._set(kind, (namespace_of(obj), name_of(obj)), obj)

    def discard(self, kind: str, obj: Object) -> set[Key]:
        """Remove an object; the Services whose frontends may have changed."""
        return self._set(kind, (namespace_of(obj), name_of(obj)), None)

    def service(self, key: Key) -> Object | None:
        return self._services.get(key)

    def frontends(self, key: Key) -> dict[Frontend, Backends]:
        """Everything to answer for one Service."""
        service = self._services.get(key)
        if service is None or not _has_cluster_ip(service):
            return {}
        spec = service["spec"]
        affinity_seconds = _affinity_seconds(spec)
        found: dict[Frontend, Backends] = {}
        for port in spec.get("ports") or ():
            protocol = port.get("protocol", "TCP")
            if protocol not in ("TCP", "UDP"):
                continue
            candidates = list(self._candidates(key, port.get("name") or "", protocol))
            for frontend, policy in self._places(service, port, protocol):
                endpoints = _chosen(candidates, local_only=policy == "Local")
                is_inside = frontend.address == spec["clusterIP"]
                if not endpoints or (is_inside and any(each.address == frontend.address for each in endpoints)):
                    continue
                is_from_outside = not is_inside and policy == "Cluster"
                found[frontend] = Backends(endpoints, affinity_seconds, is_from_outside)
        return found

    def _set(self, kind: str, key: Key, obj: Object | None) -> set[Key]:
        if kind == "Service":
            _replace(self._services, key, obj)
            return {key}
        old = self._slices.get(key)
        _replace(self._slices, key, obj)
        touched = set()
        for each, is_there in ((old, False), (obj, True)):
            name = labels_of(each).get(SERVICE_NAME) if each else None
            if name is None:
                continue
            service = key[0], name
            touched.add(service)
            if is_there:
                self._slices_of[service].add(key)
            else:
                self._slices_of[service].discard(key)
        for service in touched:
            if not self._slices_of[service]:
                del self._slices_of[service]
        return touched

    def _candidates(self, key: Key, port_name: str, protocol: Protocol) -> Iterator[_Candidate]:
        for slice_key in sorted(self._slices_of.get(key, ())):
            each = self._slices[slice_key]
            if each.get("addressType", "IPv4") != "IPv4":
                continue
            for port in each.get("ports") or ():
                if (port.get("name") or "", port.get("protocol") or "TCP") != (port_name, protocol):
                    continue
                if port.get("port"):  # A port without a number means "all": nothing to connect to.
                    yield from self._in_slice(each, int(port["port"]))

    def _in_slice(self, each: Object, port: int) -> Iterator[_Candidate]:
        for endpoint in each.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            is_ready = conditions.get("ready") is not False
            if not is_ready and not (conditions.get("serving") and conditions.get("terminating")):
                continue
            is_local = endpoint.get("nodeName") == self._node_name
            for address in endpoint.get("addresses") or ():
                yield _Candidate(Endpoint(address, port), is_ready, is_local)

    def _places(self, service: Object, port: dict[str, Any], protocol: Protocol) -> Iterator[tuple[Frontend, str]]:
        """Where one port of a Service is answered, and under which traffic policy."""
        spec, number = service["spec"], int(port["port"])
        external = spec.get("externalTrafficPolicy", "Cluster")
        yield Frontend(spec["clusterIP"], number, protocol), spec.get("internalTrafficPolicy", "Cluster")
        if node_port := port.get("nodePort"):
            for address in self._node_addresses:
                yield Frontend(address, int(node_port), protocol), external
        if spec.get("type") == "LoadBalancer":
            for ingress in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
                if ingress.get("ip") and ingress.get("ipMode", "VIP") == "VIP":
                    yield Frontend(ingress["ip"], number, protocol), external


class Balancer:
    """Which endpoint gets the next connection: each in turn, or always the same one for a client's address.

    Stickiness is a property of the address and the endpoints alone (rendezvous hashing), not a memory with a timeout:
    on the loopback network a client's connections spread over all nodes' proxies, and these agree without talking. A
    new endpoint takes over its share of the clients; all others stay where they are.
    """

    def __init__(self, backends: Backends, *, turn: int = 0) -> None:
        self.backends = backends
        self._turn = turn

    def choices(self, client_address: str) -> tuple[Endpoint, ...]:
        """Endpoints to try, the first one first; at most MAX_TRIES."""
        endpoints = self.backends.endpoints
        if self.backends.is_sticky:
            return tuple(heapq.nsmallest(MAX_TRIES, endpoints, key=lambda each: _draw(client_address, each)))
        first = self._turn % len(endpoints)
        self._turn += 1
        return tuple(endpoints[(first + step) % len(endpoints)] for step in range(min(MAX_TRIES, len(endpoints))))


def _draw(client_address: str, endpoint: Endpoint) -> bytes:
    return blake2b(f"{client_address} {endpoint.address} {endpoint.port}".encode(), digest_size=8).digest()


def _has_cluster_ip(service: Object) -> bool:
    spec = service["spec"]
    return spec.get("type") != "ExternalName" and spec.get("clusterIP", "") not in ("", "None")


def _affinity_seconds(spec: dict[str, Any]) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    client_address = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(client_address.get("timeoutSeconds") or DEFAULT_AFFINITY_SECONDS)


def _chosen(candidates: Iterable[_Candidate], *, local_only: bool) -> tuple[Endpoint, ...]:
    usable = [each for each in candidates if each.is_local or not local_only]
    ready = {each.endpoint for each in usable if each.is_ready}
    return tuple(sorted(ready or {each.endpoint for each in usable}))


def _replace(index: dict[Key, Object], key: Key, obj: Object | None) -> None:
    if obj is None:
        index.pop(key, None)
    else:
        index[key] = obj

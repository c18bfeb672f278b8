"""Cluster IPs and node ports: who has which, and which is given next.

The store is the only record: an address is taken when a stored Service has it, so nothing can leak or drift. Services
therefore take turns from here to the store (`Admission.turn`). The first addresses of the range are kept for fixed
ones (the API server, DNS), as Kubernetes keeps its lower band. The cluster has one family of addresses.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address

from petset.cluster.api.fields import FieldError, invalid, wrong
from petset.cluster.api.kinds import Registry
from petset.cluster.api.objects import Object, uid_of
from petset.cluster.api.validation_services import HEADLESS, cluster_ip_errors, family_of
from petset.cluster.errors import InternalError, Invalid
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.store.backend import Backend

FAMILY = "IPv4"
RESERVED_ADDRESSES = 16
NODE_PORTS = range(30000, 32768)
STATIC_NODE_PORTS = 86
"""The lower band, which is given last: users name ports of it (ServiceNodePortStaticSubrange)."""
_ADDRESS_FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


class ServiceAddresses:
    """Completes a Service's `clusterIP(s)`, `nodePort`s and IP families."""

    def __init__(self, backend: Backend, plan: AddressPlan) -> None:
        self._backend = backend
        self._plan = plan
        self._kind = Registry().of_kind("Service")

    def complete(self, service: Object, old: Object | None) -> None:
        """Fill in what the user left to the server. Raises Invalid for an address or port that cannot be given."""
        spec = service["spec"]
        if old is not None:
            _keep(spec, old["spec"])
        if spec["type"] == "ExternalName":
            if old is not None:
                for field in _ADDRESS_FIELDS:  # what it had as another type is free again
                    spec.pop(field, None)
            return
        _normalize(spec, old["spec"] if old else {})
        if errors := cluster_ip_errors(spec):
            raise self._refusal(service, errors)
        self._complete_families(service)
        if not spec.get("clusterIP"):
            spec["clusterIP"] = self.next_free()
        elif old is None and spec["clusterIP"] != HEADLESS:
            self._check_wanted(service)
        spec["clusterIPs"] = [spec["clusterIP"]]
        if spec["type"] in ("NodePort", "LoadBalancer"):
            self._give_node_ports(service)
        else:
            for port in spec.get("ports") or ():
                port.pop("nodePort", None)

    def next_free(self) -> str:
        """The lowest address that no stored Service has. Raises InternalError when there is none."""
        if address := next(self._free_addresses(), None):
            return address
        raise InternalError("the range of service addresses is used up")

    def out_of_range(self) -> list[Object]:
        """The stored Services whose address is not of this plan."""
        with_address = [
            each for each in self._services() if each["spec"].get("clusterIP", HEADLESS) not in ("", HEADLESS)
        ]
        return [each for each in with_address if ip_address(each["spec"]["clusterIP"]) not in self._plan.services]

    def _complete_families(self, service: Object) -> None:
        """The registry's rules for a cluster of one family (core/service/storage/alloc.go: initIPFamilyFields). A
        headless Service without a selector may name any: its endpoints are its author's."""
        spec = service["spec"]
        families = list(spec.get("ipFamilies") or [])
        asked = spec.get("clusterIPs") or []
        families += [family for each in asked[len(families) :] if (family := family_of(each))]
        policy = spec.get("ipFamilyPolicy") or ("RequireDualStack" if len(families) > 1 else "SingleStack")
        if spec.get("clusterIP") != HEADLESS or spec.get("selector"):
            errors = [
                wrong(f"spec.ipFamilies[{number}]", family, "not configured on this cluster")
                for number, family in enumerate(families)
                if family != FAMILY
            ]
            if policy == "RequireDualStack":
                text = "this cluster is not configured for dual-stack services"
                errors.insert(0, wrong("spec.ipFamilyPolicy", policy, text))
            if errors:
                raise self._refusal(service, errors)
        spec["ipFamilies"] = families or [FAMILY]
        spec["ipFamilyPolicy"] = policy

    def _services(self) -> list[Object]:
        return self._backend.objects("services")

    def _taken(self) -> set[str]:
        return {each["spec"].get("clusterIP", "") for each in self._services()}

    def _free_addresses(self) -> Iterator[str]:
        taken = self._taken()
        first = int(self._plan.services.network_address) + RESERVED_ADDRESSES
        last = int(self._plan.services.broadcast_address)
        return (text for text in (str(IPv4Address(number)) for number in range(first, last)) if text not in taken)

    def _check_wanted(self, service: Object) -> None:
        wanted = service["spec"]["clusterIP"]
        if ip_address(wanted) not in self._plan.services:
            text = (
                f"failed to allocate IP {wanted}: the provided IP is not in the valid range. The range of valid IPs is "
            )
            raise self._refusal(service, [wrong("spec.clusterIPs", [wanted], text + str(self._plan.services))])
        if wanted in self._taken():
            text = f"failed to allocate IP {wanted}: provided IP is already allocated"
            raise self._refusal(service, [wrong("spec.clusterIPs", [wanted], text)])

    def _give_node_ports(self, service: Object) -> None:
        """Each (port, protocol) may be used once; TCP and UDP may share a number."""
        own = (service["metadata"].get("namespace"), service["metadata"].get("name"))
        taken = {
            (port["nodePort"], port.get("protocol"))
            for each in self._services()
            if (each["metadata"]["namespace"], each["metadata"]["name"]) != own
            for port in each["spec"].get("ports") or ()
            if port.get("nodePort")
        }
        for number, port in enumerate(service["spec"].get("ports") or ()):
            wanted, protocol = port.get("nodePort"), port.get("protocol")
            if wanted is None:
                if service["spec"].get("allocateLoadBalancerNodePorts") is False:
                    continue
                free = (each for each in _node_ports(service) if (each, protocol) not in taken)
                if (wanted := next(free, None)) is None:
                    raise InternalError("failed to allocate a nodePort: range is full")
                port["nodePort"] = wanted
            elif wanted not in NODE_PORTS:
                text = "provided port is not in the valid range. The range of valid ports is 30000-32767"
                raise self._refusal(service, [wrong(f"spec.ports[{number}].nodePort", wanted, text)])
            elif (wanted, protocol) in taken:
                text = "provided port is already allocated"
                raise self._refusal(service, [wrong(f"spec.ports[{number}].nodePort", wanted, text)])
            taken.add((wanted, protocol))

    def _refusal(self, service: Object, errors: list[FieldError]) -> Invalid:
        return invalid(self._kind, service["metadata"].get("name", ""), errors)


def _node_ports(service: Object) -> list[int]:
    """All of them, from a place on that hangs on the Service's uid: node ports of clusters side by side share the
    host's ports and shall not meet. Kubernetes draws one by chance.
    """
    static, dynamic = NODE_PORTS[:STATIC_NODE_PORTS], NODE_PORTS[STATIC_NODE_PORTS:]
    start = zlib.crc32(uid_of(service).encode()) % max(1, len(dynamic))
    return [*dynamic[start:], *dynamic[:start], *static]


def _normalize(spec: Object, old: Object) -> None:
    """clusterIPs from what was said of clusterIP; who names the plural must name both (normalizeClusterIPs in
    core/service/storage/storage.go)."""
    address, addresses = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if old:
        was, were = old.get("clusterIP") or "", old.get("clusterIPs") or []
        if address == was:
            spec["clusterIPs"] = addresses or were
        elif addresses == were:
            spec["clusterIPs"] = [address]
    elif address:
        spec["clusterIPs"] = addresses or [address]


def _keep(spec: Object, old: Object) -> None:
    """A manifest applied again names no addresses: the Service keeps those that it has."""
    if spec["type"] != "ExternalName" and old["type"] != "ExternalName" and not spec.get("clusterIP"):
        spec["clusterIP"] = old.get("clusterIP", "")
    had = {(port.get("port"), port.get("protocol")): port.get("nodePort") for port in old.get("ports") or ()}
    for port in spec.get("ports") or ():
        known = had.get((port.get("port"), port.get("protocol")))
        if known and not port.get("nodePort"):
            port["nodePort"] = known

"""Load balancers: each Service of that type gets an address of a pool, which the nodes' service proxies answer on.

    spec.type LoadBalancer ──▶ status.loadBalancer.ingress [{ip: 10.111.254.1}]      any other type ──▶ none

The part of a cloud's service controller, with a cluster that is its own cloud: the pool is the last /24 but one of the
service range, so an address is reachable from wherever cluster IPs are. `spec.loadBalancerIP` chooses one of the pool;
`spec.loadBalancerClass` leaves the Service to somebody else. A Service keeps its address as long as its type.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from ipaddress import IPv4Address, IPv4Network

from petset.cluster.api.objects import Object, is_terminating
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, Outcome, Record
from petset.cluster.controllers.edits import patch_status


def load_balancer_pool(services: IPv4Network) -> IPv4Network:
    """Where load balancers live in a range of service addresses, which is a /24 at least four times over."""
    return IPv4Network((int(services.broadcast_address) - 511, 24))


def load_balancer_controller(services: IPv4Network) -> Controller:
    return Controller(
        component="service-controller",
        triggers={"Service": _itself},
        plan=partial(plan_load_balancer, load_balancer_pool(services)),
    )


def plan_load_balancer(pool: IPv4Network, key: Key, snapshot: Snapshot, now: float) -> Outcome:
    """Give a Service its address, or take it away."""
    service = snapshot.get("Service", *key)
    if service is None or is_terminating(service):
        return NOTHING
    spec, present = service["spec"], _ingress(service)
    if spec.get("type") != "LoadBalancer":
        return Outcome((patch_status(service, {"loadBalancer": {"ingress": None}}),)) if present else NOTHING
    if spec.get("loadBalancerClass") or any(each.get("ip") for each in present):
        return NOTHING
    address = _free_address(pool, spec.get("loadBalancerIP") or "", _taken(snapshot))
    if address is None:
        message = f"no address for it is free in {pool}"
        said = Record(service, "Warning", "SyncLoadBalancerFailed", f"Error syncing load balancer: {message}")
        return Outcome((said,), error=message)
    said = Record(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
    status = {"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}}
    return Outcome((patch_status(service, status, said=said),))


def _ingress(service: Object) -> list[Object]:
    return ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []


def _taken(snapshot: Snapshot) -> set[str]:
    """Addresses of load balancers, and cluster IPs that a user put into the pool."""
    services = list(snapshot.objects("Service"))
    own = {each["spec"].get("clusterIP", "") for each in services}
    return own | {ingress.get("ip", "") for each in services for ingress in _ingress(each)}


def _free_address(pool: IPv4Network, wanted: str, taken: set[str]) -> str | None:
    if wanted:
        choice: Iterable[IPv4Address] = (each for each in pool.hosts() if str(each) == wanted)
    else:
        choice = pool.hosts()
    return next((str(each) for each in choice if str(each) not in taken), None)


def _itself(service: Object, snapshot: Snapshot) -> Iterable[Key]:
    yield key_of(service)

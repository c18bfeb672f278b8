"""Network faults: from endpoints (a node, a pod, the API server, …) to packets between addresses (network/faults.py).

    node/N        the machine's address and its pods' range    api-server   the control plane's address, its cluster IP
    pod/NS/NAME   the address that its machine gave it         controller   where it asks the API server from
                                                               dns          the same, and the address of cluster DNS
    everything    all that is not the other end; for a node, its cable is unplugged

Only in namespaces. Where a relay carries them, packets through a cluster IP travel as their node's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from petset.cluster.chaos.errors import CannotHere, NoSuchTarget
from petset.cluster.chaos.faults import EVERYTHING, Endpoint, Fault, parse_endpoint
from petset.cluster.chaos.pods import find_pod
from petset.cluster.chaos.wiring import Ends, Rule
from petset.cluster.chaos.world import World
from petset.cluster.network.crossings import EVERYTHING as ALL_ADDRESSES

if TYPE_CHECKING:
    from petset.cluster.network.faults import Faults

Heal = Callable[[], Awaitable[None]]
_Change = Callable[["Faults", Ends, Ends, Fault], None]


def _cut(faults: Faults, source: Ends, destination: Ends, fault: Fault) -> None:
    faults.cut(source, destination, one_way=True)


def _heal_cut(faults: Faults, source: Ends, destination: Ends, fault: Fault) -> None:
    faults.heal_cut(source, destination, one_way=True)


def _lose(faults: Faults, source: Ends, destination: Ends, fault: Fault) -> None:
    faults.drop(source, destination, share=fault["share"])


def _heal_loss(faults: Faults, source: Ends, destination: Ends, fault: Fault) -> None:
    faults.heal_drop(source, destination)


def _delay(faults: Faults, source: Ends, destination: Ends, fault: Fault) -> None:
    faults.delay(source, destination, delay_ms=fault["delay_ms"], jitter_ms=fault["jitter_ms"])


def _heal_delay(faults: Faults, source: Ends, destination: Ends, fault: Fault) -> None:
    faults.heal_delay(source, destination)


def _limit(faults: Faults, source: Ends, destination: Ends, fault: Fault) -> None:
    faults.limit(source, destination, kbit_per_second=int(fault["kbit_per_second"]))


def _heal_limit(faults: Faults, source: Ends, destination: Ends, fault: Fault) -> None:
    faults.heal_limit(source, destination)


_CHANGES: Mapping[str, tuple[_Change, _Change]] = {
    "cut": (_cut, _heal_cut),
    "loss": (_lose, _heal_loss),
    "delay": (_delay, _heal_delay),
    "bandwidth": (_limit, _heal_limit),
}


async def disturb_packets(fault: Fault, world: World, fault_id: str) -> Heal:
    """Any network fault, both ways unless it is one-way. Raises NoSuchTarget, CannotHere."""
    here, there = parse_endpoint(fault["from"]), parse_endpoint(fault["to"])
    _check(here, there)
    kinds = {here.kind: here, there.kind: there}
    if fault.kind == "cut" and kinds.keys() == {"node", EVERYTHING} and not fault["one_way"]:
        return await _unplug(world, kinds["node"].name, fault_id)
    rules = [*_rules(fault, await _ends(world, here), await _ends(world, there))] if world.has_namespaces else []
    await world.wiring.impose(rules, fault_id)
    return partial(world.wiring.lift, rules)


def _check(here: Endpoint, there: Endpoint) -> None:
    if here == there:
        raise CannotHere(f"both ends are {here.name or here.kind}: name two")


def _rules(fault: Fault, here: Ends, there: Ends) -> Iterator[Rule]:
    apply, undo = _CHANGES[fault.kind]
    for source, destination in ((here, there),) if fault["one_way"] else ((here, there), (there, here)):
        ends: dict[str, Any] = {"source": source, "destination": destination, "fault": fault}
        yield Rule(fault.kind, source, destination, apply=partial(apply, **ends), undo=partial(undo, **ends))


async def _unplug(world: World, node: str, fault_id: str) -> Heal:
    number = _number(world, node)
    await world.wiring.unplug(number, fault_id)
    return partial(world.wiring.plug_in, number, fault_id)


async def _ends(world: World, end: Endpoint) -> Ends:
    plan = world.addresses
    match end.kind:
        case "node":
            number = _number(world, end.name)
            return plan.node_address(number), str(plan.pod_range(number))
        case "pod":
            return ((await find_pod(world, end.namespace, end.name)).sandbox.ip,)
        case "dns":
            return plan.dns_address, plan.dns_client_address
        case "controller":
            return (plan.controller_address,)
        case "everything":
            return (ALL_ADDRESSES,)
        case _:
            return plan.control_plane_address, plan.api_address


def _number(world: World, node: str) -> int:
    if node not in world.node_names:
        raise NoSuchTarget(f"this cluster has no {node}; it has {', '.join(world.node_names)}")
    return int(node.partition("-")[2])

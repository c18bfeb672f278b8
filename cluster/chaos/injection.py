"""What each kind of fault does to a cluster, and how it is undone.

    inject(fault, world) ─▶ checks that the target is there and can be hit ─▶ does it ─▶ Heal

Every kind is one function; it raises before it changes anything, or undoes what it began. `Heal` may be called when
what was hit has died meanwhile: there is nothing to undo then. Faults of one kind on one target may overlap; the
target is whole again when the last of them has healed.

    processes   here: pods and components, by signals            network   on_network.py
    clocks, watches, disks   here: standing orders to components
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from petset.cluster.chaos.errors import CannotHere, NoSuchTarget
from petset.cluster.chaos.faults import COMPONENT, Fault
from petset.cluster.chaos.freezing import freeze_all, send_signal, thaw_all
from petset.cluster.chaos.on_network import disturb_packets
from petset.cluster.chaos.pods import first_processes, pod_of, processes_of
from petset.cluster.chaos.world import Component, World
from petset.cluster.control.watch_troubles import EVERY_WATCH, WatchTrouble
from petset.cluster.settings import RAY_HEAD

Heal = Callable[[], Awaitable[None]]
Injection = Callable[[Fault, World, str], Awaitable[Heal]]
"""(the fault, the cluster, the fault's own id) -> how to heal it."""


async def inject(fault: Fault, world: World, fault_id: str) -> Heal:
    """Do it. Raises NoSuchTarget, CannotHere."""
    return await _INJECTIONS[fault.kind](fault, world, fault_id)


async def nothing_to_heal() -> None:
    """The heal of an instant fault."""


async def _kill_pod(fault: Fault, world: World, fault_id: str) -> Heal:
    place = await pod_of(world, fault)
    wanted = [each for each in place.running if fault["container"] in (None, each.name)]
    if not wanted:
        names = ", ".join(each.name for each in place.running)
        raise NoSuchTarget(f"pod {fault['pod']} runs no container {fault['container']!r}; it runs {names}")
    number = signal.Signals["SIG" + fault["signal"]]
    processes = first_processes(wanted)
    if not processes:
        raise NoSuchTarget(f"pod {fault['pod']} has just ended")
    for process in processes:
        send_signal(process, number)
    return nothing_to_heal


async def _freeze_pod(fault: Fault, world: World, fault_id: str) -> Heal:
    place = await pod_of(world, fault)
    frozen = await asyncio.to_thread(freeze_all, lambda: processes_of(first_processes(place.running)))
    if not frozen:
        raise NoSuchTarget(f"pod {fault['pod']} has just ended, or is frozen already")

    async def thaw() -> None:
        thaw_all(frozen)

    return thaw


async def _kill(fault: Fault, world: World, fault_id: str) -> Heal:
    await component_of(world, fault["component"]).kill()
    return nothing_to_heal


async def _freeze(fault: Fault, world: World, fault_id: str) -> Heal:
    component = component_of(world, fault["component"])
    for machine in world.machines(component.name):
        await world.sandboxes(machine)  # its last word for as long as it is frozen
    heal = partial(component.thaw, fault_id)
    await _or_undo(component.freeze(fault_id), heal)
    return heal


async def _stop(fault: Fault, world: World, fault_id: str) -> Heal:
    """A Ray node loses its power, and the machines on it with it."""
    component = component_of(world, fault["component"])
    without_power = [each for each in world.machines(component.name) if each != component.name]
    return await _switch_off([component], without_power, world, fault_id)


async def _power_off(fault: Fault, world: World, fault_id: str) -> Heal:
    """The kubelet first, so that it says nothing of the machine's end."""
    node = component_of(world, fault["node"])
    kubelet = component_of(world, fault["node"].replace("node-", "kubelet-"))
    return await _switch_off([kubelet, node], [node.name], world, fault_id)


async def _switch_off(components: list[Component], machines: Sequence[str], world: World, fault_id: str) -> Heal:
    """Hold components down; the machines that lose their power with it have dead cables, where there are any."""
    undo: list[Heal] = [await _hold_down(components, fault_id)]

    async def heal() -> None:
        for each in reversed(undo):
            await each()

    try:
        for machine in machines if world.has_namespaces else ():
            number = int(machine.partition("-")[2])
            await world.wiring.unplug(number, fault_id)
            undo.append(partial(world.wiring.plug_in, number, fault_id))
    except CannotHere:
        await heal()
        raise
    return heal


async def _hold_down(components: list[Component], reason: str) -> Heal:
    async def let_up() -> None:
        for component in reversed(components):
            await component.let_up(reason)

    try:
        for component in components:
            await component.hold_down(reason)
    except CannotHere:
        await let_up()
        raise
    return let_up


def component_of(world: World, name: str) -> Component:
    """Raises NoSuchTarget, CannotHere."""
    if name == RAY_HEAD:
        raise CannotHere(
            f"{name} is the cluster itself, with the API server and the controllers, and whoever heals faults;"
            " freeze or stop its components one by one"
        )
    if name.startswith("ray-node-") and not any(each.startswith("ray-node-") for each in world.components):
        raise CannotHere(f"there is no {name}: this cluster has one Ray node; `petset up --ray-nodes 2` brings up more")
    if name not in world.components:
        raise NoSuchTarget(f"this cluster has no {name}; it has {', '.join(world.components)}")
    return world.components[name]


async def _skew_clock(fault: Fault, world: World, fault_id: str) -> Heal:
    """Several skews of one node add up."""
    kubelet = component_of(world, fault["node"].replace("node-", "kubelet-"))
    heal = partial(kubelet.recall, fault_id, "restore_clock", fault_id)
    await _or_undo(kubelet.order(fault_id, "shift_clock", fault_id, fault["seconds"]), heal)
    return heal


async def _trouble_watch(fault: Fault, world: World, fault_id: str) -> Heal:
    """A component's name means all its watches; any other name, one of the controllers in `controller`."""
    name: str = fault["controller"]
    is_component = name in world.components or COMPONENT.fullmatch(name) is not None
    component = component_of(world, name if is_component else "controller")
    if name == "api-server":
        raise CannotHere("the API server watches nothing")
    trouble = _TROUBLES[fault.kind](fault)
    watcher = EVERY_WATCH if is_component else name
    heal = partial(component.recall, fault_id, "relieve_watches", fault_id)
    await _or_undo(component.order(fault_id, "trouble_watches", fault_id, watcher, trouble), heal)
    return heal


async def _or_undo(order: Awaitable[Any], heal: Heal) -> Any:
    """The answer to an order. One that is not answered in time may be carried out later, and is taken back at once."""
    try:
        return await order
    except CannotHere:
        with suppress(CannotHere):
            await heal()
        raise


async def _trouble_disk(fault: Fault, world: World, fault_id: str) -> Heal:
    """On every machine, for a volume may move; a machine that boots meanwhile is told as well."""
    volume = await world.volume_of(fault["namespace"], fault["claim"])
    nodes = [world.components[name] for name in world.node_names]

    async def heal() -> None:
        failures = []
        for node in nodes:
            try:
                await node.recall(fault_id, "heal_disk_fault", fault_id)
            except CannotHere as error:
                failures.append(str(error))
        if failures:
            raise CannotHere("; ".join(failures))

    delay_ms = fault["delay_ms"] or 0.0
    for node in nodes:
        order = node.order(fault_id, "inject_disk_fault", fault_id, volume, fault.kind, delay_ms)
        if refusal := await _or_undo(order, heal):
            await heal()
            raise CannotHere(str(refusal))
    return heal


_TROUBLES: Mapping[str, Callable[[Fault], WatchTrouble]] = {
    "delay-watch": lambda fault: WatchTrouble(delay_seconds=fault["seconds"]),
    "duplicate-watch": lambda fault: WatchTrouble(twice=True),
    "drop-watch": lambda fault: WatchTrouble(lost_share=fault["share"]),
}

_INJECTIONS: Mapping[str, Injection] = {
    "kill-pod": _kill_pod,
    "freeze-pod": _freeze_pod,
    "kill": _kill,
    "freeze": _freeze,
    "stop": _stop,
    "power-off": _power_off,
    "cut": disturb_packets,
    "loss": disturb_packets,
    "delay": disturb_packets,
    "bandwidth": disturb_packets,
    "fill-disk": _trouble_disk,
    "read-only-disk": _trouble_disk,
    "fail-fsync": _trouble_disk,
    "slow-fsync": _trouble_disk,
    "skew-clock": _skew_clock,
    "delay-watch": _trouble_watch,
    "duplicate-watch": _trouble_watch,
    "drop-watch": _trouble_watch,
}

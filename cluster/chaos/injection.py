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
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import psutil

from petset.cluster.chaos.errors import CannotHere, NoSuchTarget
from petset.cluster.chaos.faults import COMPONENT, Fault
from petset.cluster.chaos.on_network import disturb_packets
from petset.cluster.chaos.pods import PodPlace, first_processes, is_frozen, pod_of, processes_of, wait_until_frozen
from petset.cluster.chaos.world import Component, World
from petset.cluster.control.watch_troubles import EVERY_WATCH, WatchTrouble

Heal = Callable[[], Awaitable[None]]
Injection = Callable[[Fault, World, str], Awaitable[Heal]]
"""(the fault, the cluster, the fault's own id) -> how to heal it."""

_FREEZE_PASSES = 20
"""A pod that forks while it is being stopped is looked at again, so often at the most."""


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
        _signal(process, number)
    return nothing_to_heal


async def _freeze_pod(fault: Fault, world: World, fault_id: str) -> Heal:
    place = await pod_of(world, fault)
    frozen = await asyncio.to_thread(_freeze_all, place)
    if not frozen:
        raise NoSuchTarget(f"pod {fault['pod']} has just ended, or is frozen already")

    async def thaw() -> None:
        _thaw_all(frozen)

    return thaw


def _freeze_all(place: PodPlace) -> list[psutil.Process]:
    """Stop the processes that are not stopped yet; those that were, others have stopped and will let go."""
    frozen: dict[psutil.Process, None] = {}
    try:
        for _ in range(_FREEZE_PASSES):
            found = processes_of(first_processes(place.running))
            fresh = [each for each in found if each not in frozen and not is_frozen(each)]
            if not fresh:
                break
            frozen |= dict.fromkeys(each for each in fresh if _signal(each, signal.SIGSTOP))
            wait_until_frozen(fresh)
    except CannotHere:
        _thaw_all(frozen)
        raise
    return [*frozen]


def _thaw_all(frozen: Iterable[psutil.Process]) -> None:
    """Children before parents, as they come last."""
    for process in reversed([*frozen]):
        _signal(process, signal.SIGCONT)


def _signal(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether it was still there."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied as error:
        raise CannotHere(f"process {process.pid} belongs to another user") from error
    return True


async def _kill(fault: Fault, world: World, fault_id: str) -> Heal:
    await component_of(world, fault["component"]).kill()
    return nothing_to_heal


async def _freeze(fault: Fault, world: World, fault_id: str) -> Heal:
    component = component_of(world, fault["component"])
    if component.name in world.node_names:
        await world.sandboxes(component.name)  # its last word for as long as it is frozen
    await component.freeze(fault_id)
    return partial(component.thaw, fault_id)


async def _stop(fault: Fault, world: World, fault_id: str) -> Heal:
    return await _hold_down([component_of(world, fault["component"])], fault_id)


async def _power_off(fault: Fault, world: World, fault_id: str) -> Heal:
    """The kubelet first, so that it says nothing of the machine's end; in namespaces the cable is dead as well."""
    node = component_of(world, fault["node"])
    kubelet = component_of(world, fault["node"].replace("node-", "kubelet-"))
    power_on = await _hold_down([kubelet, node], fault_id)
    if not world.has_namespaces:
        return power_on
    number = int(fault["node"].partition("-")[2])
    try:
        await world.wiring.unplug(number, fault_id)
    except CannotHere:
        await power_on()
        raise

    async def heal() -> None:
        await world.wiring.plug_in(number, fault_id)
        await power_on()

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
    if name == "ray":
        raise CannotHere(
            "this cluster has one Ray node, and lives and dies with it; freeze or stop its components one by one"
        )
    if name not in world.components:
        raise NoSuchTarget(f"this cluster has no {name}; it has {', '.join(world.components)}")
    return world.components[name]


async def _skew_clock(fault: Fault, world: World, fault_id: str) -> Heal:
    """Several skews of one node add up."""
    kubelet = component_of(world, fault["node"].replace("node-", "kubelet-"))
    await kubelet.order(fault_id, "shift_clock", fault_id, fault["seconds"])
    return partial(kubelet.recall, fault_id, "restore_clock", fault_id)


async def _trouble_watch(fault: Fault, world: World, fault_id: str) -> Heal:
    """A component's name means all its watches; any other name, one of the controllers in `controller`."""
    name: str = fault["controller"]
    is_component = name in world.components or COMPONENT.fullmatch(name) is not None
    component = component_of(world, name if is_component else "controller")
    if name == "api-server":
        raise CannotHere("the API server watches nothing")
    trouble = _TROUBLES[fault.kind](fault)
    await component.order(fault_id, "trouble_watches", fault_id, EVERY_WATCH if is_component else name, trouble)
    return partial(component.recall, fault_id, "relieve_watches", fault_id)


async def _trouble_disk(fault: Fault, world: World, fault_id: str) -> Heal:
    """On every machine, for a volume may move; a machine that boots meanwhile is told as well."""
    volume = await world.volume_of(fault["namespace"], fault["claim"])
    nodes = [world.components[name] for name in world.node_names]

    async def heal() -> None:
        for node in nodes:
            await node.recall(fault_id, "heal_disk_fault", fault_id)

    delay_ms = fault["delay_ms"] or 0.0
    for node in nodes:
        if refusal := await node.order(fault_id, "inject_disk_fault", fault_id, volume, fault.kind, delay_ms):
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

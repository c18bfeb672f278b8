"""Who lives on the machines, counted by the machines' own lists and the kernel's, not by the API.

`processes` asks every machine for its containers; of a machine that does not answer (it is frozen), what it said last
counts as far as its processes still live. `leftovers` is what a machine holds for no pod that it knows.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psutil

from petset.cluster.api.times import format_micro_time
from petset.cluster.chaos.errors import CannotHere
from petset.cluster.chaos.pods import PodPlace, all_places, process_namespace
from petset.cluster.chaos.world import Component, World

Row = dict[str, Any]


async def processes(world: World) -> list[Row]:
    """Rows of containers, then of components; GateClient.processes has their shape."""
    places = await all_places(world)
    return await asyncio.to_thread(_rows, places, [each for each in world.components.values() if each.has_process])


def _rows(places: Iterable[PodPlace], components: Iterable[Component]) -> list[Row]:
    containers = [row for place in places for row in _container_rows(place)]
    return containers + [_component_row(each) for each in components]


def _container_rows(place: PodPlace) -> Iterable[Row]:
    for container in place.running:
        state = _state(container.pid)
        if state == "down":
            continue
        yield {
            "pid": container.pid,
            "namespace": place.sandbox.namespace,
            "pod": place.sandbox.name,
            "uid": place.sandbox.uid,
            "node": place.node,
            "container": container.name,
            "container_id": container.id,
            "started_at": format_micro_time(container.started_at),
            "state": state,
        }


def _component_row(component: Component) -> Row:
    pid = component.process_id
    state = _state(pid) if pid else "down"
    return {"component": component.name, "pid": pid if state != "down" else 0, "state": state}


def _state(pid: int) -> str:
    try:
        status = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return "down"
    return {psutil.STATUS_STOPPED: "frozen", psutil.STATUS_ZOMBIE: "down"}.get(status, "running")


async def leftovers(world: World) -> dict[str, list[Any]]:
    """All machines' together; a machine that is down or does not answer has none to tell of."""
    found: dict[str, list[Any]] = {"processes": [], "namespaces": [], "folders": []}
    for node in world.node_names:
        machine = world.components[node]
        if not machine.process_id:
            continue
        try:
            on_node = await machine.ask("leftovers")
        except CannotHere:
            continue
        for what, things in on_node.items():
            found[what] += [{"node": node, **thing} for thing in things]
    if world.has_namespaces:
        found["processes"] += await asyncio.to_thread(strangers, await all_places(world), found["processes"])
    return found


def strangers(places: Iterable[PodPlace], known: Iterable[Row]) -> list[Row]:
    """Processes in process namespaces of their own, as only containers' are, of which no machine has a container."""
    own = {process_namespace(os.getpid()), ""}
    owned = own | {process_namespace(container.pid) for place in places for container in place.running}
    told = {row["pid"] for row in known}
    found = []
    for process in psutil.process_iter():
        if process_namespace(process.pid) not in owned and process.pid not in told:
            with suppress(psutil.NoSuchProcess):
                found.append({"node": "", "pid": process.pid, "name": process.name()})
    return found

"""Runs the actors of one cluster from the first to the last moment, in the supervisor's main thread.

    Ray is up ─▶ listener broker ─▶ every keeper at once ─▶ fault gate ─▶ phases are told as the actors become ready
                                                         ─▶ … until one of these ends it:
    SIGTERM, SIGINT; the command hung up      faults are healed, then stop: kubelets, controller, dns │ nodes │
                                              api-server │ further Ray nodes, each bounded
    a vital process of the private Ray died   everything ends at once, with a message

Kubelets stop before their nodes, so that nobody starts again what the machine shuts down.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from itertools import groupby
from typing import NoReturn

import psutil
import ray

from petset.actors.keeper import ActorMaker, Keeper
from petset.actors.link import Link
from petset.actors.listeners import listener_broker
from petset.actors.plan import ActorSpec
from petset.actors.private_ray import vital_process_death, vital_processes
from petset.actors.ray_nodes import FirstRayNode, FurtherRayNode, Home, Raylet
from petset.cluster.settings import RAY_HEAD, ClusterSettings

_log = logging.getLogger(__name__)

STOP_GRACE_SECONDS = 5.0

_PHASES = (("api-server", {"api-server"}), ("controller", {"controller"}), ("nodes", {"node", "kubelet"}))


async def supervise(
    settings: ClusterSettings,
    specs: Sequence[ActorSpec],
    *,
    listeners: Mapping[str, socket.socket] | None,
    link: Link,
    on_ray_death: Callable[[str], NoReturn],
) -> None:
    """Keep the actors alive until the cluster is told to stop, then stop them in order.

    `listeners` are handed to actors that ask for them; None when somebody else does that (datacenter.py).
    `on_ray_death` gets a message and ends the process: without Ray nothing can be stopped in order.
    """
    vital = vital_processes()
    broker = nullcontext() if listeners is None else listener_broker(settings.run_folder, listeners)
    with ThreadPoolExecutor(1, "raylets") as thread:  # they live for as long as it does
        ray_nodes = further_ray_nodes(specs, thread, link.note)
        homes: dict[str, Home] = {RAY_HEAD: FirstRayNode(ray.get_runtime_context().get_node_id()), **ray_nodes}
        create = ActorMaker(settings)
        keepers = [Keeper(spec, homes[spec.ray_node], create=create, tell=link.note) for spec in specs]
        async with broker, asyncio.TaskGroup() as tasks:
            for name, ray_node in ray_nodes.items():
                tasks.create_task(ray_node.run(), name=name)
            kept = [tasks.create_task(keeper.run(), name=keeper.spec.name) for keeper in keepers]
            async with await asyncio.to_thread(_fault_gate, settings, keepers, ray_nodes.values()):
                telling = tasks.create_task(_tell_phases(keepers, link), name="phases")
                ends: list[Callable[[], Awaitable[str]]] = [_signalled, lambda: _hung_up(link)]
                if not settings.ray_address:
                    ends.append(lambda: _ray_died(vital, on_ray_death))
                _log.info("stopping: %s", await _first(ends))
                telling.cancel()
                for ray_node in ray_nodes.values():
                    ray_node.retire()
            await _stop_in_order(keepers)
            await asyncio.gather(*(ray_node.stop() for ray_node in ray_nodes.values()))
            for task in kept:
                task.cancel()


def further_ray_nodes(
    specs: Iterable[ActorSpec], thread: Executor, tell: Callable[[str], None]
) -> dict[str, FurtherRayNode]:  # fmt: skip
    """Every Ray node but the first that has actors, by name."""
    actors = Counter(spec.ray_node for spec in specs if spec.ray_node != RAY_HEAD)
    return {
        name: FurtherRayNode(name, partial(_start_raylet, name, count), thread=thread, tell=tell)
        for name, count in sorted(actors.items())
    }


def _start_raylet(name: str, worker_count: int) -> Raylet:
    """In the thread of the raylets: it loads what few clusters need."""
    from petset.actors.raylet import start_raylet

    return start_raylet(name, worker_count)


def _fault_gate(
    settings: ClusterSettings, keepers: Sequence[Keeper], ray_nodes: Iterable[FurtherRayNode]
) -> AbstractAsyncContextManager[None]:  # fmt: skip
    """In a thread: it loads a web server, while the actors start."""
    from petset.actors.fault_world import open_fault_gate

    return open_fault_gate(settings, keepers, ray_nodes)


async def _tell_phases(keepers: Iterable[Keeper], link: Link) -> None:
    for phase, kinds in _PHASES:
        for keeper in keepers:
            if keeper.spec.kind in kinds:
                await keeper.wait_ready()
        link.phase(phase)
    for keeper in keepers:
        await keeper.wait_ready()
    link.phase("ready")


async def _first(ends: Iterable[Callable[[], Awaitable[str]]]) -> str:
    """Wait for the first of several reasons to end."""
    waiting = [asyncio.ensure_future(end()) for end in ends]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for each in waiting:
            each.cancel()


async def _signalled() -> str:
    """Ray installs a handler of its own for SIGTERM; this one replaces it, and stays: a second signal is no news."""
    loop = asyncio.get_running_loop()
    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received.put_nowait, number)
    return (await received.get()).name


async def _hung_up(link: Link) -> str:
    if await link.hung_up():
        return "the command that started the cluster is gone"
    forever: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    return await forever


async def _ray_died(vital: Sequence[psutil.Process], on_ray_death: Callable[[str], NoReturn]) -> str:
    name = await vital_process_death(vital)
    on_ray_death(f"Ray's {name} died, and every actor with it; start the cluster again with `petset up`")


async def _stop_in_order(keepers: Sequence[Keeper]) -> None:
    def order(keeper: Keeper) -> int:
        return keeper.spec.options.stop_order

    for _, together in groupby(sorted(keepers, key=order), key=order):
        await asyncio.gather(*(keeper.stop(STOP_GRACE_SECONDS) for keeper in together))

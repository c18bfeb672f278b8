"""A cluster in namespaces of its own: what stays outside of them, and what happens at the border.

    outside   supervisor: lock, API listener, listener broker ──SCM_RIGHTS──▶ api-server
                  │ opens, waits
    inside    an enclosure (network/enclosure.py) with fabric, Ray, actors, pods: everything else

The supervisor's claims and the line to the command stay its own; inside, a copy of it runs the cluster as on the
loopback network. SIGTERM is passed inside, where the cluster stops in order. When the supervisor dies by any signal,
the kernel ends everything inside.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from petset.actors.claims import Claims
from petset.actors.link import Link
from petset.actors.listeners import API, listener_broker
from petset.cluster.network.enclosure import Enclosure, EnclosureFailed


def run_in_datacenter(claims: Claims, link: Link, run: Callable[[Claims, Link], int]) -> int:
    """`run` the cluster inside until it ends; its exit status. Needs a process with a single thread."""
    inside = replace(claims, resources=ExitStack())  # what was claimed is given back outside
    try:
        enclosure = Enclosure.open(lambda: run(inside, link))
    except EnclosureFailed as error:
        link.error(f"no network of namespaces here: {error}; `petset doctor` says more")
        return 1
    asyncio.run(_hold_the_door(claims, enclosure))
    return enclosure.wait()


async def _hold_the_door(claims: Claims, enclosure: Enclosure) -> None:
    """Hand listeners in, and pass the wish to end on, until the enclosure has ended."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, enclosure.terminate)
    ended = asyncio.Event()
    gate = os.pidfd_open(enclosure.gate_pid)
    loop.add_reader(gate, ended.set)
    try:
        async with listener_broker(claims.settings.run_folder, {API: claims.api_listener}):
            await ended.wait()
    finally:
        loop.remove_reader(gate)
        os.close(gate)

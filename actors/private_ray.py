"""Ray for one cluster: a private one that lives and dies with this process, or a namespace of an existing one.

Import this module only after ray_environment.py has set the scene.

A private Ray's processes are children of this one. Two of them must not die unnoticed: without its first raylet
nothing can be started, without its GCS Ray ends this process after a minute. `vital_process_death` sees either at once
(pidfd) and reaps it, as Ray's workers go only when the dead raylet is no longer a zombie. Further raylets (raylet.py)
may die, and come back.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from uuid import uuid4

import psutil
import ray

from petset.cluster.settings import ClusterSettings

OBJECT_STORE_BYTES = 100 * 1024 * 1024
"""Barely used, as calls carry small values; Ray's default is a third of the memory."""

_VITAL_PROCESSES = ("raylet", "gcs_server")
_TOO_SLOW = "timed out during startup"
_DEATH_SECONDS = 10.0

_log = logging.getLogger(__name__)


@contextmanager
def private_ray(settings: ClusterSettings, actor_count: int) -> Iterator[None]:
    """Start a Ray of our own; end it with the block. Must run in the main thread: Ray dies with the calling thread.

    `num_cpus` is how many workers Ray starts in advance, one for each actor on this Ray node; actors themselves take
    no CPU.
    """
    try:
        start_patiently(partial(_start, settings, actor_count), _give_up)
        yield
    finally:
        ray.shutdown()


def start_patiently(start: Callable[[], None], give_up: Callable[[], None]) -> None:
    """Start Ray, and once more when it was too slow: it gives its raylet 30 s, and a busy machine may need as much to
    load it. Raises what Ray raises."""
    try:
        start()
    except Exception as error:  # Ray has no class of its own for this
        if _TOO_SLOW not in str(error):
            raise
        _log.warning("once more, at a load of %.0f on %d cores: %s", os.getloadavg()[0], os.cpu_count() or 1, error)
        give_up()
        start()


def _give_up() -> None:
    """End what a Ray that did not come up has left: all children, for nothing else has been started yet."""
    ray.shutdown()
    children = psutil.Process().children()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, _DEATH_SECONDS)


def _start(settings: ClusterSettings, actor_count: int) -> None:
    ray.init(
        address="local",
        namespace=settings.name,
        num_cpus=actor_count,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=settings.run_folder,
    )


@contextmanager
def joined_ray(settings: ClusterSettings) -> Iterator[None]:
    """Join the Ray at `settings.ray_address`, in a namespace that no other cluster has."""
    ray.init(
        address=settings.ray_address,
        namespace=f"petset-{settings.name}-{uuid4().hex[:8]}",
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    try:
        yield
    finally:
        ray.shutdown()


def vital_processes() -> list[psutil.Process]:
    """What the private Ray cannot do without. Ask before it gets further raylets."""
    return [process for name, process in children_by_name() if name in _VITAL_PROCESSES]


async def vital_process_death(vital: Iterable[psutil.Process]) -> str:
    """Wait until one of these processes dies, and reap it; its name."""
    loop = asyncio.get_running_loop()
    died: asyncio.Future[tuple[str, int]] = loop.create_future()
    with ExitStack() as watches:
        for process in vital:
            descriptor = os.pidfd_open(process.pid)
            watches.callback(os.close, descriptor)
            loop.add_reader(descriptor, _set_once, died, (process.name(), process.pid))
            watches.callback(loop.remove_reader, descriptor)
        name, process_id = await died
    _reap(process_id)
    return name


def children_by_name() -> list[tuple[str, psutil.Process]]:
    """The processes that this one has started and that are still there."""
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            found.append((process.name(), process))
    return found


def _reap(process_id: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(process_id, os.WNOHANG)


def _set_once(future: asyncio.Future[tuple[str, int]], value: tuple[str, int]) -> None:
    if not future.done():
        future.set_result(value)

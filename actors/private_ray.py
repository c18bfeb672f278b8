"""Ray for one cluster: a private one that lives and dies with this process, or a namespace of an existing one.

Import this module only after ray_environment.py has set the scene.

A private Ray's processes are children of this one. Two of them must not die unnoticed: without its raylet nothing
can be started, without its GCS Ray ends this process after a minute. `vital_process_death` sees either at once
(pidfd) and reaps it, as Ray's workers go only when the dead raylet is no longer a zombie.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from uuid import uuid4

import psutil
import ray

from petset.cluster.settings import ClusterSettings

_OBJECT_STORE_BYTES = 100 * 1024 * 1024
"""Barely used, as calls carry small values; Ray's default is a third of the memory."""

_VITAL_PROCESSES = ("raylet", "gcs_server")


@contextmanager
def private_ray(settings: ClusterSettings, actor_count: int) -> Iterator[None]:
    """Start a Ray of our own; end it with the block. Must run in the main thread: Ray dies with the calling thread.

    `num_cpus` is how many workers Ray starts in advance, one for each actor; actors themselves take no CPU.
    """
    try:
        ray.init(
            address="local",
            namespace=settings.name,
            num_cpus=actor_count,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            object_store_memory=_OBJECT_STORE_BYTES,
            _temp_dir=settings.run_folder,
        )
        yield
    finally:
        ray.shutdown()


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


async def vital_process_death() -> str:
    """Wait until a process dies that the private Ray cannot do without, and reap it; the process's name."""
    loop = asyncio.get_running_loop()
    died: asyncio.Future[tuple[str, int]] = loop.create_future()
    with ExitStack() as watches:
        for process in psutil.Process().children():
            name = process.name()
            if name in _VITAL_PROCESSES:
                descriptor = os.pidfd_open(process.pid)
                watches.callback(os.close, descriptor)
                loop.add_reader(descriptor, _set_once, died, (name, process.pid))
                watches.callback(loop.remove_reader, descriptor)
        name, process_id = await died
    _reap(process_id)
    return name


def _reap(process_id: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(process_id, os.WNOHANG)


def _set_once(future: asyncio.Future[tuple[str, int]], value: tuple[str, int]) -> None:
    if not future.done():
        future.set_result(value)

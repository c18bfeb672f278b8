"""The supervisor: the process that is a running cluster. `petset up` starts it; nobody imports it.

    python -m petset.actors.supervisor FOLDER [--changes JSON] [--network N] [--link FD]

    claims (claims.py) ─▶ [into namespaces (datacenter.py)] ─▶
                       ─▶ tokens, certificates, kubeconfig ┐ (helper thread)
                       ─▶ private Ray (private_ray.py)     ┴▶ actors, kept alive (host.py) ─▶ stop ─▶ all given back

- Whatever cannot be had is said in one line over the link (link.py), with exit status 1 and nothing left behind.
- Once it runs, output of the interpreter and of Ray goes to `<folder>/log/supervisor.out`, its own log beside it.
- When it dies, in any way, the cluster dies: Ray's processes and the actors see its end, pods die with their node.
  What a kill leaves behind (the run folder in /tmp) the next supervisor of this cluster removes.
- It must stay in its main thread: Ray's processes are bound to the thread that started them.

Security: the private Ray listens on 127.0.0.1 only, guarded by a token that only this user can read
(ray_environment.py); other users of the machine can connect to its ports, but not use them. On a Ray that is joined
(`--ray-address`) its owner decides. Known limit: on the loopback network every user of the machine can also reach
pods. In namespaces nobody outside can reach any of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import NoReturn

from petset.actors.claims import ClaimError, Claims, Wanted, claim
from petset.actors.datacenter import run_in_datacenter
from petset.actors.link import Link
from petset.actors.listeners import API
from petset.actors.logs import log_to_file
from petset.actors.ray_environment import prepare_joined_ray, prepare_private_ray
from petset.cluster.pki import ensure_tokens
from petset.cluster.settings import RAY_HEAD, ClusterFolder, ClusterSettings

_log = logging.getLogger("petset.actors.supervisor")


def main(arguments: list[str] | None = None) -> int:
    """Run the cluster of one folder until it is told to stop; the exit status."""
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, _exit)
    link = Link(socket.socket(fileno=options.link) if options.link is not None else None)
    wanted = Wanted(options.changes, options.network)
    try:
        claims = claim(ClusterFolder(options.folder.absolute()), wanted)
    except ClaimError as error:
        link.error(str(error))
        return 1
    try:
        if claims.settings.has_namespaces:
            return run_in_datacenter(claims, link, _run)
        return _run(claims, link)
    finally:
        claims.release()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="petset.actors.supervisor", description="Run one cluster.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--changes", type=json.loads, default={}, help="settings to change: {field: value}")
    parser.add_argument("--network")
    parser.add_argument("--link", type=int, help="descriptor of the socket to the command that started this")
    return parser.parse_args(arguments)


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    """Before Ray runs, SIGTERM unwinds the stack, so that what was claimed is given back."""
    raise SystemExit(128 + number)


def _run(claims: Claims, link: Link) -> int:
    settings = claims.settings
    _redirect_output(settings)
    log_to_file(settings.folder, "supervisor")
    for note in claims.notes:
        link.note(note)
    try:
        _start_and_supervise(claims, link)
    except Exception as error:
        _log.exception("the cluster failed")
        link.error(f"{type(error).__name__}: {error}; see {settings.folder.log / 'supervisor.log'}")
        return 1
    _log.info("stopped")
    return 0


def _start_and_supervise(claims: Claims, link: Link) -> None:
    settings = claims.settings
    os.chdir(settings.run_folder)  # Ray adds the current folder to its workers' import path: let it hold no modules
    with ThreadPoolExecutor(1, "preparations") as helper:
        preparations = helper.submit(_prepare, settings)
        if settings.ray_address:
            prepare_joined_ray(os.environ)
        else:
            prepare_private_ray(os.environ, Path(settings.run_folder), os.cpu_count() or 1)

        # Not above: Ray reads the environment when it is imported.
        from petset.actors.host import supervise
        from petset.actors.plan import cluster_actors
        from petset.actors.private_ray import joined_ray, private_ray

        specs = cluster_actors(settings)
        here = sum(spec.ray_node == RAY_HEAD for spec in specs)
        with joined_ray(settings) if settings.ray_address else private_ray(settings, here):
            preparations.result()
            link.phase("ray")
            listeners = None if settings.has_namespaces else {API: claims.api_listener}
            asyncio.run(supervise(settings, specs, listeners=listeners, link=link, on_ray_death=_give_up(claims, link)))


def _prepare(settings: ClusterSettings) -> None:
    """The network, everything in `pki/`, and the kubeconfig. In a thread: their libraries load while Ray starts."""
    if settings.has_namespaces:
        from petset.cluster.network.fabric import build_fabric

        build_fabric(settings.addresses, settings.fabric, node_count=settings.node_count)
    from petset.cluster.certificates import ensure_certificates
    from petset.cluster.kubeconfig import write_kubeconfig

    ensure_tokens(settings)
    ensure_certificates(settings, time.time())
    write_kubeconfig(settings)


def _give_up(claims: Claims, link: Link) -> Callable[[str], NoReturn]:
    def end_everything(message: str) -> NoReturn:
        """Without Ray nothing can be stopped in order: this process's end is what ends all others."""
        link.error(message)
        claims.release()
        os._exit(1)

    return end_everything


def _redirect_output(settings: ClusterSettings) -> None:
    """Whatever is printed from here on, by Ray and the interpreter, goes to a file."""
    settings.folder.log.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (settings.folder.log / "supervisor.out").open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())

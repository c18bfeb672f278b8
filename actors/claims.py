"""What a cluster takes from the machine before anything is started: either all of it, or a message and no trace.

    folder, lock ─▶ stored settings ─▶ network ─▶ a Ray to join answers ─▶ API listener
                                                       ─▶ slot ─▶ DNS port ─▶ run folder ─▶ settings.json

Each step can fail for a reason that is the user's to mend (`ClaimError`: one line that says what to do); then every
earlier step is undone, and a folder that was made here is removed again. The claims are held for the supervisor's
life: sockets and the lock vanish with the process, whatever ends it. A run folder left behind by a supervisor that
was killed is removed by the next one.

On the loopback network, the *slot* is the cluster's share of 127/8 (network/addresses.py). It is claimed machine-wide,
also across users, by a bound socket on an address of the slot itself; the slot of the last run is tried first, so
that addresses stay.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from petset.cluster import lock
from petset.cluster.network.addresses import LOOPBACK_SLOTS, loopback_plan
from petset.cluster.network.kernel import probe
from petset.cluster.settings import RUN_FOLDER_PREFIX, ClusterFolder, ClusterSettings, SettingsError

SLOT_PORT = 65531
"""Where slots are claimed: above every ephemeral range in use."""

UNPRIVILEGED_DNS_PORT = 1053
DNS_PORT = 53
DEFAULT_API_PORT = 6443
DEFAULT_NETWORK = "auto"
LOOPBACK_LIMITS = (
    "network loopback: a pod is an address of 127/8; it sees the host's processes and paths, and cannot be cut off"
)
RAY_ANSWER_SECONDS = 5.0
_BACKLOG = 512
"""Clients that connect while the API server is being (re)started wait in the listener's queue, not more than these."""


class ClaimError(Exception):
    """The cluster cannot start on this machine as asked; the message says what to do."""


@dataclass(frozen=True)
class Wanted:
    """What `petset up` was asked for: `changes` of settings (field of ClusterSettings -> value), the rest stays.

    `network` is one of the settings' networks, or `auto` (namespaces where the kernel allows them); None: as before.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    network: str | None = None

    @property
    def port(self) -> int | None:
        return self.changes.get("port")


@dataclass(frozen=True)
class Claims:
    """Everything held, and the settings that came of it. `notes` are for the user to read."""

    settings: ClusterSettings
    api_listener: socket.socket
    notes: tuple[str, ...]
    resources: ExitStack

    def release(self) -> None:
        """Give everything back, the lock last."""
        self.resources.close()


def namespaces_refusal() -> str:
    """Why this machine cannot give a cluster namespaces; empty when it can."""
    return probe(only_needed=True).refusal


def claim(
    folder: ClusterFolder, wanted: Wanted, refusal: Callable[[], str] = namespaces_refusal
) -> Claims:  # fmt: skip
    """Take everything that the cluster of this folder needs. Raises ClaimError and leaves nothing behind."""
    with ExitStack() as undo:
        resources = undo.enter_context(ExitStack())
        is_new = not folder.root.exists()
        _make_and_lock(folder, resources)
        if is_new:
            undo.callback(shutil.rmtree, folder.root)
        before = _stored_settings(folder)
        wished = _merge(folder, before, wanted)
        if wished.ray_address:
            refusal = _joined_ray_refusal
        network, notes = choose_network(before, wanted, refusal)
        if wished.ray_address:
            check_ray(wished.ray_address)
        listener = resources.enter_context(_bind_api(_port_to_bind(before, wanted)))
        slot, dns_port = 0, DNS_PORT
        if network == "loopback":
            slot = claim_slot(wished.slot, resources)
            dns_port, dns_notes = choose_dns_port(slot)
            notes += dns_notes
        wished.remove_run_folder()
        run_folder = tempfile.mkdtemp(prefix=RUN_FOLDER_PREFIX)
        resources.callback(replace(wished, run_folder=run_folder).remove_run_folder)
        port = listener.getsockname()[1]
        wished = replace(wished, network=network, run_folder=run_folder)
        settings = replace(wished, port=port, slot=slot, dns_port=dns_port)
        settings.save()
        undo.pop_all()
        return Claims(settings, listener, notes, resources)


def _make_and_lock(folder: ClusterFolder, resources: ExitStack) -> None:
    try:
        folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = lock.acquire(folder.lock)
    except OSError as error:
        raise ClaimError(
            f"cannot write to {folder.root} ({error.strerror}); set PETSET_HOME to a folder of yours"
        ) from error
    if descriptor is None:
        name = folder.root.name
        raise ClaimError(f"cluster {name} is already running; stop it with `petset down {name}`, or use another name")
    resources.callback(os.close, descriptor)


def _stored_settings(folder: ClusterFolder) -> ClusterSettings | None:
    try:
        return folder.read_settings()
    except FileNotFoundError:
        return None
    except SettingsError as error:
        raise ClaimError(str(error)) from error


def _merge(folder: ClusterFolder, before: ClusterSettings | None, wanted: Wanted) -> ClusterSettings:
    """What was stored, changed by what was asked for. The folder's own place decides the name: it may have moved."""
    try:
        settings = before or ClusterSettings(folder.root.name, str(folder.root.parent))
        return replace(settings, **{**wanted.changes, "name": folder.root.name, "home": str(folder.root.parent)})
    except SettingsError as error:
        raise ClaimError(str(error)) from error


def _joined_ray_refusal() -> str:
    return "a joined Ray runs outside of them (--ray-address)"


def choose_network(
    before: ClusterSettings | None, wanted: Wanted, refusal: Callable[[], str]
) -> tuple[str, tuple[str, ...]]:  # fmt: skip
    """The network of the cluster, and what the user should know about it. Raises ClaimError.

    A cluster keeps the one that it began with: its objects hold addresses of it.
    """
    asked = wanted.network or (before.network if before else DEFAULT_NETWORK)
    if before and asked == "auto":
        asked = before.network
    if before and asked != before.network:
        raise ClaimError(
            f"cluster {before.name} began with --network {before.network}, and its objects hold addresses of it;"
            f" use another name, or `petset down {before.name} --purge` first"
        )
    if asked == "loopback":
        return asked, (LOOPBACK_LIMITS,) if wanted.network == asked else ()
    if not (reason := refusal()):
        return "namespaces", ()
    if asked == "namespaces":
        raise ClaimError(f"no network of namespaces here: {reason}; `petset doctor` says more")
    return "loopback", (f"no network of namespaces here: {reason}", LOOPBACK_LIMITS)


def check_ray(address: str) -> None:
    """Whether anything answers at the Ray that is to be joined; Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), RAY_ANSWER_SECONDS).close()
    except ValueError as error:
        raise ClaimError(f"--ray-address {address}: give it as host:port") from error
    except OSError as error:
        raise ClaimError(f"no Ray answers at {address} ({error.strerror or error}); check --ray-address") from error


def _port_to_bind(before: ClusterSettings | None, wanted: Wanted) -> int:
    """The one that is asked for, 0 for any free one; else a cluster that comes back keeps the one that it had."""
    if wanted.port is not None:
        return wanted.port
    return before.port if before else DEFAULT_API_PORT


def _bind_api(port: int) -> socket.socket:
    """The API server's listener. Raises ClaimError."""
    try:
        return _listen(port)
    except OSError as error:
        raise ClaimError(explain_port_error(port, error)) from error


def explain_port_error(port: int, error: OSError) -> str:
    """What to do when a port cannot be had."""
    if isinstance(error, PermissionError):
        return f"port {port} needs root; choose one above 1023 with --port"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken by another program; choose another with --port (0: any free one)"
    return f"cannot listen on port {port} ({error.strerror}); choose another with --port (0: any free one)"


def _listen(port: int) -> socket.socket:
    """A listener on 127.0.0.1, listening from now on: early clients wait instead of being refused."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def claim_slot(preferred: int, resources: ExitStack) -> int:
    """Take a share of 127/8: the one of the last run, or the first that is free."""
    for slot in [preferred, *(slot for slot in range(LOOPBACK_SLOTS) if slot != preferred)]:
        mark = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            mark.bind((str(loopback_plan(slot).services[-2]), SLOT_PORT))
        except OSError:
            mark.close()
            continue
        resources.callback(mark.close)
        return slot
    raise ClaimError(f"all {LOOPBACK_SLOTS} address ranges of 127/8 are in use; stop another cluster first")


def choose_dns_port(slot: int) -> tuple[int, tuple[str, ...]]:
    """Port 53 when this user may bind it and nobody has it; else an unprivileged one, and a note that says so.

    resolv.conf knows no ports (resolv.conf(5)): on another port than 53 only programs that are told so find it.
    """
    address = loopback_plan(slot).dns_address
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                if kind == socket.SOCK_STREAM:  # connections of the last run may linger; for UDP it would hide a rival
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, DNS_PORT))
    except OSError as error:
        reason = error.strerror or str(error)
        return UNPRIVILEGED_DNS_PORT, (
            f"DNS answers on {address}:{UNPRIVILEGED_DNS_PORT}, not on port {DNS_PORT} ({reason})",
        )
    return DNS_PORT, ()

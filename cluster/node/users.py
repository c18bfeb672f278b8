"""Becoming another user without being allowed to: how a program sees itself, and its files.

    on the host          root, or whoever runs the cluster          0 in the cluster's own user namespace
    in the container     postgres (101)                             101, by a user namespace of one line: 101 ◀─ 0

Programs that refuse to be root run, and files on volumes are theirs, whoever they take themselves for: on the disk all
belong to the cluster's user. Nothing is confined by that. Who is not root to begin with stays who it is. The namespace
ends with the program; without privileges in it, low ports need the pod's own network to be open to all, as containerd
makes it.
"""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path

from petset.cluster.network import syscalls


def become_user(user: str, *, own_network: bool) -> None:
    """`user` is a name of the host, or `uid:gid`. Needs a single thread. Raises OSError."""
    uid, gid = _numbers(user)
    if os.geteuid() != 0 or uid == 0:
        return
    if own_network:
        with suppress(OSError):  # kernels before 4.11
            Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    syscalls.unshare(syscalls.NEW_USER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} 0 1"), ("gid_map", f"{gid} 0 1")):
        Path("/proc/self", name).write_text(text)


def _numbers(user: str) -> tuple[int, int]:
    first, _, second = user.partition(":")
    if first.isdigit():
        return int(first), int(second or 0)
    try:
        known = pwd.getpwnam(user)
    except KeyError:
        raise OSError(f"no user {user!r} on this machine") from None
    return known.pw_uid, known.pw_gid

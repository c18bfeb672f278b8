"""What a machine holds for nobody: processes, network cables and folders that belong to no pod it knows.

A machine that works has none. What comes or goes at this moment may show for an instant: whoever finds something should
look again before he believes it. A cable that was pulled is no leftover, though the kernel may take a while with it.
"""

from __future__ import annotations

import fcntl
import re
import socket
import struct
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil

from petset.cluster.api.cri import SandboxStatus
from petset.cluster.network import syscalls

_CABLE = re.compile(r"pod\d+")
_GET_FLAGS, _UP = 0x8913, 0x1
"""SIOCGIFFLAGS and IFF_UP (linux/sockios.h, linux/if.h)."""


def find_leftovers(
    folder: Path, sandboxes: Sequence[SandboxStatus], *,
    warm_parent_pid: int, first_pids: Collection[int], network_namespace: str = "",
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    """{"processes": [{"pid", "name"}], "namespaces": [{"cable"}], "folders": [{"path"}]}. Blocks for milliseconds.

    `first_pids` are of everything that was launched and has not ended; `network_namespace` "": pods have no cables.
    """
    known = {sandbox.uid for sandbox in sandboxes}
    cables = {f"pod{sandbox.ip.rpartition('.')[2]}" for sandbox in sandboxes}
    return {
        "processes": [*_strays(warm_parent_pid, first_pids)],
        "namespaces": [{"cable": name} for name in _cables(network_namespace) if name not in cables],
        "folders": [{"path": str(path)} for path in _pod_folders(folder) if path.name not in known],
    }


def _strays(warm_parent_pid: int, first_pids: Collection[int]) -> Iterable[dict[str, Any]]:
    """Below the warm parent, but below nothing that runs."""
    try:
        below = psutil.Process(warm_parent_pid).children(recursive=True) if warm_parent_pid else []
    except psutil.NoSuchProcess:
        return
    owned: set[int] = set()
    for process in below:  # parents come before their children
        try:
            if process.pid in first_pids or process.ppid() in owned:
                owned.add(process.pid)
            elif process.status() != psutil.STATUS_ZOMBIE:
                yield {"pid": process.pid, "name": process.name()}
        except psutil.NoSuchProcess:
            continue


def _cables(network_namespace: str) -> list[str]:
    if not network_namespace:
        return []
    with syscalls.visiting(network_namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        names = [name for _, name in socket.if_nameindex() if _CABLE.fullmatch(name)]
        return [name for name in names if _is_plugged_in(asker, name)]


def _is_plugged_in(asker: socket.socket, cable: str) -> bool:
    """A pulled cable is down: the kernel removes it once the last connection of its pod has given up, in a minute."""
    try:
        answer = fcntl.ioctl(asker, _GET_FLAGS, struct.pack("16sH14x", cable.encode(), 0))
    except OSError:  # it is gone
        return False
    return bool(struct.unpack("16sH14x", answer)[1] & _UP)


def _pod_folders(folder: Path) -> list[Path]:
    return [path for part in ("pods", "trash") if (folder / part).is_dir() for path in (folder / part).iterdir()]

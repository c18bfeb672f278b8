"""Which network disks are kept from which nodes: the storage's own memory, beside the disks.

    <volumes>/fenced/<node>/<disk>     this node may not use this disk, whoever on it asks

Somebody who takes a disk away from a node (attacher.py) first writes the mark, then has the machine kill what holds the
disk; the machine looks for the mark right before it starts a container. So a process that is not killed has not been
started: neither a kubelet that heard nothing of it nor a machine that died and came back can bring a writer back. The
mark goes when the disk is attached to that node again, and all of them go when the cluster fences no more.

Killing is what provably ends writes: a mount that has files open for writing cannot be made read-only (EBUSY), and
unmounting it leaves open files as they are.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from petset.cluster.api.cri import CreationFailure, Volume
from petset.cluster.node.sandbox import disk_name, one_name


class Fences:
    """The marks below the cluster's folder of volumes."""

    def __init__(self, volumes: Path) -> None:
        self._folder = volumes / "fenced"

    def keep_out(self, node: str, disk: str) -> None:
        """From now on, on disk: the node starts nothing with this one. Raises OSError, RuntimeFailure."""
        mark = self._mark(node, disk)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        _sync(mark.parent)

    def admit(self, node: str, disk: str) -> None:
        """The node may use the disk. Raises OSError, RuntimeFailure."""
        self._mark(node, disk).unlink(missing_ok=True)

    def forget(self) -> None:
        """Every node may use every disk: the cluster is brought up without fencing, and nobody would admit them."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def check(self, node: str, volumes: Iterable[Volume]) -> None:
        """Raises CreationFailure for the first of a pod's volumes that is kept from the node."""
        for volume in volumes:
            if volume.kind == "disk" and self._mark(node, volume.source).exists():
                raise CreationFailure(f"volume {volume.name!r}: disk {volume.source} is no longer attached to {node}")

    def _mark(self, node: str, disk: str) -> Path:
        return self._folder / one_name(node, "node") / disk_name(disk)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

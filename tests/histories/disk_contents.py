"""What the disks of fake machines hold: real folders, where the machine would have them, and what was acknowledged.

    sandbox with a volume ──▶ its folder is made and opened (a real machine mounts it)
    while the pod runs    ──▶ a record is appended; that it is written is an acknowledgement to the claim's users
    recycler pod          ──▶ the folder is emptied
    disk driver           ──▶ removes folders by itself: it is the real one

A folder that is held open and was removed takes no more records, as a mounted one would not show them to anybody.
"""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from petset.cluster.api.cri import SandboxSpec, Volume
from petset.cluster.api.objects import Object
from petset.cluster.controllers.volume_phases import RECYCLER_PREFIX
from petset.cluster.node.disk_driver import disk_folder
from petset.cluster.node.sandbox import PodFolder

JOURNAL = "journal"


@dataclass
class Mounted:
    """A persistent volume of one pod."""

    pod_uid: str
    volume: Volume
    folder: Path
    descriptor: int


@dataclass
class Contents:
    """The cluster's folder of volumes, and what must be found there."""

    volumes: Path
    acknowledged: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """claim uid -> records"""
    mounted: list[Mounted] = field(default_factory=list)
    _count: int = 0

    def mount(self, spec: SandboxSpec) -> None:
        """What the machine does when it makes a sandbox; of a recycler pod, what its program does."""
        for volume in spec.volumes:
            folder = self._folder(volume)
            if spec.name.startswith(RECYCLER_PREFIX):
                (folder / JOURNAL).unlink(missing_ok=True)
            elif volume.persistent:
                folder.mkdir(parents=True, exist_ok=True)
                self.mounted.append(Mounted(spec.uid, volume, folder, os.open(folder, os.O_RDONLY)))

    def write(self, pod: Mounted, claim_uid: str) -> None:
        """The pod's program appends a record, and tells its users when it is there."""
        self._count += 1
        record = f"{claim_uid}/{pod.pod_uid}/{self._count}"
        with suppress(FileNotFoundError):  # the disk was removed: nobody is told anything
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            journal = os.open(JOURNAL, flags, 0o644, dir_fd=pod.descriptor)
            os.write(journal, f"{record}\n".encode())
            os.close(journal)
            self.acknowledged[claim_uid].add(record)

    def lost(self, claim_uid: str, folder: Path) -> set[str]:
        """The records that were acknowledged to users of the claim and are not in the folder."""
        return self.acknowledged[claim_uid] - self._records(folder)

    def foreign(self, claim_uid: str, folder: Path) -> set[str]:
        """The records in the folder that are no holder's of the claim."""
        return {each for each in self._records(folder) if not each.startswith(f"{claim_uid}/")}

    def folder_of(self, volume: Object) -> Path:
        """Where the files of a PersistentVolume are, as the storage says, not the kubelet."""
        host_path = Volume("", "hostPath", (volume["spec"].get("hostPath") or {}).get("path", ""))
        return disk_folder(self.volumes, volume) or self._folder(host_path)

    def _records(self, folder: Path) -> set[str]:
        with suppress(FileNotFoundError):
            return {*(folder / JOURNAL).read_text().split()}
        return set()

    def unmount(self, pod: Mounted) -> None:
        self.mounted.remove(pod)
        os.close(pod.descriptor)

    def _folder(self, volume: Volume) -> Path:
        return PodFolder(self.volumes / "unused", self.volumes).volume_path(volume)

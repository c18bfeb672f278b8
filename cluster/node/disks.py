"""The volumes of one machine as the storage sees them: who holds a disk, how it is taken away, and its faults.

A part of the machine (machine.py) that its kubelet knows nothing of; what is asked for here comes from the storage's
side of the cluster (attacher.py) or from whoever makes trouble on purpose (disk_watch.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from petset.cluster.api.cri import ContainerSpec
from petset.cluster.node.containers import Sandbox
from petset.cluster.node.descriptors import Stdio
from petset.cluster.node.disk_watch import DiskFault, DiskWatch
from petset.cluster.node.fencing import Fences
from petset.cluster.node.launch import WATCHER, Launch
from petset.cluster.node.sandbox import ContainerPaths
from petset.cluster.node.syscall_filter import refusal
from petset.cluster.node.warm_link import Process, WarmLink

KillAll = Callable[[Sandbox], Awaitable[None]]
"""Kills every container of a sandbox and returns when they are gone; raises RuntimeFailure when they do not die."""


class DiskFaultRefused(Exception):
    """Faults of disks cannot be had here; the message says why."""


class MachineDisks:
    """The disks in use on node `name`; `sandboxes` is the machine's own table, `volumes` the cluster's folder.

    `has_faults`: containers with volumes are started so that their disks can be troubled.
    """

    def __init__(
        self, name: str, volumes: Path, sandboxes: Mapping[str, Sandbox], kill_all: KillAll, *, has_faults: bool
    ) -> None:
        self._name = name
        self._fences = Fences(volumes)
        self._sandboxes = sandboxes
        self._kill_all = kill_all
        self._has_faults = has_faults
        self._injected: dict[str, tuple[str, DiskFault]] = {}
        self._faults: dict[str, list[DiskFault]] = {}

    def check(self, sandbox: Sandbox) -> None:
        """Raises CreationFailure when a disk of the sandbox is kept from this node."""
        self._fences.check(self._name, sandbox.spec.volumes)

    async def revoke(self, disk: str) -> None:
        """Kill whatever holds the disk; nothing on this machine writes to it any more. Raises RuntimeFailure.

        The caller has kept the node out before: nothing new starts with the disk meanwhile.
        """
        for sandbox in [*self._holders(disk)]:
            await self._kill_all(sandbox)

    def _holders(self, disk: str) -> Iterable[Sandbox]:
        for sandbox in self._sandboxes.values():
            if any(each.kind == "disk" and each.source == disk for each in sandbox.spec.volumes):
                yield sandbox

    # -- faults ---------------------------------------------------------------------------------------------------

    def inject(self, key: str, volume: str, fault: DiskFault) -> None:
        """Trouble a volume (its unique name) until `key` is healed, for those that hold it now or later.

        Raises DiskFaultRefused. A machine that starts anew knows of no faults.
        """
        if not self._has_faults:
            raise DiskFaultRefused("disks can be troubled in clusters that were brought up with --disk-faults")
        if why := refusal():
            raise DiskFaultRefused(why)
        self._injected[key] = (volume, fault)
        self._count_up()

    def heal(self, key: str) -> None:
        """End a fault; one that is not there is no error."""
        self._injected.pop(key, None)
        self._count_up()

    def _count_up(self) -> None:
        self._faults.clear()  # in place: the watches look at this one
        for volume, fault in self._injected.values():
            self._faults.setdefault(volume, []).append(fault)

    def launch(
        self, link: WarmLink, launch: Launch, sandbox: Sandbox, *, spec: ContainerSpec, paths: ContainerPaths,
        stdio: Stdio,
    ) -> Process:  # fmt: skip
        """Start a container, under the eyes of a watch where it has volumes. Raises RuntimeFailure."""
        places = self._places(launch, sandbox, spec, paths)
        if not places:
            return link.launch(launch, stdio.theirs)
        watch = DiskWatch(places, self._faults)
        with watch.theirs:
            watched = replace(launch, stdio=(*launch.stdio, (WATCHER,)))
            try:
                process = link.launch(watched, (*stdio.theirs, watch.theirs.fileno()))
            except BaseException:
                watch.close()
                raise
        process.ended.add_done_callback(lambda _: watch.close())
        return process

    def _places(self, launch: Launch, sandbox: Sandbox, spec: ContainerSpec, paths: ContainerPaths) -> dict[str, str]:
        """Where the program finds its persistent volumes; empty when nobody is to watch them."""
        if not self._has_faults or refusal():
            return {}
        found = {}
        for mount in spec.mounts:
            if name := sandbox.volumes[mount.volume].persistent:
                place = mount.target if launch.isolation else str(paths.host_path(mount.target))
                found[place] = name
        return found

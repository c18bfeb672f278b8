"""Where a machine's pods live: the making and leaving of a pod's address, hostPorts, folder and volumes.

    prepare  persistent disks, given to the pod's group                   may take long, and holds up no other pod
    make     address (Network) ─▶ hostPorts ─▶ folders, files, volumes        undone when one cannot be had
    leave    memory volumes, folder ─▶ trash, hostPorts, address          then, in its own time: the trash is emptied

A machine begins with an empty folder: what its last life left is removed first. Persistent disks stay.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

from petset.cluster.api.cri import MountFailure, RuntimeFailure, SandboxSpec
from petset.cluster.network.network import Network, PodNetwork
from petset.cluster.node.containers import Sandbox
from petset.cluster.node.port_mappings import PortMappings
from petset.cluster.node.sandbox import PodFolder, one_name
from petset.cluster.node.volume_folder import make_shared_memory, unmount_below
from petset.cluster.trees import remove_tree


class PodPlaces:
    """Makes the sandboxes of one machine in its `folder`; `volumes` is the cluster's."""

    def __init__(self, folder: Path, volumes: Path, network: Network) -> None:
        self._folder = folder
        self._volumes = volumes
        self._network = network
        self._ports = PortMappings(network)
        self._trash_numbers = count(1)

    @property
    def node_namespace(self) -> str:
        """The path of the machine's own network namespace; "" where it has none."""
        return self._network.host_pod().namespaces.get("net", "")

    def clean(self) -> None:
        """Begin with an empty folder. Blocks on the disk."""
        unmount_below(self._folder)
        for name in ("pods", "trash"):
            with suppress(OSError):
                remove_tree(self._folder / name)
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self._volumes.mkdir(parents=True, exist_ok=True)

    async def prepare_disks(self, spec: SandboxSpec) -> None:
        """The pod's persistent disks, before `make`; who owns many files is changed beside the loop.

        Raises RuntimeFailure; what was changed stays so.
        """
        folder = self._pod_folder(spec)
        try:
            if spec.group is None:
                folder.give_disks(spec)
            else:
                await asyncio.to_thread(folder.give_disks, spec)
        except OSError as error:
            raise RuntimeFailure(f"cannot prepare pod {spec.namespace}/{spec.name}: {error}") from error

    async def make(self, spec: SandboxSpec, network_key: str, *, created_at: float) -> Sandbox:
        """The pod's place; `network_key` "" is the machine's own network. Raises RuntimeFailure, and leaves nothing."""
        folder = self._pod_folder(spec)
        try:
            network = await self._network.attach_pod(network_key) if network_key else self._network.host_pod()
        except (LookupError, OSError) as error:
            raise RuntimeFailure(f"no network for pod {spec.namespace}/{spec.name}: {error}") from error
        try:
            await self._ports.open(spec.uid, spec.ports if network_key else (), network.address)
            folder.create(spec, network.address, can_mount=bool(network.namespaces))
            if network.namespaces and not network.shared_memory:  # the machine's own network brings none
                make_shared_memory(folder.shared_memory)
                network = replace(network, shared_memory=str(folder.shared_memory))
        except (OSError, RuntimeFailure) as error:
            await self._undo(spec, folder, network, network_key)
            if isinstance(error, MountFailure):
                raise
            raise RuntimeFailure(f"cannot prepare pod {spec.namespace}/{spec.name}: {error}") from error
        return Sandbox(spec, folder, network, network_key, created_at=created_at)

    async def leave(self, sandbox: Sandbox) -> Path:
        """Give up a pod's place; its files are to be removed from where the answer says.

        Raises RuntimeFailure: it is to be left again, which goes on where this failed.
        """
        trash = self._folder / "trash" / str(next(self._trash_numbers))
        try:
            _unmount(sandbox.spec, sandbox.folder, sandbox.network)
            trash.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # moved before, or removed by somebody
                os.rename(sandbox.folder.root, trash)
            await self._ports.close(sandbox.spec.uid)
            if sandbox.network_key:
                await self._network.detach_pod(sandbox.network_key)
        except OSError as error:
            raise RuntimeFailure(f"cannot remove pod {sandbox.spec.namespace}/{sandbox.spec.name}: {error}") from error
        return trash

    async def close(self) -> None:
        """No port of the machine leads to a pod any more, and their memory is given back; all processes have ended."""
        await self._ports.close_all()
        unmount_below(self._folder)

    def _pod_folder(self, spec: SandboxSpec) -> PodFolder:
        return PodFolder(self._folder / "pods" / one_name(spec.uid, "pod"), self._volumes)

    async def _undo(self, spec: SandboxSpec, folder: PodFolder, network: PodNetwork, network_key: str) -> None:
        await self._ports.close(spec.uid)
        if network_key:
            await self._network.detach_pod(network_key)
        _unmount(spec, folder, network)
        with suppress(OSError):
            remove_tree(folder.root)


def _unmount(spec: SandboxSpec, folder: PodFolder, network: PodNetwork) -> None:
    if network.namespaces and (spec.host_network or any(volume.in_memory for volume in spec.volumes)):
        unmount_below(folder.root)

"""What the machine holds of one pod and its containers, and how a container's spec becomes a launch."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import petset
from petset.cluster.api.cri import ContainerSpec, ContainerStatus, SandboxSpec, SandboxStatus, Volume
from petset.cluster.network.network import PodNetwork
from petset.cluster.node.container_io import ContainerIo
from petset.cluster.node.descriptors import Stdio
from petset.cluster.node.images import Program, fill_placeholders
from petset.cluster.node.isolation import Isolation
from petset.cluster.node.launch import Launch
from petset.cluster.node.pod_root import PodRoot
from petset.cluster.node.sandbox import ContainerPaths, PodFolder
from petset.cluster.node.warm_link import Process

_TERMINAL = {"TERM": "xterm"}
_PETAPP = Path(petset.__file__).parent / "petapp"


@dataclass
class Container:
    status: ContainerStatus
    launch: Launch
    process: Process
    io: ContainerIo
    start_error: str = ""


@dataclass
class Sandbox:
    spec: SandboxSpec
    folder: PodFolder
    network: PodNetwork
    network_key: str
    created_at: float
    containers: dict[tuple[str, int], Container] = field(default_factory=dict)
    removing: bool = False

    @property
    def volumes(self) -> Mapping[str, Volume]:
        return {volume.name: volume for volume in self.spec.volumes}

    def status(self) -> SandboxStatus:
        return SandboxStatus(
            uid=self.spec.uid,
            namespace=self.spec.namespace,
            name=self.spec.name,
            ip=self.network.address,
            created_at=self.created_at,
            containers=tuple(container.status for container in self.containers.values()),
        )


def make_launch(
    container_id: str, *, spec: ContainerSpec, program: Program, sandbox: Sandbox, paths: ContainerPaths, stdio: Stdio
) -> Launch:
    """The container as the warm parent is to start it; the folders that its environment names are made."""
    isolated = bool(sandbox.network.namespaces)
    resolv_conf = "/etc/resolv.conf" if isolated else str(sandbox.folder.resolv_conf)
    values = {
        "address": sandbox.network.address,
        "hostname": sandbox.spec.hostname,
        "resolv_conf": resolv_conf,
        "petapp": str(_PETAPP),
        "python": sys.executable,
    }
    folders: list[str] = []

    def folder(path: str) -> str:
        folders.append(path)
        return path if isolated else str(paths.host_folder(path))

    def fill(text: str) -> str:
        return fill_placeholders(text, values, folder)

    own_args = spec.args or (() if spec.command else tuple(fill(text) for text in program.args))
    entry = spec.command or tuple(fill(text) for text in program.command)
    python = "" if spec.command else program.python
    environment = {
        **(_TERMINAL if spec.tty else {}),
        "HOME": folder("/root"),
        "HOSTNAME": sandbox.spec.hostname,
        "PET_RESOLV_CONF": resolv_conf,
        **sandbox.network.environment,
        **{name: fill(text) for name, text in program.env.items()},
        **spec.env,
    }
    return Launch(
        id=container_id,
        python=python,
        argv=(program.name, *own_args) if python else (*entry, *own_args),
        cwd=folder(spec.working_dir or program.working_dir or "/"),
        env=environment,
        title=sandbox.spec.name,
        stdio=stdio.targets,
        tty=stdio.tty,
        isolation=_isolation(sandbox, spec, paths, folders) if isolated else None,
    )


def _isolation(sandbox: Sandbox, spec: ContainerSpec, paths: ContainerPaths, folders: list[str]) -> Isolation:
    read_only = {PurePosixPath("/", mount.target): mount.read_only for mount in spec.mounts}
    etc = sandbox.folder.resolv_conf.parent
    root = PodRoot(
        scratch=str(paths.root),
        mounts={str(target): (str(source), read_only[target]) for target, source in paths.mounts.items()},
        files={f"/etc/{name}": str(etc / name) for name in ("hostname", "hosts", "resolv.conf")},
        folders=tuple(folders),
        hidden=(str(sandbox.folder.volumes.parent),),
    )
    return Isolation(sandbox.spec.hostname, root, sandbox.network.namespaces)


def command_launch(container: Container, command: tuple[str, ...], number: str, stdio: Stdio | None = None) -> Launch:
    """A further command inside a container; its output is captured, unless it comes with streams of its own."""
    terminal = _TERMINAL if stdio and stdio.tty else {}
    return replace(
        container.launch,
        id=f"{container.status.id}/{number}",
        argv=command,
        python="",
        env={**terminal, **container.launch.env},
        stdio=stdio.targets if stdio else (),
        tty=bool(stdio and stdio.tty),
        inside=container.status.id,
    )


def container_id(sandbox_uid: str, name: str, attempt: int) -> str:
    return "petset://" + hashlib.sha256(f"{sandbox_uid}/{name}/{attempt}".encode()).hexdigest()

"""What the machine holds of one pod and its containers, and how a container's spec becomes a launch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from petset.cluster.api.cri import (
    ContainerSpec,
    ContainerStatus,
    Image,
    RuntimeFailure,
    SandboxSpec,
    SandboxStatus,
    Volume,
)
from petset.cluster.network.network import PodNetwork
from petset.cluster.node.container_io import ContainerIo
from petset.cluster.node.descriptors import Stdio
from petset.cluster.node.image_place import ImagePlace
from petset.cluster.node.images import Program
from petset.cluster.node.isolation import Isolation
from petset.cluster.node.last_words import Words
from petset.cluster.node.launch import Launch
from petset.cluster.node.pod_root import PodRoot
from petset.cluster.node.sandbox import ContainerPaths, PodFolder
from petset.cluster.node.warm_link import Process

_TERMINAL = {"TERM": "xterm"}


@dataclass
class Container:
    status: ContainerStatus
    launch: Launch
    process: Process
    io: ContainerIo
    words: Words
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

    def running(self, name: str) -> Container:
        """The container of that name that runs. Raises RuntimeFailure."""
        for container in self.containers.values():
            if container.status.name == name and container.status.state == "running":
                return container
        raise RuntimeFailure(f"unable to find target container {name!r}")

    def status(self) -> SandboxStatus:
        return SandboxStatus(
            uid=self.spec.uid,
            namespace=self.spec.namespace,
            name=self.spec.name,
            ip=self.network.address,
            created_at=self.created_at,
            containers=tuple(container.status for container in self.containers.values()),
            volumes=self.spec.persistent_volumes,
        )


def created(its_id: str, spec: ContainerSpec, image: Image) -> ContainerStatus:
    """The status that a container begins with."""
    return ContainerStatus(
        id=its_id,
        name=spec.name,
        image=spec.image,
        image_id=image.id,
        attempt=spec.attempt,
        state="created",
    )


def make_launch(
    container_id: str, *, spec: ContainerSpec, program: Program, sandbox: Sandbox, paths: ContainerPaths, stdio: Stdio
) -> Launch:
    """The container as the warm parent is to start it; the folders that its environment names are made."""
    isolated = bool(sandbox.network.namespaces)
    place = ImagePlace(
        program,
        spec,
        pod=sandbox.folder,
        paths=paths,
        hostname=sandbox.spec.hostname,
        address=sandbox.network.address,
        isolated=isolated,
    )
    place.place_files()
    own_args = spec.args or (() if spec.command else tuple(place.fill(text) for text in program.args))
    entry = spec.command or tuple(place.fill(text) for text in program.command)
    python = "" if spec.command else program.python
    environment = {
        **(_TERMINAL if spec.tty else {}),
        **({"PATH": program.search_path} if program.path else {}),
        "HOME": place.home,
        "HOSTNAME": sandbox.spec.hostname,
        "PET_RESOLV_CONF": place.resolv_conf,
        **_termination_log(spec, paths, isolated=isolated),
        **sandbox.network.environment,
        **{name: place.fill(text) for name, text in program.env.items()},
        **spec.env,
    }
    return Launch(
        id=container_id,
        python=python,
        argv=(program.name, *own_args) if python else (*entry, *own_args),
        cwd=place.folder(spec.working_dir or program.working_dir or "/"),
        env=environment,
        title=sandbox.spec.name,
        stdio=stdio.targets,
        tty=stdio.tty,
        user=spec.user or program.user,
        isolation=_isolation(sandbox, spec, paths, place) if isolated else None,
    )


def _termination_log(spec: ContainerSpec, paths: ContainerPaths, *, isolated: bool) -> dict[str, str]:
    """Where the container may leave its last words: at its own path, or wherever that is without files of its own."""
    if not spec.termination_log:
        return {}
    return {"PET_TERMINATION_LOG": spec.termination_log if isolated else str(paths.host_path(spec.termination_log))}


def _isolation(sandbox: Sandbox, spec: ContainerSpec, paths: ContainerPaths, place: ImagePlace) -> Isolation:
    read_only = {
        PurePosixPath("/", mount.target)
        for mount in spec.mounts
        if mount.read_only or sandbox.volumes[mount.volume].read_only
    }
    etc = sandbox.folder.resolv_conf.parent
    root = PodRoot(
        scratch=str(paths.root),
        mounts={str(target): (str(source), target in read_only) for target, source in paths.mounts.items()},
        files=place.files | {f"/etc/{name}": str(etc / name) for name in ("hostname", "hosts", "resolv.conf")},
        folders=tuple(place.folders),
        hidden=(str(sandbox.folder.volumes.parent),),
        shared_memory=sandbox.network.shared_memory,
    )
    return Isolation(
        sandbox.spec.hostname,
        root,
        sandbox.network.namespaces,
        processes_of=sandbox.running(spec.target).status.id if spec.target else "",
        host_processes=sandbox.spec.host_processes,
    )


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
    return hashlib.sha256(f"{sandbox_uid}/{name}/{attempt}".encode()).hexdigest()

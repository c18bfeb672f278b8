"""What the machine holds of one pod and its containers, and how a container's spec becomes a launch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from petset.cluster.api.cri import ContainerSpec, ContainerStatus, SandboxSpec, SandboxStatus, Volume
from petset.cluster.network.network import PodNetwork
from petset.cluster.node.images import Program, fill_placeholders
from petset.cluster.node.launch import Launch
from petset.cluster.node.sandbox import ContainerPaths, PodFolder
from petset.cluster.node.warm_link import Process


@dataclass
class Container:
    status: ContainerStatus
    launch: Launch
    process: Process
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
    container_id: str, *, spec: ContainerSpec, program: Program, sandbox: Sandbox, paths: ContainerPaths
) -> Launch:
    """The container as the warm parent is to start it; makes the folders that its environment names."""
    values = {
        "address": sandbox.network.address,
        "hostname": sandbox.spec.hostname,
        "resolv_conf": str(sandbox.folder.resolv_conf),
    }

    def fill(text: str) -> str:
        return fill_placeholders(text, values, lambda path: str(paths.host_folder(path)))

    own_args = spec.args or (() if spec.command else tuple(fill(text) for text in program.args))
    entry = spec.command or tuple(fill(text) for text in program.command)
    python = "" if spec.command else program.python
    environment = {
        "HOME": str(paths.host_folder("/root")),
        "HOSTNAME": sandbox.spec.hostname,
        "PET_RESOLV_CONF": str(sandbox.folder.resolv_conf),
        **sandbox.network.environment,
        **{name: fill(text) for name, text in program.env.items()},
        **spec.env,
    }
    return Launch(
        id=container_id,
        python=python,
        argv=(program.name, *own_args) if python else (*entry, *own_args),
        cwd=str(paths.host_folder(spec.working_dir or program.working_dir or "/")),
        env=environment,
        title=sandbox.spec.name,
        log=str(sandbox.folder.log(spec.name, spec.attempt)),
    )


def container_id(sandbox_uid: str, name: str, attempt: int) -> str:
    return "petset://" + hashlib.sha256(f"{sandbox_uid}/{name}/{attempt}".encode()).hexdigest()

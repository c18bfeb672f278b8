"""The container runtime interface: what a kubelet asks of its node, and what the node answers.

Values only, as in Kubernetes' CRI: a *sandbox* is a pod's place on the machine (address, hostname, volumes), a
*container* one process tree in it. The kubelet keeps no process state of its own: after a restart it finds
everything again through `SandboxStatus`. All values are frozen and picklable; they cross from the kubelet's process
to the node's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from petset.cluster.errors import ApiError

START_ERROR_EXIT_CODE = 128
"""What a container counts as exited with when its program could not be started (containerd's StartError)."""

TIMEOUT_EXIT_CODE = 124
"""What a command answers with that was ended because it took too long (timeout(1))."""


class ImageNotFound(ApiError):
    """No catalogue entry, or the program behind it is missing; the message names what would fix it."""

    code, reason = 404, "ErrImagePull"


class RuntimeFailure(ApiError):
    """The node could not do what was asked (a mount failed, a program could not start)."""

    code, reason = 500, "RuntimeFailure"


class CreationFailure(RuntimeFailure):
    """A container could not even be made (its volume is gone, its files cannot be written): no attempt was counted."""

    code, reason = 500, "CreateContainerError"


class MountFailure(RuntimeFailure):
    """A volume cannot be prepared on this machine; the message is the FailedMount event's."""

    reason = "FailedMount"


@dataclass(frozen=True)
class Volume:
    """A volume that the sandbox holds ready for mounting.

    kind `disk`: `source` names a persistent disk of the cluster; `hostPath`: `source` is a path of the emulated
    machine, and `path_type` what must be there (the hostPath volume's `type`); `empty`: a fresh folder that dies with
    the pod, `in_memory` or not; `files`: a folder with exactly `files` in it (relative path -> content), as ConfigMaps
    and Secrets give, each with `mode` unless `modes` has another one for its path.
    """

    name: str
    kind: Literal["disk", "hostPath", "empty", "files"]
    source: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    mode: int = 0o644
    modes: Mapping[str, int] = field(default_factory=dict)
    read_only: bool = False
    """No container may write, whatever its mount says."""
    path_type: str = ""
    persistent: str = ""
    """The unique name of the PersistentVolume that it is (api/attachments.py), if it is one."""
    one_pod: bool = False
    """No second pod may use that one (ReadWriteOncePod)."""
    in_memory: bool = False
    size_bytes: int = 0
    """How much an `empty` one may hold; 0: no bound."""


@dataclass(frozen=True)
class Mount:
    """Where a container sees a volume."""

    volume: str
    target: str
    sub_path: str = ""
    read_only: bool = False


@dataclass(frozen=True)
class PortMapping:
    """A port of the machine that leads to one of the pod (`hostPort`); `host_address` "" is the machine's own."""

    protocol: Literal["TCP", "UDP"]
    host_port: int
    container_port: int
    host_address: str = ""


@dataclass(frozen=True)
class SandboxSpec:
    """One pod's place on the node. `searches` and `nameserver` become its resolv.conf, `hosts` its /etc/hosts."""

    uid: str
    namespace: str
    name: str
    hostname: str
    nameserver: str = ""
    nameserver_port: int = 53
    searches: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ("ndots:5",)
    hosts: tuple[tuple[str, str], ...] = ()
    """Further (address, names) lines; the pod's own line is added by the node."""
    subdomain_name: str = ""
    """`<hostname>.<subdomain>.<namespace>.svc.<zone>` when the pod has a subdomain, for its own /etc/hosts line."""
    host_network: bool = False
    host_processes: bool = False
    """Its containers see the machine's processes (`hostPID`)."""
    volumes: tuple[Volume, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    group: int | None = None
    """The group that its volumes are given to, where the machine can (`fsGroup`)."""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def persistent_volumes(self) -> tuple[str, ...]:
        """The unique names of its persistent volumes."""
        return tuple(each.persistent for each in self.volumes if each.persistent)


@dataclass(frozen=True)
class ContainerSpec:
    """One container to start. `attempt` counts the restarts of this container in this pod, from 0.

    `command` and `args` replace the image's entry point and arguments when given, as in Kubernetes. What the container
    leaves at `termination_log` (a path of its own) becomes its `message` when it ends; with `message_from_log`, the
    end of its log does after a failure without one.
    """

    name: str
    image: str
    attempt: int = 0
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    user: str = ""
    """Whom its program takes itself for, as `uid:gid`; "" leaves it to the image."""
    mounts: tuple[Mount, ...] = ()
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    target: str = ""
    """The container of the same pod whose processes it shares, where containers have processes of their own."""
    termination_log: str = ""
    message_from_log: bool = False


@dataclass(frozen=True)
class ContainerStatus:
    """One container as the node sees it. Times are seconds since the epoch; 0.0 means not yet."""

    id: str
    name: str
    image: str
    image_id: str
    attempt: int
    state: Literal["created", "running", "exited"]
    pid: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    signal: int = 0
    message: str = ""


@dataclass(frozen=True)
class SandboxStatus:
    """A sandbox and all its containers that have not been removed, oldest attempt first."""

    uid: str
    namespace: str
    name: str
    ip: str
    created_at: float
    containers: tuple[ContainerStatus, ...] = ()
    volumes: tuple[str, ...] = ()
    """The unique names of its persistent volumes."""


@dataclass(frozen=True)
class Image:
    """A resolved image: `id` identifies the catalogue entry, `ports` are its usual ports.

    `user` is the number of whom it runs as; "" for root.
    """

    reference: str
    id: str
    ports: tuple[int, ...] = ()
    user: str = ""


@dataclass(frozen=True)
class ExecResult:
    """The end of a command that ran inside a container; output is cut to what a probe message needs (10 KiB)."""

    exit_code: int
    output: bytes = b""


@dataclass(frozen=True)
class ProcessUsage:
    """What a process tree uses. CPU time counts from its start on, with its ended children; memory is what is there
    now, shared pages divided among those who share them (PSS)."""

    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class MachineUsage:
    """One measurement of a machine: all of it, and each running container by its id. Seconds since the epoch."""

    taken_at: float
    machine: ProcessUsage
    containers: Mapping[str, ProcessUsage] = field(default_factory=dict)


@dataclass(frozen=True)
class ExecRequest:
    """A command to run inside a running container, with its streams (see streaming/frames.py)."""

    container_id: str
    command: tuple[str, ...]
    stdin: bool = False
    tty: bool = False


@dataclass(frozen=True)
class AttachRequest:
    """The streams of a running container's own first process."""

    container_id: str
    stdin: bool = False


@dataclass(frozen=True)
class LogRequest:
    """A container's log as text. `since` is seconds since the epoch, `stream` `stdout`, `stderr` or "" for both."""

    sandbox_uid: str
    container: str
    attempt: int
    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: float = 0.0
    stream: str = ""


StreamRequest = ExecRequest | AttachRequest | LogRequest

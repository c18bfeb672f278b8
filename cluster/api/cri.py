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


class ImageNotFound(ApiError):
    """No catalogue entry, or the program behind it is missing; the message names what would fix it."""

    code, reason = 404, "ErrImagePull"


class RuntimeFailure(ApiError):
    """The node could not do what was asked (a mount failed, a program could not start)."""

    code, reason = 500, "RuntimeFailure"


@dataclass(frozen=True)
class Volume:
    """A volume that the sandbox holds ready for mounting.

    kind `disk`: `source` names a persistent disk of the cluster; `hostPath`: `source` is a path of the emulated
    machine; `empty`: a fresh folder that dies with the pod; `files`: a folder with exactly `files` in it
    (relative path -> content), as ConfigMaps and Secrets give.
    """

    name: str
    kind: Literal["disk", "hostPath", "empty", "files"]
    source: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    mode: int = 0o644


@dataclass(frozen=True)
class Mount:
    """Where a container sees a volume."""

    volume: str
    target: str
    sub_path: str = ""
    read_only: bool = False


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
    volumes: tuple[Volume, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ContainerSpec:
    """One container to start. `attempt` counts the restarts of this container in this pod, from 0.

    `command` and `args` replace the image's entry point and arguments when given, as in Kubernetes.
    """

    name: str
    image: str
    attempt: int = 0
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    mounts: tuple[Mount, ...] = ()
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


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


@dataclass(frozen=True)
class Image:
    """A resolved image: `id` identifies the catalogue entry, `ports` are its usual ports."""

    reference: str
    id: str
    ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class ExecResult:
    """The end of a command that ran inside a container; output is cut to what a probe message needs (10 KiB)."""

    exit_code: int
    output: bytes = b""


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

"""A pod's place on the machine's disk, and which folder of the host stands for which path of a container.

    <node folder>/pods/<uid>/
      etc/resolv.conf  hosts  hostname
      volumes/<name>/                     emptyDir, and files of ConfigMaps and Secrets
      roots/<container>/<attempt>/…       what a container sees of paths that no volume is mounted at: dies with it
      logs/<container>/<attempt>.log      what it printed (log_file.py), bounded, until the pod is removed
    <volumes folder>/                     one for the cluster, the same for all its machines
      disks/<source>/                     persistent disks: never removed here
      hostpath/<path>/                    hostPath volumes

With a mount namespace (pod_root.py) a program sees these paths under their own names, and `roots/` stays empty.
Without one it cannot be given them so: its image's environment tells it (images.py), and read-only mounts are not
enforced. Names come from manifests: none may leave its
folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from petset.cluster.api.cri import ContainerSpec, Mount, RuntimeFailure, SandboxSpec, Volume

_LOCAL_HOSTS = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::0", "ip6-localnet"),
    ("fe00::0", "ip6-mcastprefix"),
    ("fe00::1", "ip6-allnodes"),
    ("fe00::2", "ip6-allrouters"),
)


@dataclass(frozen=True)
class PodFolder:
    """The folder of one pod under `root`; `volumes` is the cluster's. Making one of these touches no disk."""

    root: Path
    volumes: Path

    @property
    def resolv_conf(self) -> Path:
        return self.root / "etc" / "resolv.conf"

    def create(self, spec: SandboxSpec, address: str) -> None:
        """Make folders and files. Raises OSError or RuntimeFailure; what is there already is replaced or kept."""
        etc = self.root / "etc"
        for folder in (etc, self.root / "volumes", self.root / "logs", self.root / "roots"):
            folder.mkdir(parents=True, exist_ok=True)
        (etc / "hostname").write_text(spec.hostname + "\n")
        self.resolv_conf.write_text(resolv_conf(spec))
        (etc / "hosts").write_text(hosts_file(spec, address))
        for volume in spec.volumes:
            place = self.volume_path(volume)
            if volume.kind == "files":
                _write_files(place, volume)
            else:
                place.mkdir(parents=True, exist_ok=True)

    def volume_path(self, volume: Volume) -> Path:
        """Where the volume's files are. Raises RuntimeFailure for names that lead elsewhere."""
        match volume.kind:
            case "disk":
                return self.volumes / "disks" / one_name(volume.source, "disk")
            case "hostPath":
                return inside(self.volumes / "hostpath", volume.source.lstrip("/"))
            case _:
                return self.root / "volumes" / one_name(volume.name, "volume")

    def log(self, container: str, attempt: int) -> Path:
        return self.root / "logs" / one_name(container, "container") / f"{attempt}.log"

    def container_root(self, container: str, attempt: int) -> Path:
        return self.root / "roots" / one_name(container, "container") / str(attempt)

    def forget_attempt(self, container: str, attempt: int) -> None:
        """Remove what an old attempt left: its log and its private files."""
        log = self.log(container, attempt)
        for file in log.parent.glob(f"{log.name}*"):
            file.unlink()
        shutil.rmtree(self.container_root(container, attempt), ignore_errors=True)


@dataclass(frozen=True)
class ContainerPaths:
    """The paths of one container: mounted volumes where they are mounted, else its private root."""

    root: Path
    mounts: Mapping[PurePosixPath, Path]

    def host_path(self, path: str) -> Path:
        """The host's path of a container's path; the innermost mount decides. Raises RuntimeFailure on `..`."""
        wanted = PurePosixPath("/", path)
        for parent in (wanted, *wanted.parents):
            if place := self.mounts.get(parent):
                return inside(place, str(wanted.relative_to(parent)))
        return inside(self.root, str(wanted.relative_to("/")))

    def host_folder(self, path: str) -> Path:
        """The same, made when it does not exist."""
        folder = self.host_path(path)
        if not folder.exists():
            folder.mkdir(parents=True)
        return folder


def container_paths(folder: PodFolder, spec: ContainerSpec, volumes: Mapping[str, Volume]) -> ContainerPaths:
    """Resolve the container's mounts and make its folders. Raises RuntimeFailure or OSError."""
    root = folder.container_root(spec.name, spec.attempt)
    root.mkdir(parents=True, exist_ok=True)
    folder.log(spec.name, spec.attempt).parent.mkdir(exist_ok=True)
    mounts = {PurePosixPath("/", mount.target): _mounted(folder, mount, volumes) for mount in spec.mounts}
    return ContainerPaths(root, mounts)


def _mounted(folder: PodFolder, mount: Mount, volumes: Mapping[str, Volume]) -> Path:
    if mount.volume not in volumes:
        raise RuntimeFailure(f"mount {mount.target}: the pod has no volume {mount.volume!r}")
    place = folder.volume_path(volumes[mount.volume])
    if mount.sub_path:
        place = inside(place, mount.sub_path)
        if not place.exists():
            place.mkdir(parents=True)  # as the kubelet does for a subPath
    return place


def resolv_conf(spec: SandboxSpec) -> str:
    """resolv.conf(5), with a `port` line when DNS is not at port 53: only petset's own resolver reads that one."""
    lines = [f"nameserver {spec.nameserver}"] if spec.nameserver else []
    if spec.searches:
        lines.append("search " + " ".join(spec.searches))
    if spec.dns_options:
        lines.append("options " + " ".join(spec.dns_options))
    if spec.nameserver and spec.nameserver_port != 53:
        lines.append(f"port {spec.nameserver_port}")
    return "".join(line + "\n" for line in lines)


def hosts_file(spec: SandboxSpec, address: str) -> str:
    """The kubelet's /etc/hosts (pkg/kubelet/kubelet_pods.go, managedHostsFileContent)."""
    own = f"{spec.subdomain_name}\t{spec.hostname}" if spec.subdomain_name else spec.hostname
    lines = ["# Kubernetes-managed hosts file."]
    lines += [f"{known}\t{names}" for known, names in _LOCAL_HOSTS]
    lines.append(f"{address}\t{own}")
    if spec.hosts:
        lines += ["", "# Entries added by HostAliases."]
        lines += [f"{known}\t{names}" for known, names in spec.hosts]
    return "\n".join(lines) + "\n"


def one_name(text: str, what: str) -> str:
    """`text`, when it is a single file name. Raises RuntimeFailure."""
    if text in ("", ".", "..") or "/" in text or "\0" in text:
        raise RuntimeFailure(f"{what} name {text!r} cannot be a folder's name")
    return text


def inside(base: Path, relative: str) -> Path:
    """`base/relative`, which must not lead out of `base`, also not through links. Raises RuntimeFailure."""
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or "\0" in relative:
        raise RuntimeFailure(f"path {relative!r} must stay inside its volume")
    if not (base / path).resolve().is_relative_to(base.resolve()):
        raise RuntimeFailure(f"path {relative!r} leaves its volume through a link")
    return base / path


def _write_files(place: Path, volume: Volume) -> None:
    """The folder appears with all its files or not at all."""
    unfinished = place.with_name(f".{place.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, content in volume.files.items():
        file = inside(unfinished, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(volume.mode)
    shutil.rmtree(place, ignore_errors=True)
    os.rename(unfinished, place)

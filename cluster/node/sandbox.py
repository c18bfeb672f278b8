"""A pod's place on the machine's disk, and which folder of the host stands for which path of a container.

    <node folder>/pods/<uid>/
      etc/resolv.conf  hosts  hostname
      shm/                                /dev/shm of a pod on the machine's own network, in memory
      volumes/<name>/                     emptyDir, and files of ConfigMaps and Secrets (volume_folder.py)
      roots/<container>/<attempt>/…       what a container sees of paths that no volume is mounted at: dies with it
      ends/<container>/<attempt>          what it wrote to its terminationMessagePath (last_words.py)
      logs/<container>/<attempt>.log      what it printed (log_file.py), bounded, until the pod is removed
    <volumes folder>/                     one for the cluster, the same for all its machines
      disks/<source>/                     persistent disks: never removed here
      hostpath/<path>/                    hostPath volumes

With a mount namespace (pod_root.py) a program sees these paths under their own names, and `roots/` stays empty.
Without one it cannot be given them so: its image's environment tells it (images.py), and read-only mounts are not
enforced. Names come from manifests: none may leave its folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from petset.cluster.api.cri import ContainerSpec, Mount, RuntimeFailure, SandboxSpec, Volume
from petset.cluster.node.volume_folder import inside, prepare, write_files
from petset.cluster.trees import measure, remove_tree

MAX_DISK_NAME = 150
"""Beside a digest of 64 letters this stays below the 255 bytes of a file's name."""

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

    @property
    def shared_memory(self) -> Path:
        """The /dev/shm of a pod on the machine's own network; others have one from their network."""
        return self.root / "shm"

    def create(self, spec: SandboxSpec, address: str, *, can_mount: bool = False) -> None:
        """Make folders and files. Raises OSError or RuntimeFailure; what is there already is replaced or kept."""
        etc = self.root / "etc"
        for folder in (etc, self.root / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        (etc / "hostname").write_text(spec.hostname + "\n")
        self.resolv_conf.write_text(resolv_conf(spec))
        (etc / "hosts").write_text(hosts_file(spec, address))
        for volume in spec.volumes:
            group = None if volume.kind == "disk" else spec.group
            prepare(self.volume_path(volume), volume, can_mount=can_mount, group=group)

    def give_disks(self, spec: SandboxSpec) -> None:
        """Give the pod's persistent disks to its group, before `create`: with many files, that takes its time.

        Raises OSError or RuntimeFailure.
        """
        for volume in spec.volumes:
            if volume.kind == "disk":
                prepare(self.volume_path(volume), volume, can_mount=False, group=spec.group)

    def volume_path(self, volume: Volume) -> Path:
        """Where the volume's files are. Raises RuntimeFailure for names that lead elsewhere."""
        match volume.kind:
            case "disk":
                return self.volumes / "disks" / disk_name(volume.source)
            case "hostPath":
                return inside(self.volumes / "hostpath", volume.source.lstrip("/"))
            case _:
                return self.root / "volumes" / one_name(volume.name, "volume")

    def update(self, volumes: Iterable[Volume], *, group: int | None) -> None:
        """Show these volumes' files as they are now. Raises RuntimeFailure; each volume is old or new as a whole."""
        try:
            for volume in volumes:
                write_files(self.volume_path(volume), volume, group=group)
        except OSError as error:
            raise RuntimeFailure(f"cannot update the volumes in {self.root}: {error}") from error

    def stored_bytes(self, names: Iterable[str]) -> dict[str, int]:
        """How much of the disk (or of memory) these volumes of the pod's own take."""
        return {name: measure(self.root / "volumes" / one_name(name, "volume")) for name in names}

    def log(self, container: str, attempt: int) -> Path:
        return self.root / "logs" / one_name(container, "container") / f"{attempt}.log"

    def last_words(self, container: str, attempt: int) -> Path:
        return self.root / "ends" / one_name(container, "container") / str(attempt)

    def container_root(self, container: str, attempt: int) -> Path:
        return self.root / "roots" / one_name(container, "container") / str(attempt)

    def image_files(self, container: str, attempt: int) -> Path:
        """What the container's image brings."""
        return self.root / "images" / one_name(container, "container") / str(attempt)

    def forget_attempt(self, container: str, attempt: int) -> None:
        """Remove what an old attempt left: its log and its private files."""
        log = self.log(container, attempt)
        for file in log.parent.glob(f"{log.name}*"):
            file.unlink()
        self.last_words(container, attempt).unlink(missing_ok=True)
        for folder in (self.container_root(container, attempt), self.image_files(container, attempt)):
            with suppress(OSError):
                remove_tree(folder)


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
    """Resolve the container's mounts and make its folders and files. Raises RuntimeFailure or OSError."""
    root = folder.container_root(spec.name, spec.attempt)
    root.mkdir(parents=True, exist_ok=True)
    folder.log(spec.name, spec.attempt).parent.mkdir(exist_ok=True)
    mounts = {PurePosixPath("/", mount.target): _mounted(folder, mount, volumes) for mount in spec.mounts}
    if spec.termination_log:
        last_words = folder.last_words(spec.name, spec.attempt)
        last_words.parent.mkdir(parents=True, exist_ok=True)
        last_words.touch()
        last_words.chmod(0o666)  # whoever the program is, it may write
        mounts[PurePosixPath("/", spec.termination_log)] = last_words
    return ContainerPaths(root, mounts)


def _mounted(folder: PodFolder, mount: Mount, volumes: Mapping[str, Volume]) -> Path:
    if mount.volume not in volumes:
        raise RuntimeFailure(f"mount {mount.target}: the pod has no volume {mount.volume!r}")
    place = folder.volume_path(volumes[mount.volume])
    if not place.exists():  # it was made with the pod: somebody removed it under it
        raise RuntimeFailure(f'failed to mount volume "{mount.volume}" at {mount.target}: failed to stat "{place}"')
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


def disk_name(handle: str) -> str:
    """The folder of a disk, whatever its driver calls it: `projects/p/zones/z/disks/d` is one name, too.

    What could not be a file's name is written as in URLs; a long one is cut and told apart by its digest. Raises
    RuntimeFailure for a disk without a name.
    """
    name = quote(handle, safe=" +,:=@", errors="surrogatepass")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > MAX_DISK_NAME:
        name = f"{name[:MAX_DISK_NAME]}-{hashlib.sha256(name.encode()).hexdigest()}"
    return one_name(name, "disk")


def one_name(text: str, what: str) -> str:
    """`text`, when it is a single file name. Raises RuntimeFailure."""
    if text in ("", ".", "..") or "/" in text or "\0" in text:
        raise RuntimeFailure(f"{what} name {text!r} cannot be a folder's name")
    return text

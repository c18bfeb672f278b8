"""What one cluster is: its settings, and the folder under `$PETSET_HOME` that holds everything it keeps.

    $PETSET_HOME/NAME/
      settings.json      this module's ClusterSettings
      kubeconfig         for users, 0600
      lock               held (flock) by the running supervisor: who holds it is the cluster
      pki/               CA, server certificate and key, component tokens, 0600
      store.sqlite       every object
      images.yaml        the images that were added (petset image)
      volumes/           persistent disks; only `petset down --purge` removes them
      nodes/NODE/        pods' scratch folders and logs, emptied when the cluster starts
      log/               one file per component

Short-lived sockets and Ray's session live in a folder of their own with a short path (`run_folder`): socket paths
may not exceed 107 bytes.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from petset.cluster.network.addresses import MAX_NODES, OWN_PLAN, AddressPlan, loopback_plan
from petset.cluster.network.host_ports import LENDER_SOCKET
from petset.cluster.network.upstreams import check_upstreams
from petset.cluster.trees import remove_tree

NETWORKS = ("loopback", "namespaces")
DNS_LOOPS = ("portable", "batched", "auto")
MAX_DNS_TTL_SECONDS = 3600
MAX_TIME_SCALE = 1000
RAY_HEAD = "ray-node-1"
"""The Ray node that a cluster is: what directs Ray, and every component that is not part of an emulated node."""
API_PORT = 6443
"""The API server's port on the cluster's own network, whatever the host's is."""

RUN_FOLDER_PREFIX = "/tmp/petset-"
"""Not $TMPDIR: Ray's socket paths below it may not exceed 107 bytes."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


class SettingsError(ValueError):
    """A setting that cannot work; the message says what to do."""


@dataclass(frozen=True)
class ClusterSettings:
    """Everything that decides how a cluster starts. JSON-safe.

    `network` is how its nodes and pods are connected: `loopback` (of which it has the share `slot`,
    network/addresses.py), or `namespaces`.
    """

    name: str
    home: str
    node_count: int = 3
    port: int = 6443
    slot: int = 0
    dns_port: int = 53
    run_folder: str = ""
    ray_address: str = ""
    ray_nodes: int = 1
    """How many Ray nodes a private Ray has. The first is the cluster itself; on further ones are the emulated nodes."""
    network: str = "loopback"
    dns_ttl_seconds: int = 5
    dns_negative_ttl_seconds: int | None = None
    """How long DNS answers may be kept; None: as long as the others."""
    dns_cache_seconds: int = 0
    """How long DNS itself keeps an answer that has changed, within its time to live; real clusters: 30."""
    dns_upstreams: str = ""
    """Who is asked for names outside of the cluster: `192.0.2.1,192.0.2.2:5353`, or `host` for the machine's own."""
    dns_loop: str = "auto"
    """How DNS takes packets: one by one; in batches, which is cheaper under load; `auto`: batches where they work."""
    fence: bool = False
    """A network disk is taken away from a node (its holders are killed) before another one gets it."""
    time_scale: float = 1.0
    """How much shorter than Kubernetes' the control plane's long durations are (grace, tolerations, back-off)."""
    disk_faults: bool = False
    """Containers with volumes are started so that their disks can fail (node/disk_watch.py)."""
    local_disks: str = ""
    """Provisioners whose volumes stay on one node (controllers/volume_provisioning.py); "": the usual ones."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingsError(
                f"cluster name {self.name!r}: use lower-case letters, digits and dashes, 40 at the most"
            )
        if not 1 <= self.node_count <= MAX_NODES:
            raise SettingsError(f"--nodes {self.node_count}: a cluster has 1 to {MAX_NODES} nodes")
        if not 1 <= self.ray_nodes <= self.node_count + 1:
            raise SettingsError(
                f"--ray-nodes {self.ray_nodes}: give 1 to {self.node_count + 1}, one for the cluster itself and at most"
                f" one for each of its --nodes {self.node_count}"
            )
        if self.ray_nodes > 1 and self.ray_address:
            raise SettingsError(f"--ray-nodes {self.ray_nodes}: a joined Ray (--ray-address) has its own; give 1")
        if self.network not in NETWORKS:
            raise SettingsError(f"--network {self.network}: it is one of {', '.join(NETWORKS)}")
        if self.dns_loop not in DNS_LOOPS:
            raise SettingsError(f"--dns-loop {self.dns_loop}: it is one of {', '.join(DNS_LOOPS)}")
        for seconds in (self.dns_ttl_seconds, self.dns_negative_ttl_seconds or 0, self.dns_cache_seconds):
            if not 0 <= seconds <= MAX_DNS_TTL_SECONDS:
                raise SettingsError(f"DNS time to live {seconds}: give 0 to {MAX_DNS_TTL_SECONDS} seconds")
        if not 1 <= self.time_scale <= MAX_TIME_SCALE:
            raise SettingsError(f"--time-scale {self.time_scale:g}: give 1 (Kubernetes' own times) to {MAX_TIME_SCALE}")
        try:
            check_upstreams(self.dns_upstreams)
        except ValueError as error:
            raise SettingsError(str(error)) from error
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"--port {self.port}: a port is a number from 0 (any free one) to 65535")

    @property
    def folder(self) -> ClusterFolder:
        return ClusterFolder(Path(self.home) / self.name)

    @property
    def has_namespaces(self) -> bool:
        return self.network == "namespaces"

    @property
    def addresses(self) -> AddressPlan:
        return OWN_PLAN if self.has_namespaces else loopback_plan(self.slot)

    @property
    def node_names(self) -> list[str]:
        return [f"node-{number}" for number in range(1, self.node_count + 1)]

    def ray_node_of(self, node_number: int) -> str:
        """On which Ray node the emulated node number 1, 2, … is: in turn on each but the first, if there are others."""
        return RAY_HEAD if self.ray_nodes == 1 else f"ray-node-{2 + (node_number - 1) % (self.ray_nodes - 1)}"

    @property
    def nodes_on_ray_nodes(self) -> dict[str, list[str]]:
        """Every further Ray node, with the emulated nodes that it holds."""
        found: dict[str, list[str]] = {f"ray-node-{number}": [] for number in range(2, self.ray_nodes + 1)}
        for number, name in enumerate(self.node_names, start=1):
            if (holder := self.ray_node_of(number)) != RAY_HEAD:
                found[holder].append(name)
        return found

    @property
    def server(self) -> str:
        """The API server's address for clients on this machine."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def component_endpoint(self) -> tuple[str, int]:
        """Where the cluster's own components, and its pods, reach the API server: address and port."""
        return (self.addresses.control_plane_address, API_PORT) if self.has_namespaces else ("127.0.0.1", self.port)

    @property
    def component_server(self) -> str:
        address, port = self.component_endpoint
        return f"https://{address}:{port}"

    @property
    def host_ports(self) -> Path | None:
        """Where ports of the host are borrowed (network/host_ports.py); None for a cluster that is on the host."""
        return Path(self.run_folder) / LENDER_SOCKET if self.has_namespaces else None

    @property
    def fabric(self) -> Path:
        """Where the network namespaces of nodes are kept, in the cluster's own view of the files."""
        return Path(self.run_folder) / "fabric"

    def remove_run_folder(self) -> None:
        """Remove the short-lived folder of a run that is over."""
        if self.run_folder.startswith(RUN_FOLDER_PREFIX):
            with suppress(OSError):
                remove_tree(Path(self.run_folder))

    def save(self) -> None:
        write_private(self.folder.settings, json.dumps(asdict(self), indent=2).encode())


@dataclass(frozen=True)
class ClusterFolder:
    """The paths of one cluster."""

    root: Path

    @property
    def settings(self) -> Path:
        return self.root / "settings.json"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def store(self) -> Path:
        return self.root / "store.sqlite"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    @property
    def images(self) -> Path:
        return self.root / "images.yaml"

    @property
    def log(self) -> Path:
        return self.root / "log"

    def node(self, name: str) -> Path:
        return self.root / "nodes" / name

    def read_settings(self) -> ClusterSettings:
        """Raises FileNotFoundError when there is no such cluster, SettingsError when the file is damaged."""
        text = self.settings.read_text()
        try:
            return ClusterSettings(**json.loads(text))
        except (TypeError, json.JSONDecodeError) as error:
            raise SettingsError(f"{self.settings} is damaged ({error}); remove it or restore it") from error


def petset_home(environment: os._Environ[str] | dict[str, str]) -> Path:
    """The folder of all clusters: `$PETSET_HOME`, or `~/.petset`."""
    return Path(environment.get("PETSET_HOME") or Path.home() / ".petset").absolute()


def write_private(path: Path, content: bytes) -> None:
    """Replace a file as a whole; only its owner can read it, also while it is being written."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)

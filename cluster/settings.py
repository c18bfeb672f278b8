"""What one cluster is: its settings, and the folder under `$PETSET_HOME` that holds everything it keeps.

    $PETSET_HOME/NAME/
      settings.json      this module's ClusterSettings
      kubeconfig         for users, 0600
      lock               held (flock) by the running supervisor: who holds it is the cluster
      pki/               CA, server certificate and key, component tokens, 0600
      store.sqlite       every object
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
from dataclasses import asdict, dataclass
from pathlib import Path

from petset.cluster.network.addresses import MAX_NODES, AddressPlan, loopback_plan

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


class SettingsError(ValueError):
    """A setting that cannot work; the message says what to do."""


@dataclass(frozen=True)
class ClusterSettings:
    """Everything that decides how a cluster starts. JSON-safe; `slot` is its share of 127/8 (network/addresses.py)."""

    name: str
    home: str
    node_count: int = 3
    port: int = 6443
    slot: int = 0
    dns_port: int = 53
    run_folder: str = ""
    ray_address: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingsError(
                f"cluster name {self.name!r}: use lower-case letters, digits and dashes, 40 at the most"
            )
        if not 1 <= self.node_count <= MAX_NODES:
            raise SettingsError(f"--nodes {self.node_count}: a cluster has 1 to {MAX_NODES} nodes")
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"--port {self.port}: a port is a number from 0 (any free one) to 65535")

    @property
    def folder(self) -> ClusterFolder:
        return ClusterFolder(Path(self.home) / self.name)

    @property
    def addresses(self) -> AddressPlan:
        return loopback_plan(self.slot)

    @property
    def node_names(self) -> list[str]:
        return [f"node-{number}" for number in range(1, self.node_count + 1)]

    @property
    def server(self) -> str:
        """The API server's address for clients on this machine."""
        return f"https://127.0.0.1:{self.port}"

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

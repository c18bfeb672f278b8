"""What a kubelet is told about its node and its cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from petset.cluster.api.release import RELEASE


@dataclass(frozen=True)
class NodeIdentity:
    """One emulated machine: its names, its address, and what it offers (Kubernetes quantities)."""

    name: str
    cluster: str
    address: str
    pod_cidr: str = ""
    cpu: str = "4"
    memory: str = "8Gi"
    ephemeral_storage: str = "100Gi"
    pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)
    architecture: str = "amd64"
    kernel_version: str = ""
    machine_id: str = ""
    boot_id: str = ""

    @property
    def capacity(self) -> dict[str, str]:
        """Everything that the machine has; all of it may be given to pods."""
        return {
            "cpu": self.cpu,
            "ephemeral-storage": self.ephemeral_storage,
            "memory": self.memory,
            "pods": str(self.pods),
        }

    @property
    def provider_id(self) -> str:
        return f"petset://{self.cluster}/{self.name}"


@dataclass(frozen=True)
class KubeletConfig:
    """The cluster as pods see it: its DNS server, its zone, and the API server's service."""

    nameserver: str = ""
    nameserver_port: int = 53
    zone: str = "cluster.local"
    api_address: str = ""
    api_port: int = 443
    kubelet_version: str = f"v{RELEASE}"
    kubelet_port: int = 0
    """Where the kubelet's own server listens (server.py); 0 without one."""
    lease_seconds: int = 40
    lease_renew_seconds: float = 10.0
    status_seconds: float = 10.0
    """How often the node looks at its own Node object."""
    status_report_seconds: float = 300.0
    """How often it writes it although nothing changed."""

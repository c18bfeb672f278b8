"""What a kubelet is told about its node and its cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from petset.cluster.api.release import RELEASE

FEWEST_PERIOD_SECONDS = 0.5
FEWEST_TIMEOUT_SECONDS = 2.0


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
    volume_refresh_seconds: float = 5.0
    """How often mounted ConfigMaps, Secrets and tokens are compared with what they should be (Kubernetes: 60 s)."""
    limit_seconds: float = 10.0
    """How often emptyDirs with a size limit are measured."""
    status_seconds: float = 10.0
    """How often the node looks at its own Node object."""
    status_report_seconds: float = 300.0
    """How often it writes it although nothing changed."""
    heartbeat_timeout_seconds: float = 10.0
    """How long the API server may take to answer a heartbeat (the kubelet's heartbeat client)."""
    max_heartbeat_retry_seconds: float = 7.0
    time_scale: float = 1.0
    """How much shorter than Kubernetes' these, and the pauses before a restart, are."""

    def at_scale(self, ratio: float) -> KubeletConfig:
        """The control plane's long durations divided by `ratio`; probes and graceful termination are not among them.

        What a busy machine needs stays: heartbeats come every FEWEST_PERIOD_SECONDS at the most.
        """
        return replace(
            self,
            lease_renew_seconds=max(self.lease_renew_seconds / ratio, FEWEST_PERIOD_SECONDS),
            status_seconds=max(self.status_seconds / ratio, FEWEST_PERIOD_SECONDS),
            status_report_seconds=max(self.status_report_seconds / ratio, FEWEST_PERIOD_SECONDS),
            heartbeat_timeout_seconds=max(self.heartbeat_timeout_seconds / ratio, FEWEST_TIMEOUT_SECONDS),
            max_heartbeat_retry_seconds=max(self.max_heartbeat_retry_seconds / ratio, FEWEST_PERIOD_SECONDS),
            time_scale=self.time_scale * ratio,
        )

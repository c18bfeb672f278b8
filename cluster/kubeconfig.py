"""The kubeconfig file: all that kubectl and client libraries need to reach the cluster as its administrator.

It carries the certificate authority and the token inside (no paths), so it can be copied elsewhere on the machine.
"""

from __future__ import annotations

import base64

import yaml

from petset.cluster.pki import ADMIN, ca_certificate, token_of
from petset.cluster.settings import ClusterSettings, write_private


def write_kubeconfig(settings: ClusterSettings) -> None:
    """Write `<folder>/kubeconfig` (0600); the certificates and tokens must exist."""
    folder = settings.folder
    authority = base64.b64encode(ca_certificate(folder).read_bytes()).decode()
    name = f"petset-{settings.name}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": settings.server, "certificate-authority-data": authority}}],
        "users": [{"name": name, "user": {"token": token_of(folder, ADMIN)}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
    }
    write_private(folder.kubeconfig, yaml.safe_dump(document, sort_keys=False).encode())

"""The ServiceAccount admission plugin's mount: every container finds a token, the authority and its namespace in
/var/run/secrets/kubernetes.io/serviceaccount, as client libraries expect (plugin/pkg/admission/serviceaccount).

A pod's `automountServiceAccountToken`, else its account's, may say no; a container that mounts something there itself
keeps that. Unlike Kubernetes, a pod whose account does not exist is let in: its volume waits for the account.
"""

from __future__ import annotations

import copy

from petset.cluster.api.objects import Object
from petset.cluster.names import Names

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
ROOT_CA = "kube-root-ca.crt"
TOKEN_SECONDS = 3607
"""Kubernetes' own number; it tells these tokens from others."""

_SOURCES: list[Object] = [
    {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
    {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {
        "downwardAPI": {
            "items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]
        }
    },
]


def mount_token(spec: Object, account: Object | None, names: Names) -> None:
    """Add volume and mounts to a new pod's spec, unless somebody says no."""
    wanted = spec.get("automountServiceAccountToken")
    if wanted is None:
        wanted = (account or {}).get("automountServiceAccountToken")
    containers = [
        each
        for each in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
        if not any(mount.get("mountPath") == MOUNT_PATH for mount in each.get("volumeMounts") or ())
    ]
    if wanted is False or not containers:
        return
    name = f"kube-api-access-{names.suffix()}"
    projected = {"sources": copy.deepcopy(_SOURCES), "defaultMode": 0o644}
    spec.setdefault("volumes", []).append({"name": name, "projected": projected})
    for container in containers:
        mount = {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}
        container.setdefault("volumeMounts", []).append(mount)

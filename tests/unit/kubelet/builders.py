"""Pods, containers and attempts for the kubelet's unit tests: small, and nothing shared between two calls."""

from __future__ import annotations

from typing import Any, Literal

from petset.cluster.api.cri import ContainerStatus, SandboxStatus
from petset.cluster.api.objects import Object

T0 = 1_767_225_600.0
"""2026-01-01T00:00:00Z"""
UID = "uid-web-0"


def container(name: str = "main", **spec: Any) -> Object:
    return {"name": name, "image": f"{name}:1"} | spec


def pod(
    *containers: Object, init: tuple[Object, ...] = (), status: Object | None = None,
    deleted_with_grace: int | None = None, **spec: Any,
) -> Object:  # fmt: skip
    """Pod web-0 with one container `main`, unless others are given."""
    metadata: Object = {"name": "web-0", "namespace": "default", "uid": UID, "resourceVersion": "1"}
    if deleted_with_grace is not None:
        metadata |= {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": deleted_with_grace}
    body = {"containers": list(containers) or [container()]} | ({"initContainers": list(init)} if init else {})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body | spec, "status": status or {}}


def attempt(
    name: str = "main", number: int = 0, *, state: Literal["running", "exited"] = "running",
    exit_code: int = 0, signal: int = 0, started_at: float = T0, finished_at: float = 0.0,
) -> ContainerStatus:  # fmt: skip
    return ContainerStatus(
        id=f"{name}-{number}",
        name=name,
        image=f"{name}:1",
        image_id=f"id:{name}",
        attempt=number,
        state=state,
        started_at=started_at,
        finished_at=finished_at or (T0 + 5 if state == "exited" else 0.0),
        exit_code=exit_code,
        signal=signal,
    )


def exited(
    name: str = "main", number: int = 0, *, exit_code: int = 0, started_at: float = T0, finished_at: float = T0 + 5
) -> ContainerStatus:
    return attempt(name, number, state="exited", exit_code=exit_code, started_at=started_at, finished_at=finished_at)


def sandbox(*attempts: ContainerStatus) -> SandboxStatus:
    return SandboxStatus(
        uid=UID, namespace="default", name="web-0", ip="10.244.1.5", created_at=T0, containers=attempts
    )

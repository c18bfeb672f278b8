"""emptyDirs that are full: a pod whose volume holds more than its `sizeLimit` is evicted (pkg/kubelet/eviction).

    every limit_seconds: the machine measures the pod's limited emptyDirs ─▶ one is over ─▶ Failed, reason Evicted

One in memory cannot hold more where the machine can mount it: its programs get ENOSPC first, as in Kubernetes. Left
out: eviction for a container's or the node's ephemeral storage. The pod ends within its own grace period.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

from petset.cluster.api.objects import Object, is_terminating, name_of, namespace_of, uid_of
from petset.cluster.api.quantities import parse_quantity
from petset.cluster.errors import ApiError
from petset.cluster.kubelet.effects import Say
from petset.cluster.kubelet.parts import Parts, PodState

log = logging.getLogger(__name__)


def size_limits(pod: Object) -> dict[str, str]:
    """The limited emptyDirs of a pod: name -> limit, as it is written."""
    limits = {each["name"]: (each.get("emptyDir") or {}).get("sizeLimit") for each in pod["spec"].get("volumes") or ()}
    return {name: str(limit) for name, limit in limits.items() if limit and parse_quantity(limit)}


def verdict(limits: Mapping[str, str], used_bytes: Mapping[str, int]) -> str:
    """Why the pod is evicted; "" while it may stay."""
    for name, limit in limits.items():
        if used_bytes.get(name, 0) > parse_quantity(limit):
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
    return ""


class SizeLimits:
    """Watches over one pod."""

    def __init__(self, state: PodState, parts: Parts) -> None:
        self._state = state
        self._parts = parts

    async def run(self) -> None:
        """Until the pod is evicted, or cancelled; at once for a pod without limits."""
        limits = size_limits(self._state.pod)
        while limits:
            await asyncio.sleep(self._parts.config.limit_seconds)
            if self._state.sandbox is None or is_terminating(self._state.pod):
                continue
            if message := verdict(limits, await self._measured(tuple(limits))):
                self._evict(message)
                return

    async def _measured(self, names: tuple[str, ...]) -> Mapping[str, int]:
        pod = self._state.pod
        try:
            return await self._parts.runtime.volume_bytes(uid_of(pod), names)
        except ApiError as error:
            log.info("volumes of pod %s/%s are not measured: %s", namespace_of(pod), name_of(pod), error)
            return {}

    def _evict(self, message: str) -> None:
        self._state.memory = replace(self._state.memory, failure=("Evicted", message))
        self._parts.events.say(self._state.pod, Say("Warning", "Evicted", message))
        self._state.wake.set()

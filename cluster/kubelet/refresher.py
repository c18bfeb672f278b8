"""Keeps the files of a running pod's volumes as their objects are now: ConfigMaps, Secrets, labels, tokens.

    every volume_refresh_seconds: objects (SourceCache) ─▶ file_volumes ─▶ differs from what was last said ─▶ machine

The machine changes a volume in one step, or not at all when nothing is new. While an object is missing, or nobody
answers, the pod keeps what it has; a missing one is said in an event, once. What a container mounted as a single file
(`subPath`) never changes, as in Kubernetes.
"""

from __future__ import annotations

import asyncio
import logging

from petset.cluster.api.objects import is_terminating, name_of, namespace_of, uid_of
from petset.cluster.errors import ApiError
from petset.cluster.kubelet.effects import Say
from petset.cluster.kubelet.parts import Parts, PodState
from petset.cluster.kubelet.volume_files import shows_files
from petset.cluster.kubelet.volumes import VolumeNotReady, file_volumes

log = logging.getLogger(__name__)


class VolumeRefresher:
    """Cares for the volumes of one pod."""

    def __init__(self, state: PodState, parts: Parts) -> None:
        self._state = state
        self._parts = parts
        self._complaint = ""

    async def run(self) -> None:
        """Until cancelled; at once for a pod without such volumes, which never get any."""
        if not any(shows_files(volume) for volume in self._state.pod["spec"].get("volumes") or ()):
            return
        while True:
            await asyncio.sleep(self._parts.config.volume_refresh_seconds)
            if self._state.sandbox is None or is_terminating(self._state.pod):
                continue
            try:
                await self._refresh()
            except VolumeNotReady as error:
                self._complain(str(error))
            except ApiError as error:
                pod = self._state.pod
                log.info("volumes of pod %s/%s stay as they are: %s", namespace_of(pod), name_of(pod), error)

    async def _refresh(self) -> None:
        pod = self._state.pod
        sources = await self._parts.sources.for_files(pod)
        volumes = file_volumes(pod, sources, self._parts.facts_of(pod, self._state.sandbox))
        self._complaint = ""
        if volumes != self._state.shown:
            await self._parts.runtime.update_volumes(uid_of(pod), volumes)
            self._state.shown = volumes

    def _complain(self, message: str) -> None:
        if message != self._complaint:
            self._parts.events.say(self._state.pod, Say("Warning", "FailedMount", message))
        self._complaint = message

"""Tells the API server about one pod: its status whenever it differs, and in the end that the pod may go.

The status is compared with what the API server has, not with what was last written: a condition that somebody else
overwrote is set right again. A write is a PUT of `/status` with uid and resourceVersion, so it can hit neither
another pod of that name nor a version that was not seen; after a Conflict the pod is read and judged again. While
the API server is silent only the newest state waits, however much happens meanwhile.
"""

from __future__ import annotations

import asyncio
import logging

from petset.cluster.api.objects import Object, is_terminating, name_of, namespace_of, uid_of
from petset.cluster.errors import ApiError, Conflict, NotFound
from petset.cluster.kubelet.parts import Parts, PodState
from petset.cluster.kubelet.status import pod_status

FIRST_RETRY_SECONDS = 0.2
MAX_RETRY_SECONDS = 5.0

log = logging.getLogger(__name__)


class Reporter:
    """Reports the state that it shares with the worker."""

    def __init__(self, state: PodState, parts: Parts) -> None:
        self._state = state
        self._parts = parts
        self._due = asyncio.Event()
        self._deleted = False

    def report(self) -> None:
        """Something may have changed."""
        self._due.set()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self._report()

    async def _report(self) -> None:
        pause, stale = FIRST_RETRY_SECONDS, False
        while not self._state.gone:
            try:
                if stale:
                    await self._read_again()
                await self._write_status()
                await self._complete_deletion()
                return
            except Conflict:
                stale = True
            except NotFound:
                return  # the informer is about to say so
            except ApiError as error:
                log.info("status of pod %s: %s; again in %.1f s", name_of(self._state.pod), error, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_RETRY_SECONDS)

    async def _write_status(self) -> None:
        pod = self._state.pod
        status = pod_status(pod, self._state.seen(self._parts.node), self._parts.clock.now())
        if status != pod.get("status"):
            self._state.take_pod(await self._parts.client.update({**pod, "status": status}, subresource="status"))

    async def _complete_deletion(self) -> None:
        """Nothing of the pod is left here: its object may go too, unless finalizers hold it."""
        pod = self._state.pod
        if not self._state.over or self._deleted or not is_terminating(pod):
            return
        options: Object = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid_of(pod)}}
        await self._parts.client.delete("Pod", name_of(pod), namespace_of(pod), options=options)
        self._deleted = True

    async def _read_again(self) -> None:
        """Raises NotFound when the name belongs to another pod by now."""
        pod = self._state.pod
        fresh = await self._parts.client.get("Pod", name_of(pod), namespace_of(pod))
        if uid_of(fresh) != uid_of(pod):
            raise NotFound(f'pod "{name_of(pod)}" was replaced')
        self._state.take_pod(fresh)

"""The kubelet's events: said at once by anybody, written in the background, never in anybody's way.

    say ─▶ spam filter (per object) ─▶ queue of QUEUE_LENGTH ─▶ recorder (counts repetitions up) ─▶ API server

An object may have BURST events at once and one more per REFILL_SECONDS (client-go's EventSourceObjectSpamFilter);
what is beyond that, or finds the queue full, is dropped. The filter remembers the MAX_OBJECTS latest objects.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass

from petset.cluster.api.objects import Object, uid_of
from petset.cluster.clock import Clock
from petset.cluster.control.events import EventRecorder
from petset.cluster.control.writes import Record
from petset.cluster.kubelet.effects import Say
from petset.cluster.kubelet.facts import STATUS_FIELDS

QUEUE_LENGTH = 1000
BURST = 25.0
REFILL_SECONDS = 300.0
MAX_OBJECTS = 4096

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Bucket:
    tokens: float
    filled_at: float


class Events:
    """Takes events without waiting; `run` writes them."""

    def __init__(self, recorder: EventRecorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._queue: asyncio.Queue[Record] = asyncio.Queue(QUEUE_LENGTH)
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def say(self, regarding: Object, event: Say) -> None:
        if not self._allowed(uid_of(regarding)):
            return
        try:
            self._queue.put_nowait(_record(regarding, event))
        except asyncio.QueueFull:
            log.info("event %s dropped: %d are waiting already", event.reason, QUEUE_LENGTH)

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            await self._recorder.record(await self._queue.get())

    def _allowed(self, uid: str) -> bool:
        now = self._clock.now()
        bucket = self._buckets.pop(uid, _Bucket(BURST, now))
        tokens = min(BURST, bucket.tokens + (now - bucket.filled_at) / REFILL_SECONDS)
        allowed = tokens >= 1
        self._buckets[uid] = _Bucket(tokens - 1 if allowed else tokens, now)
        while len(self._buckets) > MAX_OBJECTS:
            self._buckets.popitem(last=False)
        return allowed


def _record(pod: Object, event: Say) -> Record:
    spec, name = pod.get("spec") or {}, event.container
    fields = (field for field in STATUS_FIELDS if any(each["name"] == name for each in spec.get(field) or ()))
    field = next(fields, "containers")
    field_path = f"spec.{field}{{{event.container}}}" if event.container else ""
    return Record(pod, event.type, event.reason, event.message, field_path)

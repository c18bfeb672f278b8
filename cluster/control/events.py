"""Event objects, from the Records that plans and agents make.

Repetitions of one event (same object, component, reason and message) are counted up on one Event object instead of
making a new one, as client-go's event correlator does; its memory is bounded to the last MAX_REMEMBERED of them.
"""

from __future__ import annotations

import logging
from collections import OrderedDict

from petset.cluster.api.objects import Object, name_of, namespace_of, object_reference
from petset.cluster.api.times import format_time
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.control.writes import Record
from petset.cluster.errors import AlreadyExists, ApiError, NotFound

MAX_REMEMBERED = 4096
MAX_MESSAGE = 1024
MAX_NAME_TRIES = 16

log = logging.getLogger(__name__)


class EventRecorder:
    """Writes events in the name of one component; a failure to do so is logged and never stops anyone."""

    def __init__(self, client: Client, clock: Clock, *, component: str, host: str = "") -> None:
        self._client = client
        self._clock = clock
        self._source = {"component": component} | ({"host": host} if host else {})
        self._known: OrderedDict[tuple[str, ...], tuple[str, str, int]] = OrderedDict()
        self._last_nanoseconds = 0

    async def record(self, record: Record) -> None:
        reference = object_reference(record.regarding)
        if record.field_path:
            reference["fieldPath"] = record.field_path
        about = (reference.get("uid", ""), reference["kind"], reference["name"], record.field_path)
        key = (*about, record.reason, record.message)
        try:
            if (known := self._known.get(key)) is not None and await self._count_up(key, known):
                return
            event = await self._create(record, reference)
        except ApiError as error:
            log.info("event %s not recorded: %s", record.reason, error)
            return
        self._remember(key, (namespace_of(event), name_of(event), 1))

    async def _create(self, record: Record, reference: Object) -> Object:
        """Events are named after the moment, so that a list sorted by name is in order of time (client-go's rule)."""
        for _ in range(MAX_NAME_TRIES):
            self._last_nanoseconds = max(self._last_nanoseconds + 1, int(self._clock.now() * 1e9))
            try:
                return await self._client.create(self._new_event(record, reference, f"{self._last_nanoseconds:x}"))
            except AlreadyExists:
                continue
        raise AlreadyExists(f"no free name for an event about {reference['name']}")

    async def _count_up(self, key: tuple[str, ...], known: tuple[str, str, int]) -> bool:
        namespace, name, count = known
        body = {"count": count + 1, "lastTimestamp": format_time(self._clock.now())}
        try:
            await self._client.patch("Event", name, namespace, body=body)
        except NotFound:
            return False
        self._remember(key, (namespace, name, count + 1))
        return True

    def _remember(self, key: tuple[str, ...], value: tuple[str, str, int]) -> None:
        self._known[key] = value
        self._known.move_to_end(key)
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    def _new_event(self, record: Record, reference: Object, suffix: str) -> Object:
        now = format_time(self._clock.now())
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{reference['name']}.{suffix}",
                "namespace": reference.get("namespace") or "default",
            },
            "involvedObject": reference,
            "reason": record.reason,
            "message": record.message[:MAX_MESSAGE],
            "type": record.type,
            "source": self._source,
            "reportingComponent": self._source["component"],
            "reportingInstance": self._source.get("host", ""),
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
        }

from __future__ import annotations

import asyncio

import pytest

from petset.cluster.clock import LoopClock
from petset.cluster.control.events import EventRecorder
from petset.cluster.control.writes import Record
from petset.cluster.kubelet.effects import Say
from petset.cluster.kubelet.events import Events
from tests.unit.kubelet.builders import pod

pytestmark = pytest.mark.looptime


class Recorded(EventRecorder):
    """Keeps what would be written."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def record(self, record: Record) -> None:
        self.records.append(record)


async def test_one_object_may_burst_then_gets_one_event_per_five_minutes() -> None:
    recorder = Recorded()
    events = Events(recorder, LoopClock())
    writing = asyncio.create_task(events.run())
    other = pod()
    other["metadata"]["uid"] = "uid-other"
    for _ in range(40):
        events.say(pod(), Say("Normal", "Pulled", "again"))
    events.say(other, Say("Normal", "Pulled", "mine"))
    await asyncio.sleep(0)
    assert [each.message for each in recorder.records] == ["again"] * 25 + ["mine"]
    await asyncio.sleep(600)
    for _ in range(5):
        events.say(pod(), Say("Normal", "Pulled", "later"))
    await asyncio.sleep(0)
    assert [each.message for each in recorder.records][26:] == ["later"] * 2
    writing.cancel()

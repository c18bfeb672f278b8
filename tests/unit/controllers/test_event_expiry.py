"""When events are forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.times import format_time
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import NOTHING, Delete, Outcome
from petset.cluster.controllers.event_expiry import EVENT_SECONDS, plan_event

NOW = 1_767_225_600.0
KEY = ("default", "kubia-0.17a")


def plan(**event: Any) -> Outcome:
    meta = {"name": KEY[1], "namespace": KEY[0], "uid": "u", "resourceVersion": "7"}
    meta["creationTimestamp"] = event.pop("created", format_time(NOW - 2 * EVENT_SECONDS))
    return plan_event(KEY, Snapshot.of([{"kind": "Event", "metadata": meta, **event}]), NOW)


OVER = Outcome((Delete("Event", *KEY, uid="u", revision="7"),))
CASES = {
    "an hour after its creation": ({}, OVER),
    "counted up since": ({"lastTimestamp": format_time(NOW - 60)}, Outcome(again_at=NOW - 60 + EVENT_SECONDS)),
    "seen by the newer API": ({"eventTime": format_time(NOW - 5)}, Outcome(again_at=NOW - 5 + EVENT_SECONDS)),
    "fresh": ({"created": format_time(NOW)}, Outcome(again_at=NOW + EVENT_SECONDS)),
    "a time that is none": ({"lastTimestamp": "yesterday"}, OVER),
}


@pytest.mark.parametrize(("event", "expected"), CASES.values(), ids=CASES)
def test_events_end(event: dict[str, Any], expected: Outcome) -> None:
    assert plan(**event) == expected


def test_gone_meanwhile() -> None:
    assert plan_event(KEY, Snapshot.of([]), NOW) == NOTHING

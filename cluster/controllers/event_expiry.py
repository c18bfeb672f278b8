"""Events are forgotten an hour after they were last seen, so that a long-lived cluster does not fill with them.

Kubernetes gives them a lease in etcd (`--event-ttl`, one hour, renewed by every count-up); here a plan deletes them.
"""

from __future__ import annotations

from petset.cluster.api.objects import Object
from petset.cluster.api.times import parse_time
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, Delete, Outcome

EVENT_SECONDS = 3600.0


def plan_event(key: Key, snapshot: Snapshot, now: float) -> Outcome:
    """Delete an event that is over, or say when to look again."""
    event = snapshot.get("Event", *key)
    if event is None:
        return NOTHING
    ends_at = _last_seen(event) + EVENT_SECONDS
    if now < ends_at:
        return Outcome(again_at=ends_at)
    meta = event["metadata"]
    return Outcome((Delete("Event", *key, uid=meta["uid"], revision=meta["resourceVersion"]),))


def _last_seen(event: Object) -> float:
    """The newest of its times; clients of both event APIs fill in different ones, some with nonsense."""
    texts = [event.get("lastTimestamp"), event.get("eventTime"), event["metadata"].get("creationTimestamp")]
    times = []
    for text in texts:
        try:
            times.append(parse_time(text or ""))
        except ValueError:
            continue
    return max(times, default=0.0)


CONTROLLER = Controller("event-expiry-controller", {"Event": lambda event, _: [key_of(event)]}, plan_event)

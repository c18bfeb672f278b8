"""Bounded fan-out: every watcher of a resource has a queue of its own, and nobody waits for a slow one.

    publish ──▶ queue of watcher 1 ──▶ iterator
            ├─▶ queue of watcher 2 ──▶ iterator
            └─▶ queue of watcher 3 (full): dropped; its iterator raises Expired, and it must list again

Publishing never waits and never fails. A queue holds `watcher_changes` live changes; the replay with which a watch
begins is already in memory (it is part of the history) and does not count. A dropped watcher loses what it had not yet
read: a list shows it a newer state anyway.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

from petset.cluster.errors import Expired
from petset.cluster.store.backend import Change


class Subscription(AsyncIterator[Change]):
    """One watcher's queue. Iteration waits for the next change, and ends when the backend closes."""

    def __init__(self, resource: str, *, replay: Iterable[Change], watcher_changes: int) -> None:
        self.resource = resource
        self._changes = deque(replay)
        self._capacity = len(self._changes) + watcher_changes
        self._arrived = asyncio.Event()
        self._dropped = False
        self._ended = False

    def offer(self, change: Change) -> bool:
        """Queue a change; False when the queue was full, and this watcher is lost."""
        self._arrived.set()
        if len(self._changes) >= self._capacity:
            self._changes.clear()
            self._dropped = True
            return False
        self._changes.append(change)
        return True

    def end(self) -> None:
        """No more changes will come: iteration stops after those that are queued."""
        self._ended = True
        self._arrived.set()

    async def __anext__(self) -> Change:
        while not self._changes:
            if self._dropped:
                raise Expired(f"the watch of {self.resource} was too slow and lost changes: list again")
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._changes.popleft()


class Broadcast:
    """The subscriptions of all resources. Watchers are served in the order in which they came."""

    def __init__(self, *, watcher_changes: int) -> None:
        self._watcher_changes = watcher_changes
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._closed = False

    def subscribe(self, resource: str, *, replay: Iterable[Change]) -> Subscription:
        """A subscription that yields `replay` and then every change published from now on."""
        subscription = Subscription(resource, replay=replay, watcher_changes=self._watcher_changes)
        if self._closed:
            subscription.end()
        else:
            self._subscriptions.setdefault(resource, []).append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a subscription; one that was dropped before is already forgotten."""
        watchers = self._subscriptions.get(subscription.resource, [])
        if subscription in watchers:
            watchers.remove(subscription)
        if not watchers:
            self._subscriptions.pop(subscription.resource, None)

    def publish(self, change: Change) -> None:
        watchers = self._subscriptions.get(change.key.resource)
        if not watchers:
            return
        for lost in [watcher for watcher in watchers if not watcher.offer(change)]:
            self.unsubscribe(lost)

    def close(self) -> None:
        """End every subscription, those of the future too."""
        self._closed = True
        for watchers in self._subscriptions.values():
            for watcher in watchers:
                watcher.end()
        self._subscriptions.clear()

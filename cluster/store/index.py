"""The readable half of a backend: published objects, the history that watches start from, and the fan-out.

    publish ──▶ shelves   (resource, namespace) ─▶ objects by name, names kept in order
            ├─▶ history   the last `history_changes` changes; older ones are compacted away
            └─▶ broadcast ─▶ watchers

Everything here happens in one step of the event loop, without an `await`: a reader sees a write entirely or not at
all, and a watch that subscribes and then replays can neither miss a change nor see one twice. Nothing is copied:
objects are shared and immutable by agreement, which makes a read as cheap as a dictionary lookup.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import takewhile

from petset.cluster.api.objects import Object
from petset.cluster.errors import AlreadyExists, ApiError, Conflict, Expired, NotFound
from petset.cluster.store.backend import Change, StoreKey
from petset.cluster.store.broadcast import Broadcast

HISTORY_CHANGES = 10_000
"""How many changes a late watch can still replay; beyond them it is told Expired."""
WATCHER_CHANGES = 10_000
"""How many changes may wait for one watcher before it is dropped."""


class Index:
    """Objects by key, with their history. Subclasses decide what must happen before `_publish`."""

    def __init__(self, *, history_changes: int = HISTORY_CHANGES, watcher_changes: int = WATCHER_CHANGES) -> None:
        self._revision = 0
        self._compacted = 0
        self._history: deque[Change] = deque()
        self._history_changes = history_changes
        self._resources: dict[str, dict[str, _Shelf]] = {}
        self._broadcast = Broadcast(watcher_changes=watcher_changes)

    @property
    def revision(self) -> int:
        """The newest readable revision."""
        return self._revision

    def get(self, key: StoreKey) -> Object | None:
        shelf = self._resources.get(key.resource, {}).get(key.namespace)
        return shelf.objects.get(key.name) if shelf else None

    def objects(self, resource: str, namespace: str = "") -> list[Object]:
        """All objects of a resource (of one namespace, if given), sorted by (namespace, name), as of `revision`."""
        shelves = self._resources.get(resource, {})
        if namespace:
            return shelves[namespace].ordered() if namespace in shelves else []
        return [obj for each in sorted(shelves) for obj in shelves[each].ordered()]

    def objects_at(self, resource: str, namespace: str = "", *, revision: int) -> list[Object]:
        """See `Backend.objects_at`: the present state, with what came after that revision taken back."""
        found: dict[StoreKey, Object] = {}
        for obj in self.objects(resource, namespace):
            meta = obj["metadata"]
            found[StoreKey(resource, meta.get("namespace", ""), meta["name"])] = obj
        for change in self._newest_first(resource, revision):
            if namespace not in ("", change.key.namespace):
                continue
            if change.previous is None:
                found.pop(change.key, None)
            else:
                found[change.key] = change.previous
        return [found[key] for key in sorted(found)]

    def _newest_first(self, resource: str, after: int) -> list[Change]:
        """What happened to a resource after that revision. Raises Expired when that is not known any more, or yet."""
        if after < self._compacted:
            raise Expired(f"too old resource version: {after} ({self._compacted})")
        if after > self._revision:
            raise Expired(f"resource version {after} is in the future: the newest is {self._revision}")
        recent = takewhile(lambda change: change.revision > after, reversed(self._history))
        return [change for change in recent if change.key.resource == resource]

    @contextmanager
    def watch(self, resource: str, *, after: int) -> Iterator[AsyncIterator[Change]]:
        """See `Backend.watch`. Iteration ends when the backend closes."""
        subscription = self._broadcast.subscribe(resource, replay=reversed(self._newest_first(resource, after)))
        try:
            yield subscription
        finally:
            self._broadcast.unsubscribe(subscription)

    def _load(self, key: StoreKey, obj: Object) -> None:
        """Put an object of an earlier run in its place: no history, nobody to tell."""
        self._shelf(key).put(key.name, obj)

    def _begin_at(self, revision: int) -> None:
        """Continue the numbering of an earlier run, whose history is gone."""
        self._revision = self._compacted = revision

    def _publish(self, key: StoreKey, obj: Object, *, revision: int, deleted: bool) -> None:
        """Make a stamped write readable and watchable. Revisions must come in order."""
        previous = self.get(key)
        if deleted:
            self._discard(key)
        else:
            self._shelf(key).put(key.name, obj)
        self._revision = revision
        change = Change(revision, "DELETED" if deleted else "MODIFIED" if previous else "ADDED", key, obj, previous)
        self._history.append(change)
        if len(self._history) > self._history_changes:
            self._compacted = self._history.popleft().revision
        self._broadcast.publish(change)

    def _shelf(self, key: StoreKey) -> _Shelf:
        return self._resources.setdefault(key.resource, {}).setdefault(key.namespace, _Shelf())

    def _discard(self, key: StoreKey) -> None:
        """Remove an object, and its shelf with the last one, so that deleted namespaces leave nothing behind."""
        shelves = self._resources[key.resource]
        shelves[key.namespace].discard(key.name)
        if not shelves[key.namespace].objects:
            del shelves[key.namespace]


class _Shelf:
    """The objects of one resource in one namespace. Keeping the names in order costs one `insort` per creation, so
    that a list need not sort."""

    __slots__ = ("_names", "objects")

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self._names: list[str] = []

    def put(self, name: str, obj: Object) -> None:
        if name not in self.objects:
            insort(self._names, name)
        self.objects[name] = obj

    def discard(self, name: str) -> None:
        del self.objects[name]
        del self._names[bisect_left(self._names, name)]

    def ordered(self) -> list[Object]:
        return [self.objects[name] for name in self._names]


def revision_of(obj: Object | None) -> int:
    """The revision of an object's last change; 0 when there is no object."""
    return int(obj["metadata"]["resourceVersion"]) if obj else 0


def stamped(obj: Object, revision: int) -> Object:
    """The object as of `revision`. A new dictionary with new metadata: the one handed in may share its metadata with,
    or be, an object that others are reading (`{**old, "spec": …}`; a delete of what `get` answered)."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(revision)}}


def refusal(key: StoreKey, *, current: int, expected: int, deleting: bool) -> ApiError | None:
    """Why a write may not happen to an object whose revision is `current` (0: absent); None when it may."""
    if current == expected and not (deleting and current == 0):
        return None
    plural, _, group = key.resource.partition(".")
    details = {"name": key.name, "group": group, "kind": plural}
    if expected == 0 and not deleting:
        return AlreadyExists(f'{key.resource} "{key.name}" already exists', details)
    if current == 0:
        return NotFound(f'{key.resource} "{key.name}" not found', details)
    return Conflict(
        f'Operation cannot be fulfilled on {key.resource} "{key.name}": the object has been modified; '
        "please apply your changes to the latest version and try again",
        details,
    )

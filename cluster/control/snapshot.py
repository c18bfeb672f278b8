"""What a controller sees: the cached objects of every kind it watches, indexed, read-only.

Informers feed it between two awaits; a plan runs without awaiting, so it sees one consistent state. Lists are
sorted by (namespace, name): no plan depends on the order in which events arrived.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from petset.cluster.api.objects import Object

Key = tuple[str, str]
"""(namespace, name); the namespace of a cluster-scoped object is the empty string."""


def key_of(obj: Object) -> Key:
    """The key of an object."""
    meta = obj["metadata"]
    return meta.get("namespace", ""), meta["name"]


class ObjectIndex:
    """The objects of one kind, findable by key, by namespace and by owner uid."""

    def __init__(self) -> None:
        self._objects: dict[Key, Object] = {}
        self._by_namespace: dict[str, set[Key]] = defaultdict(set)
        self._by_owner: dict[str, set[Key]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        return iter([self._objects[key] for key in sorted(self._objects)])

    def get(self, namespace: str, name: str) -> Object | None:
        return self._objects.get((namespace, name))

    def put(self, obj: Object) -> Object | None:
        """Insert or replace; answers the object that was replaced."""
        key = key_of(obj)
        old = self.discard(*key)
        self._objects[key] = obj
        self._by_namespace[key[0]].add(key)
        for uid in _owner_uids(obj):
            self._by_owner[uid].add(key)
        return old

    def discard(self, namespace: str, name: str) -> Object | None:
        """Remove; answers what was removed."""
        key = (namespace, name)
        old = self._objects.pop(key, None)
        if old is None:
            return None
        _remove(self._by_namespace, namespace, key)
        for uid in _owner_uids(old):
            _remove(self._by_owner, uid, key)
        return old

    def in_namespace(self, namespace: str) -> list[Object]:
        return [self._objects[key] for key in sorted(self._by_namespace.get(namespace, ()))]

    def owned_by(self, uid: str) -> list[Object]:
        return [self._objects[key] for key in sorted(self._by_owner.get(uid, ()))]


class Snapshot:
    """Read access to the cached objects of several kinds. A kind is named by its `kind`, e.g. `"Pod"`."""

    def __init__(self, indexes: dict[str, ObjectIndex] | None = None) -> None:
        self._indexes = indexes if indexes is not None else {}

    @classmethod
    def of(cls, objects: Iterable[Object]) -> Snapshot:
        """A snapshot of exactly these objects (each carries its `kind`)."""
        indexes: dict[str, ObjectIndex] = defaultdict(ObjectIndex)
        for obj in objects:
            indexes[obj["kind"]].put(obj)
        return cls(indexes)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        index = self._indexes.get(kind)
        return index.get(namespace, name) if index else None

    def objects(self, kind: str, namespace: str | None = None) -> list[Object]:
        """All objects of a kind, or those of one namespace, sorted by (namespace, name)."""
        index = self._indexes.get(kind)
        if index is None:
            return []
        return [*index] if namespace is None else index.in_namespace(namespace)

    def owned_by(self, kind: str, uid: str) -> list[Object]:
        """The objects of a kind that name this uid among their ownerReferences (controller or not)."""
        index = self._indexes.get(kind)
        return index.owned_by(uid) if index else []


def _owner_uids(obj: Object) -> list[str]:
    return [ref["uid"] for ref in obj["metadata"].get("ownerReferences") or ()]


def _remove(index: dict[str, set[Key]], name: str, key: Key) -> None:
    index[name].discard(key)
    if not index[name]:
        del index[name]

"""The `Backend` protocol: where objects live, and the order in which everything happened.

One counter numbers every change (`revision`); each object carries the revision of its last change as its
`metadata.resourceVersion`, which the backend stamps. A write is acknowledged only when it is durable, and only then
can it be read or watched. Keys are `(resource, namespace, name)`, e.g. `("statefulsets.apps", "default", "kubia")`.

    write ─▶ checked against all earlier writes ─▶ durable (group commit) ─▶ readable ─▶ watchers ─▶ acknowledged
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from petset.cluster.api.objects import Object


class StoreKey(NamedTuple):
    """`resource` is `plural.group` (`pods` in the core group); cluster-scoped objects have the namespace ""."""

    resource: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of history. `object` is the new state; of a DELETED one the last state, stamped with the deletion's
    revision. `previous` is the state before (None for ADDED)."""

    revision: int
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    key: StoreKey
    object: Object
    previous: Object | None


class Backend(Protocol):
    """Objects handed out are shared and must not be changed. An object handed in belongs to the backend from then on.

    `expected` is the revision that the object must still have: 0 means that it must not exist.

    A write that is cancelled ends when its fate is decided, no earlier: a lock that is held around it is held as long.
    """

    @property
    def revision(self) -> int:
        """The newest readable revision."""

    def get(self, key: StoreKey) -> Object | None: ...

    def objects(self, resource: str, namespace: str = "") -> list[Object]:
        """All objects of a resource (of one namespace, if given), sorted by (namespace, name), as of `revision`."""

    def objects_at(self, resource: str, namespace: str = "", *, revision: int) -> list[Object]:
        """The same as of an earlier revision. Raises Expired when it has been compacted, or is yet to come."""

    async def put(self, key: StoreKey, obj: Object, *, expected: int) -> Object:
        """Create or replace; answers the stamped object. Raises AlreadyExists, NotFound or Conflict (errors.py),
        with nothing changed."""

    async def delete(self, key: StoreKey, obj: Object, *, expected: int) -> Object:
        """Remove; `obj` is the last state to show to watchers, answered stamped with the revision of the deletion.
        Raises NotFound or Conflict."""

    def watch(self, resource: str, *, after: int) -> AbstractContextManager[AsyncIterator[Change]]:
        """Every change of a resource after that revision, in order, without gaps. Raises Expired on entry when the
        history does not reach back that far or the revision is in the future, and later from the iterator when this
        watcher was too slow (its queue is bounded) or history was compacted under it."""

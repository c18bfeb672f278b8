"""A backend that forgets: the index alone, every write published where it stands.

It gives the same answers, revisions and errors as the durable backends (one contract suite runs over all of them) and
uses no thread, file or timer, so a whole cluster can run on it in virtual time. What it leaves out is durability: it
ends with its process.
"""

from __future__ import annotations

from petset.cluster.api.objects import Object
from petset.cluster.store.backend import StoreKey
from petset.cluster.store.index import Index, refusal, revision_of, stamped


class MemoryBackend(Index):
    """See `Backend`."""

    async def put(self, key: StoreKey, obj: Object, *, expected: int) -> Object:
        return self._write(key, obj, expected=expected, deleted=False)

    async def delete(self, key: StoreKey, obj: Object, *, expected: int) -> Object:
        return self._write(key, obj, expected=expected, deleted=True)

    def _write(self, key: StoreKey, obj: Object, *, expected: int, deleted: bool) -> Object:
        if refused := refusal(key, current=revision_of(self.get(key)), expected=expected, deleting=deleted):
            raise refused
        revision = self._revision + 1
        fresh = stamped(obj, revision)
        self._publish(key, fresh, revision=revision, deleted=deleted)
        return fresh

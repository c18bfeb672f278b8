"""What a controller has done itself, and the wait until its cache shows all of it.

    answered write   its revision is remembered        ─▶ wait until the kind's cache has reached it
    lost answer      nobody knows whether it happened  ─▶ ask the server, then wait until the cache shows what it said

Without the second, a create whose answer was lost would be repeated by the next plan: under a generated name that
would be one object too many. What a server does only after it was asked (a request that is still on its way) is beyond
this; the next plan then meets it as anybody else's write.
"""

from __future__ import annotations

from collections.abc import Mapping

from petset.cluster.api.objects import Object, name_of, namespace_of, uid_of
from petset.cluster.control.client import Client
from petset.cluster.control.informer import Informer
from petset.cluster.control.writes import Bind, ConfirmNone, Create, Delete, Patch, Record, Update, Write
from petset.cluster.errors import NotFound

Place = tuple[str, str, str]
"""(kind, namespace, name); an empty name stands for one that the server was to generate."""


class OwnWrites:
    """The writes of one controller, over the informers of the kinds that it sees. Bounded by the objects in doubt."""

    def __init__(self, client: Client, informers: Mapping[str, Informer]) -> None:
        self._client = client
        self._informers = informers
        self._reached: dict[str, int] = {}
        self._doubtful: dict[Place, None] = {}

    def answered(self, answer: Object | None) -> None:
        """A write succeeded with this answer; writes of kinds that the controller does not see need no wait."""
        if answer is None:
            return
        kind, revision = answer.get("kind", ""), answer.get("metadata", {}).get("resourceVersion")
        if kind in self._informers and revision:
            self._reached[kind] = max(self._reached.get(kind, 0), int(revision))

    def lost(self, write: Write) -> None:
        """Nobody knows whether this write happened."""
        place = _place_of(write)
        if place is not None and place[0] in self._informers:
            self._doubtful[place] = None

    async def seen(self) -> None:
        """Wait until the caches show every own write. Raises ApiError when the server cannot be asked."""
        while self._doubtful:
            place = next(iter(self._doubtful))
            await self._clear_up(place)
            self._doubtful.pop(place, None)
        while behind := [kind for kind, revision in self._reached.items() if self._informers[kind].revision < revision]:
            for kind in behind:
                await self._informers[kind].reached(self._reached[kind])

    async def _clear_up(self, place: Place) -> None:
        kind, namespace, name = place
        if not name:
            items = (await self._client.list(kind, namespace)).items
            newest = max((int(each["metadata"]["resourceVersion"]) for each in items), default=0)
            await self._informers[kind].reached(newest)
            return
        known = self._informers[kind].index.get(namespace, name)
        try:
            found = await self._client.get(kind, name, namespace)
        except NotFound:
            if known is not None:
                await self._informers[kind].lost(namespace, name, uid_of(known))
        else:
            await self._informers[kind].reached(int(found["metadata"]["resourceVersion"]))


def _place_of(write: Write) -> Place | None:
    match write:
        case Create(object=obj) | Update(object=obj):
            return obj["kind"], namespace_of(obj), "" if _is_generated(obj) else name_of(obj)
        case Patch() | Delete():
            return write.kind, write.namespace, write.name
        case Bind():
            return "Pod", write.namespace, write.name
        case Record() | ConfirmNone():
            return None


def _is_generated(obj: Object) -> bool:
    return not obj["metadata"].get("name")

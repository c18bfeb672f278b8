"""Watching: the store's changes of one resource, seen through a namespace and selectors.

An object that comes to match is ADDED to its watcher, one that ceases to match is DELETED, whatever really happened to
it. A watch from revision "" or "0" begins with the present state; one from an exact revision with what came after it.
A watch of a custom kind ends when its definition changes or goes: the client lists again, and finds what is served now.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object, name_of, namespace_of, uid_of
from petset.cluster.api.selectors import parse_label_selector
from petset.cluster.api.versions import in_version
from petset.cluster.apiserver.custom_resources import DEFINITIONS
from petset.cluster.apiserver.field_labels import field_matcher
from petset.cluster.apiserver.options import WatchOptions
from petset.cluster.apiserver.verbs import present_objects
from petset.cluster.control.client import WatchEvent
from petset.cluster.errors import Expired
from petset.cluster.store.backend import Backend, Change, StoreKey

BOOKMARK_SECONDS = 60.0
"""How often a quiet watch that allows bookmarks is told the newest revision."""


@contextmanager
def watching(
    backend: Backend, kind: Kind, namespace: str, options: WatchOptions
) -> Iterator[AsyncIterator[WatchEvent]]:
    """The events of one watch. Raises Expired (on entry or from the iterator) when the client must list again."""
    view = _View(kind, namespace, options)
    from_present = options.revision in ("", "0") or options.initial_events
    after = backend.revision if from_present else int(options.revision)
    with ExitStack() as watches:
        changes = watches.enter_context(backend.watch(kind.stored_as, after=after))
        ending = None
        if kind.custom:
            definitions = watches.enter_context(backend.watch(DEFINITIONS, after=backend.revision))
            known = backend.get(StoreKey(DEFINITIONS, "", kind.custom.definition))
            ending = partial(_definition_changed, known, definitions)
        present = present_objects(backend, kind, namespace) if from_present else []
        yield _events(view, changes, ending, present=present, revision=after, options=options)


async def _definition_changed(known: Object | None, definitions: AsyncIterator[Change]) -> None:
    """Returns when a definition is no longer what it was, or nobody knows."""
    if known is None:
        return
    with suppress(Expired):
        async for change in definitions:
            if name_of(change.object) != name_of(known):
                continue
            if change.type == "DELETED" or _state(change.object) != _state(known):
                return


def _state(definition: Object) -> tuple[str, int]:
    """What changes with every change of a definition's spec."""
    return uid_of(definition), int(definition["metadata"].get("generation", 0))


async def _events(
    view: _View, changes: AsyncIterator[Change], end: Callable[[], Coroutine[Any, Any, None]] | None, *,
    present: list[Object], revision: int, options: WatchOptions,
) -> AsyncIterator[WatchEvent]:  # fmt: skip
    for obj in present:
        if view.shows(obj):
            yield WatchEvent("ADDED", obj)
    if options.initial_events:
        yield view.bookmark(revision, initial_end=True)
    waiting = asyncio.ensure_future(anext(changes))
    ending = {asyncio.ensure_future(end())} if end else set()
    patience = BOOKMARK_SECONDS if options.bookmarks else None
    try:
        while True:
            done, _ = await asyncio.wait({waiting, *ending}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                yield view.bookmark(revision, initial_end=False)
                continue
            if waiting not in done:  # changes that came before the end are all handed on first
                return
            try:
                change = waiting.result()
            except StopAsyncIteration:
                return
            waiting = asyncio.ensure_future(anext(changes))
            revision = change.revision
            if event := view.event(change):
                yield event
    finally:
        for each in (waiting, *ending):
            each.cancel()


class _View:
    """Which objects a watcher sees, and what a change means to it."""

    def __init__(self, kind: Kind, namespace: str, options: WatchOptions) -> None:
        self._kind = kind
        self._namespace = namespace
        self._labels = parse_label_selector(options.label_selector)
        self._fields = field_matcher(kind, options.field_selector)

    def shows(self, obj: Object) -> bool:
        if self._namespace and namespace_of(obj) != self._namespace:
            return False
        return self._labels.selects(obj) and self._fields.matches(obj)

    def event(self, change: Change) -> WatchEvent | None:
        obj, previous = self._seen(change.object), change.previous
        before = previous is not None and self.shows(self._seen(previous))
        after = change.type != "DELETED" and self.shows(obj)
        if before and after:
            return WatchEvent("MODIFIED", obj)
        if after:
            return WatchEvent("ADDED", obj)
        return WatchEvent("DELETED", obj) if before else None

    def _seen(self, obj: Object) -> Object:
        return in_version(obj, self._kind.api_version)

    def bookmark(self, revision: int, *, initial_end: bool) -> WatchEvent:
        meta: Object = {"resourceVersion": str(revision)}
        if initial_end:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        obj = {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": meta}
        return WatchEvent("BOOKMARK", obj)

"""Who owns which field: keeps `metadata.managedFields` of what is written (the rules are api/apply.py's).

Ownership is recorded from the first write on whose client names a manager, as kubectl does in every command. Objects
that only the cluster's own components write carry none, which spares their size and the work.
"""

from __future__ import annotations

from typing import Any

from petset.cluster.api.apply import Applied, Owner, Writer, after_update, apply_configuration, entries
from petset.cluster.api.defaults import fill_defaults
from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object
from petset.cluster.api.schema import Schemas
from petset.cluster.api.times import format_time
from petset.cluster.apiserver.options import WriteOptions
from petset.cluster.clock import Clock


class Ownership:
    """Stateless: everything it knows stands in the objects."""

    def __init__(self, schemas: Schemas, clock: Clock) -> None:
        self._schemas = schemas
        self._clock = clock

    def apply(
        self, kind: Kind, live: Object, configuration: Object, *, options: WriteOptions, subresource: str
    ) -> Applied:
        """Merge an applied configuration. Raises Conflict."""

        def complete(obj: Object) -> None:
            if kind.custom:
                kind.custom.schema.fill(obj)
            else:
                fill_defaults(kind.rules, obj)

        return apply_configuration(
            live,
            configuration,
            self._schemas.field_node(kind),
            self._writer(kind, options, subresource),
            force=options.force,
            complete=complete,
        )

    def of_applied(self, kind: Kind, configuration: Object, *, options: WriteOptions) -> tuple[Owner, ...]:
        """The owners of an object that its first apply creates: just what was applied is owned, not the defaults."""
        writer = self._writer(kind, options, "")
        return apply_configuration(
            {"metadata": {}}, configuration, self._schemas.field_node(kind), writer, force=False
        ).owners

    def of_created(self, kind: Kind, obj: Object, *, options: WriteOptions) -> None:
        """Record the creator of a new object, in place."""
        if options.names_manager:
            record(obj, after_update(None, obj, self._schemas.field_node(kind), self._writer(kind, options, "")))

    def of_updated(
        self, kind: Kind, old: Object, new: Object, *, given: Any, options: WriteOptions, subresource: str
    ) -> None:
        """Record in `new` who owns what after a write that is no apply.

        `given` is what the client sent as managedFields; other ones than the present ones replace them (an empty
        entry clears them), which is how kubectl turns client-side into server-side ownership.
        """
        present = old["metadata"].get("managedFields")
        base = given if isinstance(given, list) and given else present
        if not (options.names_manager or base):
            return
        before = {**old, "metadata": {**old["metadata"], "managedFields": base or []}}
        writer = self._writer(kind, options, subresource)
        record(new, after_update(before, new, self._schemas.field_node(kind), writer))

    def _writer(self, kind: Kind, options: WriteOptions, subresource: str) -> Writer:
        return Writer(options.manager, kind.api_version, subresource, format_time(self._clock.now()))


def record(obj: Object, owners: tuple[Owner, ...]) -> None:
    """Write owners into an object, in place; none leave no trace."""
    if found := entries(owners):
        obj["metadata"]["managedFields"] = found
    else:
        obj["metadata"].pop("managedFields", None)

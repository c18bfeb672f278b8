"""How an object or a list is shown: whole, as a Table (`kubectl get`), or as metadata only.

The client chooses by its Accept header (`application/json;as=Table;…`); the columns are api/tables.py's.
"""

from __future__ import annotations

from typing import Any, Literal

from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object
from petset.cluster.api.tables import columns_for, row_cells
from petset.cluster.control.client import WatchEvent

Form = Literal["whole", "table", "metadata"]


def form_of(accept: str) -> Form:
    """The form that an Accept header prefers; unknown ones get the whole object."""
    for choice in accept.split(","):
        parameters = {part.strip() for part in choice.split(";")}
        if "as=Table" in parameters and "v=v1" in parameters:
            return "table"
        if parameters & {"as=PartialObjectMetadata", "as=PartialObjectMetadataList"}:
            return "metadata"
        if "application/json" in parameters or "*/*" in parameters:
            return "whole"
    return "whole"


def render_list(kind: Kind, listing: Object, *, form: Form, include: str, now: float) -> Object:
    """A list in the wanted form; `include` is the query's includeObject (None, Metadata, Object)."""
    if form == "table":
        return _table(kind, listing["items"], listing["metadata"], include=include, now=now)
    if form == "metadata":
        items = [partial(obj) for obj in listing["items"]]
        api_version = "meta.k8s.io/v1"
        return {**listing, "kind": "PartialObjectMetadataList", "apiVersion": api_version, "items": items}
    return listing


def render_object(kind: Kind, obj: Object, *, form: Form, include: str, now: float) -> Object:
    """One object in the wanted form; a Table of one row for `get NAME`."""
    if form == "table":
        meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return _table(kind, [obj], meta, include=include, now=now)
    return partial(obj) if form == "metadata" else obj


def render_event(kind: Kind, event: WatchEvent, *, form: Form, include: str, now: float, first: bool) -> dict[str, Any]:
    """A watch event; only the first Table of a watch carries the column definitions."""
    if event.type == "BOOKMARK" or form == "whole":
        return {"type": event.type, "object": event.object}
    shown = render_object(kind, event.object, form=form, include=include, now=now)
    if form == "table" and not first:
        shown["columnDefinitions"] = []
    return {"type": event.type, "object": shown}


def partial(obj: Object) -> Object:
    """`PartialObjectMetadata`: nothing but the metadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _table(kind: Kind, items: list[Object], meta: Object, *, include: str, now: float) -> Object:
    rows = []
    for obj in items:
        row: Object = {"cells": _cells(kind, obj, now)}
        if include == "Object":
            row["object"] = obj
        elif include != "None":
            row["object"] = partial(obj)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": kind.custom.table_columns() if kind.custom else columns_for(kind.kind),
        "rows": rows,
    }


def _cells(kind: Kind, obj: Object, now: float) -> list[Any]:
    return kind.custom.table_cells(obj, now) if kind.custom else row_cells(kind.kind, obj, now)

"""Server-side printing: the columns and rows that `kubectl get` shows, as Kubernetes' API server makes them.

    columns_for("Pod") ─▶ [{name: "Name", format: "name", …}, {name: "Ready", …}, …]
    row_cells("Pod", pod, now) ─▶ ["kubia-0", "1/1", "Running", "2 (5m ago)", "3h", "10.244.1.5", …]

Each kind has a `Table`: here those of the smallest kinds, the others in table_workloads.py, table_infrastructure.py and
table_kept.py. Kinds without one have Name and Created At, as they have upstream (Role, ClusterRole, LimitRange). Names,
priorities and texts are those of pkg/printers/internalversion/printers.go (1.34). Nothing fails on an
incomplete object: what is absent reads as Kubernetes prints its zero.
"""

from __future__ import annotations

from typing import Any

from petset.cluster.api.objects import Object, name_of
from petset.cluster.api.table_cells import age, field, since
from petset.cluster.api.table_columns import AGE, NAME, Column, Table, column, wide
from petset.cluster.api.table_infrastructure import INFRASTRUCTURE
from petset.cluster.api.table_kept import KEPT
from petset.cluster.api.table_workloads import WORKLOADS


def columns_for(kind: str) -> list[Column]:
    """The column definitions of a kind's table."""
    return [dict(each) for each in _TABLES.get(kind, _DEFAULT).columns]


def row_cells(kind: str, obj: Object, now: float) -> list[Any]:
    """An object's cells, one per column of its kind; `now` in seconds since the epoch."""
    return _TABLES.get(kind, _DEFAULT).cells(obj, now)


def _default(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), field(obj, "metadata.creationTimestamp", "")]


def _namespace(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), field(obj, "status.phase", ""), age(obj, now)]


def _config_map(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj, now)]


def _secret(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), obj.get("type", ""), len(obj.get("data") or ()), age(obj, now)]


def _lease(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), field(obj, "spec.holderIdentity", ""), age(obj, now)]


def _event(obj: Object, now: float) -> list[Any]:
    first = since(obj.get("firstTimestamp") or obj.get("eventTime"), now)
    last = since(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
    count = obj.get("count") or 1
    if series := obj.get("series"):
        last, count = since(series.get("lastObservedTime"), now), series.get("count", 0)
    about = field(obj, "involvedObject.kind", "").lower()
    if name := field(obj, "involvedObject.name"):
        about += f"/{name}"
    source = [
        field(obj, "source.component") or obj.get("reportingComponent") or "",
        field(obj, "source.host") or obj.get("reportingInstance") or "",
    ]
    return [
        last,
        obj.get("type", ""),
        obj.get("reason", ""),
        about,
        field(obj, "involvedObject.fieldPath", ""),
        ", ".join(source) if source[1] else source[0],
        str(obj.get("message") or "").strip(),
        first,
        count,
        name_of(obj),
    ]


_DEFAULT = Table((NAME, column("Created At", "When the object was created.", type_="date")), _default)
_TABLES: dict[str, Table] = {
    "Namespace": Table((NAME, column("Status", "The status of the namespace."), AGE), _namespace),
    "ConfigMap": Table((NAME, column("Data", "Number of entries."), AGE), _config_map),
    "Secret": Table(
        (NAME, column("Type", "What the secret is for."), column("Data", "Number of entries."), AGE), _secret
    ),
    "Event": Table(
        (
            column("Last Seen", "Time since it last happened."),
            column("Type", "Normal or Warning."),
            column("Reason", "What happened, in one word."),
            column("Object", "What it happened to."),
            wide("Subobject", "The part it happened to."),
            wide("Source", "Who reported it."),
            column("Message", "What happened."),
            wide("First Seen", "Time since it first happened."),
            wide("Count", "How often it happened."),
            column("Name", "The event's name.", format_="name", priority=1),
        ),
        _event,
    ),
    "Lease": Table((NAME, column("Holder", "Who holds the lease."), AGE), _lease),
    **INFRASTRUCTURE,
    **KEPT,
    **WORKLOADS,
}

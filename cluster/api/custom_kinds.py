"""What a CustomResourceDefinition says of its kind, as the engine needs it: names, columns, scale paths, a schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from petset.cluster.api.custom_schema import CustomSchema
from petset.cluster.api.json_paths import find
from petset.cluster.api.objects import Object, name_of
from petset.cluster.api.table_cells import age, since
from petset.cluster.api.table_columns import AGE, NAME, Column, column


@dataclass(frozen=True)
class ScalePaths:
    """JSON paths of what a Scale shows; `selector` (a text in status) may be empty."""

    replicas: str
    status_replicas: str
    selector: str = ""


@dataclass(frozen=True)
class CustomKind:
    """One version of a custom kind. `definition` names its CRD, `columns` are its additionalPrinterColumns."""

    definition: str
    singular: str
    list_kind: str
    schema: CustomSchema
    columns: tuple[Object, ...] = ()
    scale: ScalePaths | None = None

    def table_columns(self) -> list[Column]:
        """The name, then the definition's own columns, or the age when it has none."""
        own = [
            column(
                each["name"], each.get("description", ""), type_=each["type"], format_=each.get("format", ""),
                priority=each.get("priority", 0),
            )
            for each in self.columns
        ]  # fmt: skip
        return [dict(NAME), *(own or [dict(AGE)])]

    def table_cells(self, obj: Object, now: float) -> list[Any]:
        """An object's cells; None where a column's path leads nowhere (printed as nothing)."""
        if not self.columns:
            return [name_of(obj), age(obj, now)]
        return [name_of(obj), *(_cell(each, find(obj, each["jsonPath"]), now) for each in self.columns)]


def _cell(column: Object, value: Any, now: float) -> Any:
    """As the type of a column wants it; a value of another type is not shown (apiextensions' tableconvertor)."""
    if value is None:
        return None
    match column["type"]:
        case "date":
            return since(value, now)
        case "integer":
            return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
        case "number":
            return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
        case "boolean":
            return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else str(value)

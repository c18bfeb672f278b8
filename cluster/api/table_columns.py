"""What a table consists of, and the columns that many kinds share.

Columns of priority 1 show with `kubectl get -o wide` only, but are always sent. Descriptions are never printed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from petset.cluster.api.objects import Object

Column = dict[str, Any]
"""A `TableColumnDefinition`: name, type, format, description, priority."""


@dataclass(frozen=True)
class Table:
    """One kind's columns, and the function from (object, now in seconds) to its cells, one per column."""

    columns: tuple[Column, ...]
    cells: Callable[[Object, float], list[Any]]


def column(name: str, description: str, *, type_: str = "string", format_: str = "", priority: int = 0) -> Column:
    return {"name": name, "type": type_, "format": format_, "description": description, "priority": priority}


def number(name: str, description: str) -> Column:
    return column(name, description, type_="integer")


def wide(name: str, description: str) -> Column:
    return column(name, description, priority=1)


NAME = column("Name", "The object's name, unique in its namespace.", format_="name")
AGE = column("Age", "Time since the object was created.")
CONTAINERS = wide("Containers", "Names of each container in the template.")
IMAGES = wide("Images", "Images referenced by each container in the template.")
SELECTOR = wide("Selector", "Which pods belong to the object.")

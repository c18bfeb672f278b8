"""The JSON paths that CustomResourceDefinitions name: printer columns, replicas, selectors.

    .spec.replicas      .status.conditions[?(@.type=="Ready")].status      .spec.hosts[*].name      .data['a.b']

The subset of client-go's jsonpath that definitions use: names, indices, `[*]` and equality filters. A path that does
not parse finds nothing. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from petset.cluster.api.objects import Object

_STEP = re.compile(
    r"""\.?(?P<name>(?:\\.|[^.\[\]\\])+)
      | \[(?P<index>-?\d+)\]
      | \[(?P<every>\*)\]
      | \['(?P<key>[^']*)'\]
      | \[\?\(\s*@\.(?P<field>[\w.]+)\s*==\s*(?P<quote>["'])(?P<wanted>.*?)(?P=quote)\s*\)\]
    """,
    re.VERBOSE,
)


def find_all(obj: Any, path: str) -> list[Any]:
    """Everything that a path leads to, in order; nothing for a path that does not lead anywhere."""
    found = [obj]
    for step in _steps(path):
        found = [each for value in found for each in _next(value, step)]
    return found


def find(obj: Any, path: str) -> Any:
    """The first thing that a path leads to, or None."""
    return next(iter(find_all(obj, path)), None)


def replaced(obj: Object, path: str, value: Any) -> Object:
    """The object with another value at a path of plain names; holders are made, the original stays."""
    name, _, rest = path.lstrip(".").partition(".")
    if not rest:
        return {**obj, name: value}
    holder = obj.get(name)
    return {**obj, name: replaced(holder if isinstance(holder, dict) else {}, rest, value)}


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[re.Match[str], ...]:
    """The steps of a path; a path with a rest that is no step leads nowhere (one impossible step)."""
    steps, at = [], 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            nowhere = _STEP.match("[99999999]")
            return (nowhere,) if nowhere else ()
        steps.append(step)
        at = step.end()
    return tuple(steps)


def _next(value: Any, step: re.Match[str]) -> Iterator[Any]:
    if (name := step["name"] if step["name"] is not None else step["key"]) is not None:
        name = re.sub(r"\\(.)", r"\1", name)
        if isinstance(value, dict) and value.get(name) is not None:
            yield value[name]
        return
    items = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    if step["every"]:
        yield from items
    elif step["index"] is not None:
        index = int(step["index"])
        if -len(items) <= index < len(items):
            yield items[index]
    else:
        yield from (each for each in items if str(find(each, step["field"])) == step["wanted"])

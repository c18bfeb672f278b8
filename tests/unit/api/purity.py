"""How the tests of pure functions make sure that they are pure."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any


def untouched(live: Any, patch: Any, act: Callable[[], Any]) -> Any:
    """The result of `act`; the inputs must be as they were, and share nothing with it."""
    before = copy.deepcopy((live, patch))
    try:
        result = act()
        assert containers_of(result).isdisjoint(containers_of(live) | containers_of(patch))
    finally:
        assert (live, patch) == before
    return result


def containers_of(value: Any) -> set[int]:
    """The identities of all dicts and lists inside."""
    if isinstance(value, dict):
        return {id(value)}.union(*(containers_of(each) for each in value.values()))
    if isinstance(value, list):
        return {id(value)}.union(*(containers_of(each) for each in value))
    return set()

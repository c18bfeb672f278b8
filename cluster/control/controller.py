"""A controller as a value: what wakes it, and the pure function that decides.

    watch event ──triggers──▶ key ──queue──▶ plan(key, snapshot, now) ──▶ Outcome(writes, again_at)

The runner (runner.py) does everything that waits or acts; a controller file holds none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from petset.cluster.api.objects import Object
from petset.cluster.control.snapshot import Key, Snapshot
from petset.cluster.control.writes import Outcome

Trigger = Callable[[Object, Snapshot], Iterable[Key]]
"""Which keys an added, changed or deleted object concerns. Called with the old and with the new version."""


@dataclass(frozen=True)
class Controller:
    """`component` is the source of its events; `triggers` maps each watched kind to what its events wake."""

    component: str
    triggers: Mapping[str, Trigger]
    plan: Callable[[Key, Snapshot, float], Outcome]
    reads: tuple[str, ...] = ()
    """Kinds that the plan reads but that wake nothing."""
    resync_seconds: float | None = None
    """Every key of the first trigger's kind is looked at again after this time, for plans that follow the clock."""
    workers: int = 1
    """Keys handled at the same time (one worker per key always)."""

    @property
    def kinds(self) -> tuple[str, ...]:
        return (*self.triggers, *self.reads)

"""The faults of a running cluster: which were injected when, which still act, and how each is healed.

    inject ─▶ active ──heal, heal_all, for_seconds over──▶ healed        an instant fault: done at once

Faults are injected and healed one at a time, in the order of the calls; healing all goes from the newest to the oldest.
A heal that fails, for whatever reason, leaves its fault active, to be healed again, and keeps no other one; one whose
time is over is tried again by itself every RETRY_SECONDS. At most MAX_ACTIVE act at a time; of those that are over
the newest MAX_KEPT are remembered.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, Literal

from petset.cluster.api.times import format_micro_time
from petset.cluster.chaos.errors import CannotHere, FaultError, HealFailed, NoSuchTarget
from petset.cluster.chaos.faults import Fault
from petset.cluster.chaos.injection import Heal, inject
from petset.cluster.chaos.world import World
from petset.cluster.clock import Clock

MAX_ACTIVE = 256
MAX_KEPT = 10_000
RETRY_SECONDS = 2.0

log = logging.getLogger(__name__)


@dataclass
class Entry:
    """One fault that was injected. Times are seconds since the epoch."""

    id: str
    fault: Fault
    injected_at: float
    heal: Heal
    state: Literal["active", "done", "healed"]
    healed_at: float | None = None
    timers: list[asyncio.TimerHandle] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "fault": self.fault.as_json(),
            "injected_at": format_micro_time(self.injected_at),
            "healed_at": None if self.healed_at is None else format_micro_time(self.healed_at),
            "state": self.state,
        }


class Register:
    """`async with` heals at its end whatever still acts."""

    def __init__(self, world: World, clock: Clock) -> None:
        self._world = world
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._injected = 0
        self._turn = asyncio.Lock()
        self._healing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Register:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in [*self._healing]:
            task.cancel()
        try:
            await self.heal_all()
        except HealFailed as error:
            log.warning("the cluster ends with a fault: %s", error)
        for timer in [timer for entry in self._active() for timer in entry.timers]:
            timer.cancel()

    def entries(self) -> list[Entry]:
        """Oldest first."""
        return [*self._entries.values()]

    async def inject(self, fault: Fault) -> Entry:
        """Raises NoSuchTarget, CannotHere."""
        async with self._turn:
            if len(self._active()) >= MAX_ACTIVE:
                raise CannotHere(f"{MAX_ACTIVE} faults act at a time, not more; heal some")
            fault_id = f"f{self._injected + 1}"
            heal = await inject(fault, self._world, fault_id)
            self._injected += 1
            state: Literal["active", "done"] = "done" if fault.is_instant else "active"
            entry = Entry(fault_id, fault, self._clock.now(), heal, state)
            self._entries[fault_id] = entry
            self._forget_old()
        log.warning("injected %s: %s", fault_id, fault.as_json())
        if fault.for_seconds is not None:
            loop = asyncio.get_running_loop()
            entry.timers.append(loop.call_later(fault.for_seconds, self._heal_later, entry))
        return entry

    async def heal(self, fault_id: str) -> Entry:
        """Healing what is healed changes nothing. Raises NoSuchTarget, HealFailed."""
        entry = self._entries.get(fault_id)
        if entry is None:
            raise NoSuchTarget(f"there is no fault {fault_id}")
        async with self._turn:
            if entry.state == "active":
                await self._heal(entry)
        return entry

    async def heal_all(self) -> list[Entry]:
        """Newest first; those that were healed. Raises HealFailed when some could not be, after trying all."""
        async with self._turn:
            healed, failures = [], []
            for entry in reversed(self._active()):
                try:
                    await self._heal(entry)
                    healed.append(entry)
                except HealFailed as error:
                    failures.append(str(error))
        if failures:
            raise HealFailed("; ".join(failures))
        return healed

    async def _heal(self, entry: Entry) -> None:
        try:
            await entry.heal()
        except Exception as error:
            if not isinstance(error, FaultError):  # a bug of ours may cost one heal, not all that come after it
                log.exception("%s (%s) cannot be healed", entry.id, entry.fault.kind)
            raise HealFailed(f"{entry.id} ({entry.fault.kind}): {error}") from error
        for timer in entry.timers:
            timer.cancel()
        entry.state, entry.healed_at = "healed", self._clock.now()
        log.warning("healed %s: %s", entry.id, entry.fault.as_json())

    def _heal_later(self, entry: Entry) -> None:
        task = asyncio.create_task(self._heal_in_time(entry), name=f"heal {entry.id}")
        self._healing.add(task)
        task.add_done_callback(self._healing.discard)

    async def _heal_in_time(self, entry: Entry) -> None:
        try:
            await self.heal(entry.id)
        except FaultError as error:
            log.warning("%s; tried again in %g s", error, RETRY_SECONDS)
            entry.timers[:] = [asyncio.get_running_loop().call_later(RETRY_SECONDS, self._heal_later, entry)]

    def _active(self) -> list[Entry]:
        return [entry for entry in self._entries.values() if entry.state == "active"]

    def _forget_old(self) -> None:
        over = [entry.id for entry in self._entries.values() if entry.state != "active"]
        for fault_id in over[: max(0, len(over) - MAX_KEPT)]:
            del self._entries[fault_id]

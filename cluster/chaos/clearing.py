"""Takes back whatever a run did, and looks at what is left: faults, cordons, the workload, things on the machines.

    look, before the run ─▶ … ─▶ swept, after convergence ─▶ leave: heal ─▶ uncordon ─▶ remove the workload ─▶ swept

`leave` is done at the end of every run, also of one that broke off; what it could not take back is in `problems`, each
with the command that does. Of a cluster that does not answer any more nothing is waited for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from petset.cluster.chaos.gate import GateClient, GateError
from petset.cluster.chaos.observations import Observations
from petset.cluster.chaos.performing import Performer
from petset.cluster.chaos.steady import LOOK_SECONDS
from petset.cluster.chaos.watching import processes_of
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.errors import ApiError, NotFound

SWEEP_SECONDS = 15.0
"""How long the machines may take to clear away what they are about to."""
REMOVE_SECONDS = 60.0


@dataclass
class Clearing:
    """Of one run."""

    client: Client
    gate: GateClient
    clock: Clock
    seen: Observations
    performer: Performer
    is_over: bool = False
    """Whether everything was tried."""
    problems: list[str] = field(default_factory=list)
    _before: frozenset[str] = frozenset()

    async def look(self) -> None:
        """What lies about already is nobody's here. Raises GateError."""
        self._before = frozenset(_lines(await self.gate.leftovers()))

    async def leave(self) -> None:
        """Heal, take the workload away, and look at what is left. Raises nothing of the cluster's."""
        self.seen.removed_at = self.clock.now()
        is_gone = False
        try:
            await self.gate.heal_all()
        except GateError as error:
            is_gone = error.is_gone
            self.problems.append(f"faults may still act ({error}); `petset chaos heal --all` heals them")
        if not is_gone:
            await self._uncordon()
        await self._remove(REMOVE_SECONDS if not is_gone else 0.0)
        self.seen.leftovers += self.problems
        if self.seen.healed_at and not is_gone:
            found = await self.swept(is_removed=True)
            self.seen.leftovers += [each for each in found if each not in self.seen.leftovers]
        self.is_over = True

    async def _uncordon(self) -> None:
        try:
            await self.performer.uncordon()
        except ApiError as error:
            self.problems.append(f"a node may still be cordoned ({error}); `kubectl uncordon` takes that back")

    async def _remove(self, seconds: float) -> None:
        deadline = self.clock.now() + seconds
        while True:
            try:
                await self.client.delete("Namespace", self.seen.namespace)
                reason = f"not within {seconds:g} s"
            except NotFound:
                return
            except ApiError as error:  # the API server may be on its way back: asked again
                reason = str(error)
            if self.clock.now() >= deadline:
                break
            await asyncio.sleep(LOOK_SECONDS)
        name = self.seen.namespace
        self.problems.append(
            f"namespace {name} was not removed ({reason}); `kubectl delete namespace {name}` removes it"
        )

    async def swept(self, *, is_removed: bool = False) -> list[str]:
        """What is left over on the machines once they had time to clear it away."""
        deadline = self.clock.now() + SWEEP_SECONDS
        while True:
            left = await self._leftovers(is_removed=is_removed)
            if not left or self.clock.now() > deadline:
                return left
            await asyncio.sleep(LOOK_SECONDS)

    async def _leftovers(self, *, is_removed: bool) -> list[str]:
        try:
            found, rows = await self.gate.leftovers(), await self.gate.processes()
        except GateError as error:
            return [f"the machines do not say what is left: {error}"]
        silent = [
            f"{row['component']} does not say what is left: it is {row['state']}"
            for row in rows
            if str(row.get("component", "")).startswith("node-") and row["state"] != "running"
        ]
        self.seen.sweeps += not silent
        running = processes_of(rows, self.seen.namespace) if is_removed else ()
        lines = [each for each in _lines(found) if each not in self._before]
        return silent + lines + [f"process {each.pid} of {each.identity}" for each in running]


def _lines(found: dict[str, list[object]]) -> list[str]:
    return [f"{what}: {thing}" for what, things in found.items() for thing in things]

"""Carries out a run's steps: faults through the gate, deeds as a user; and takes everything back.

A step that cannot be done is kept with its reason. The gate says when each fault began and was healed, also of those
that heal by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from petset.cluster.api.objects import name_of
from petset.cluster.api.times import parse_time
from petset.cluster.chaos.deeds import Done, parse_deed, perform, set_cordon
from petset.cluster.chaos.errors import BadFault
from petset.cluster.chaos.faults import FAULTS
from petset.cluster.chaos.gate import GateClient, GateError
from petset.cluster.chaos.observations import Injected, Observations
from petset.cluster.chaos.schedule import Step
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.errors import ApiError

DEED_SECONDS = 20.0
"""How long a user tries again while the API server does not answer."""


@dataclass
class Performer:
    """Of one run; everything that is done goes into `seen.injected`, in the order in which it began."""

    client: Client
    gate: GateClient
    clock: Clock
    seen: Observations
    _entries: dict[str, int] = field(default_factory=dict)
    """By the gate's id, the place in `seen.injected`."""

    async def do(self, step: Step) -> None:
        """One fault or deed."""
        began_at, number = self.clock.now(), len(self.seen.injected)
        mapping: Mapping[str, Any] = step.mapping
        self.seen.injected.append(Injected(f"step-{number}", mapping, began_at, began_at))
        error, done, fault_id = "", Done(), f"step-{number}"
        try:
            if step.is_late:
                mapping = step.at_its_place(self._node_of(step.pod))
            if "deed" in mapping:
                deed = parse_deed(mapping)
                done = await perform(
                    deed, self.client, self.seen.namespace, now=began_at, patience_seconds=DEED_SECONDS
                )
            else:
                entry = await self.gate.inject(mapping)
                fault_id, began_at = str(entry["id"]), parse_time(entry["injected_at"])
                self._entries[fault_id] = number
        except (BadFault, GateError, ApiError, LookupError) as failure:
            error = str(failure)
        lasts = not error and "fault" in mapping and not FAULTS[mapping["fault"]].instant
        ended_at = math.inf if lasts else max(began_at, self.clock.now())
        self.seen.injected[number] = Injected(
            fault_id, mapping, began_at, ended_at, error=error, forced=done.forced, deleted=done.deleted
        )

    def _node_of(self, pod: str) -> str:
        """Where the newest state of a pod puts it. Raises LookupError while it is nowhere."""
        for change in reversed(self.seen.changes):
            if change.kind != "Pod" or name_of(change.object) != pod:
                continue
            if node := change.object["spec"].get("nodeName"):
                return str(node)
        raise LookupError(f"{pod} is on no node")

    async def heal(self) -> None:
        """Heal whatever still acts, and note when each fault ended. Raises GateError, ApiError."""
        if self._entries:
            await self.gate.heal_all()
            for entry in await self.gate.faults():
                self._note_heal(entry)
        await self.uncordon()

    async def uncordon(self) -> None:
        """Nodes that the run's user cordoned. Raises ApiError."""
        for each in self.seen.injected:
            if each.kind == "cordon" and not each.error:
                await set_cordon(self.client, str(each.description["node"]), cordoned=False)

    def _note_heal(self, entry: Mapping[str, Any]) -> None:
        number = self._entries.get(str(entry["id"]))
        if number is not None and entry["healed_at"]:
            known = self.seen.injected[number]
            healed_at = parse_time(entry["healed_at"])
            self.seen.injected[number] = Injected(known.id, known.description, known.began_at, healed_at)

"""Carries out a run's steps: faults through the gate, deeds as a user; and takes everything back.

A step that cannot be done is kept with its reason. The gate says when each fault began and was healed, also of those
that heal by themselves, and of those that somebody else injected meanwhile: they are part of what befell the cluster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from petset.cluster.api.objects import name_of
from petset.cluster.api.times import parse_time
from petset.cluster.chaos.deeds import Done, parse_deed, perform, persistently, set_cordon
from petset.cluster.chaos.errors import BadFault
from petset.cluster.chaos.faults import FAULTS, FOR_SECONDS
from petset.cluster.chaos.gate import GateClient, GateError
from petset.cluster.chaos.observations import Injected, Observations
from petset.cluster.chaos.schedule import Step
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.errors import ApiError, NotFound

DEED_SECONDS = 20.0
"""How long a user tries again while the API server does not answer."""


@dataclass
class Performer:
    """Of one run; everything that is done goes into `seen.injected`, in the order in which it began."""

    client: Client
    gate: GateClient
    clock: Clock
    seen: Observations
    cordoned_before: frozenset[str] = frozenset()
    """Nodes that are left cordoned: the run found them so."""
    lost: str = ""
    """Why the cluster is not there any more, if a step found that."""
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
                self.seen.injected[number] = replace(self.seen.injected[number], description=mapping)
            if "deed" in mapping:
                done = await perform(
                    parse_deed(mapping),
                    self.client, self.seen.namespace, now=began_at, patience_seconds=DEED_SECONDS,
                )  # fmt: skip
                error = done.error
            else:
                entry = await self.gate.inject(mapping)
                fault_id, began_at = str(entry["id"]), parse_time(entry["injected_at"])
                self._entries[fault_id] = number
        except (BadFault, GateError, ApiError, LookupError) as failure:
            error = str(failure)
            if isinstance(failure, GateError) and failure.is_gone:
                self.lost = error
        ended_at = max(began_at, self.clock.now()) if error or "deed" in mapping else _expected_end(mapping, began_at)
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
        """Heal whatever still acts, and note when each fault ended. Raises GateError, ApiError.

        Always: a fault whose injection was not answered may act all the same.
        """
        await self.gate.heal_all()
        for entry in await self.gate.faults():
            self._note(entry)
        await self.uncordon()

    async def uncordon(self) -> None:
        """Nodes that the run's user cordoned, or may have. Raises the last ApiError, after trying all."""
        named = {str(each.description.get("node")) for each in self.seen.injected if each.kind == "cordon"}
        failure: ApiError | None = None
        for node in sorted(named - self.cordoned_before):
            try:
                await persistently(partial(set_cordon, self.client, node, cordoned=False), DEED_SECONDS)
            except NotFound:
                continue
            except ApiError as error:
                failure = error
        if failure is not None:
            raise failure

    def _note(self, entry: Mapping[str, Any]) -> None:
        """When a fault of this run ended, or what somebody else did in its time."""
        number, began_at = self._entries.get(str(entry["id"])), parse_time(entry["injected_at"])
        ended_at = parse_time(entry["healed_at"]) if entry["healed_at"] else None
        if number is not None:
            known = self.seen.injected[number]
            self.seen.injected[number] = replace(known, ended_at=ended_at or known.ended_at)
        elif began_at >= self.seen.began_at:
            ended_at = ended_at or _expected_end(entry["fault"], began_at)
            self.seen.injected.append(Injected(str(entry["id"]), entry["fault"], began_at, ended_at))


def _expected_end(fault: Mapping[str, Any], began_at: float) -> float:
    """Until the gate says when it was."""
    if FAULTS[fault["fault"]].instant:
        return began_at
    return began_at + float(fault.get(FOR_SECONDS.name) or math.inf)

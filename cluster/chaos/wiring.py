"""Who holds which cable unplugged and which packets back, so that faults may overlap.

    fault f1 ── unplug node 1 ──┐                      f1 heals ── f2 still holds ── f2 heals ── plugged in
    fault f2 ── power-off  ─────┴─▶ unplugged once

A rule about packets is held by one fault at a time: two of a kind between the same ends cannot both be in force, so the
second is refused with the first one's name. The work itself blocks (network/faults.py) and is done one piece at a time,
by whoever `run` hands it to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from petset.cluster.chaos.errors import CannotHere

if TYPE_CHECKING:  # pyroute2 is loaded by the first network fault
    from petset.cluster.network.faults import Faults

Work = Callable[["Faults"], None]
RunOnNetwork = Callable[[Work], Awaitable[None]]


Ends = tuple[str, ...]
"""Addresses and ranges."""


@dataclass(frozen=True)
class Rule:
    """What is done to the packets from some addresses to others, one way, and how it is taken back."""

    kind: str
    source: Ends
    destination: Ends
    apply: Work = field(compare=False)
    undo: Work = field(compare=False)


async def no_namespaces(work: Work) -> None:
    """`run` of a cluster on the loopback network."""
    raise CannotHere(
        "this cluster is on the loopback network, whose packets cannot be held back; `petset doctor` says what this"
        " machine allows, `petset up --network namespaces` uses it"
    )


class Wiring:
    """The cables and packet rules of one cluster."""

    def __init__(self, run: RunOnNetwork) -> None:
        self._run = run
        self._turn = asyncio.Lock()
        self._unplugged: dict[int, set[str]] = {}
        self._rules: dict[Rule, str] = {}

    async def unplug(self, number: int, fault_id: str) -> None:
        """Unplug node N. Raises CannotHere."""
        async with self._turn:
            holders = self._unplugged.setdefault(number, set())
            if not holders:
                await self._do(lambda faults: faults.cut_node(number))
            holders.add(fault_id)

    async def plug_in(self, number: int, fault_id: str) -> None:
        """The fault lets go of node N's cable."""
        async with self._turn:
            holders = self._unplugged.get(number, set())
            if holders == {fault_id}:
                await self._do(lambda faults: faults.heal_node(number))
            holders.discard(fault_id)

    async def impose(self, rules: Sequence[Rule], fault_id: str) -> None:
        """All rules, or none. Raises CannotHere."""
        async with self._turn:
            for rule in rules:
                if holder := self._rules.get(rule):
                    raise CannotHere(f"fault {holder} does the same between these ends; heal it first")
            await self._do(lambda faults: _apply_all(faults, rules))
            self._rules |= dict.fromkeys(rules, fault_id)

    async def lift(self, rules: Sequence[Rule]) -> None:
        """Take rules back."""
        async with self._turn:
            await self._do(lambda faults: _undo_all(faults, rules))
            for rule in rules:
                self._rules.pop(rule, None)

    async def _do(self, work: Work) -> None:
        try:
            await self._run(work)
        except (OSError, ValueError, LookupError) as error:
            raise CannotHere(f"the network cannot: {error}") from error


def _apply_all(faults: Faults, rules: Sequence[Rule]) -> None:
    done: list[Rule] = []
    try:
        for rule in rules:
            done.append(rule)
            rule.apply(faults)
    except BaseException:
        _undo_all(faults, done)
        raise


def _undo_all(faults: Faults, rules: Sequence[Rule]) -> None:
    for rule in rules:
        rule.undo(faults)

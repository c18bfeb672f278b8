"""Looks whether a running cluster is whole, and waits for it: nodes, the workload's sets and services, DNS, answers.

What whole means of objects is settled.py's; here they are listed, every target is asked, and a pod asks the DNS.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from petset.cluster.api.objects import Object
from petset.cluster.chaos.observations import NameAnswer
from petset.cluster.chaos.oracles.services import wanted_names
from petset.cluster.chaos.settled import unsettled_nodes, unsettled_workload
from petset.cluster.chaos.workload import Load, targets_of
from petset.cluster.clock import Clock
from petset.cluster.control.client import Client
from petset.cluster.errors import ApiError

LOOK_SECONDS = 0.3
LISTED = ("StatefulSet", "Pod", "PersistentVolumeClaim", "Service", "EndpointSlice")


@dataclass
class Steadiness:
    """Of one workload's namespace; `seen` and `names` are the objects of the last look, and what DNS answered then."""

    client: Client
    clock: Clock
    load: Load
    namespace: str
    seen: list[Object] = field(default_factory=list)
    names: list[NameAnswer] = field(default_factory=list)

    async def objects(self) -> list[Object]:
        """The workload's objects, each with its kind. Raises ApiError."""
        listings = [await self.client.list(kind, self.namespace) for kind in LISTED]
        return [{**obj, "kind": kind} for kind, listing in zip(LISTED, listings, strict=True) for obj in listing.items]

    async def nodes_within(self, seconds: float) -> list[str]:
        """Wait until every node is Ready; what is missing after that time. Raises ApiError."""
        deadline = self.clock.now() + seconds
        while True:
            missing = list(unsettled_nodes((await self.client.list("Node")).items))
            if not missing or self.clock.now() > deadline:
                return missing
            await asyncio.sleep(LOOK_SECONDS)

    async def within(self, seconds: float) -> list[str]:
        """Wait until nothing is missing; what still is after that time."""
        deadline = self.clock.now() + seconds
        while True:
            missing = await self._missing()
            if not missing or self.clock.now() > deadline:
                return missing
            await asyncio.sleep(LOOK_SECONDS)

    async def _missing(self) -> list[str]:
        self.seen, self.names = [], []
        try:
            nodes = (await self.client.list("Node")).items
            self.seen = objects = await self.objects()
        except ApiError as error:
            return [str(error)]
        missing = [*unsettled_nodes(nodes), *unsettled_workload(objects)]
        return missing or await self._unanswered(objects) or await self._wrong_names(objects)

    async def _unanswered(self, objects: list[Object]) -> list[str]:
        """Targets that are shown as ready, and do not answer."""
        targets = targets_of(objects)
        answers = await asyncio.gather(*(self.load.answers(target) for target in targets))
        return [f"{target.name} does not answer" for target, ok in zip(targets, answers, strict=True) if not ok]

    async def _wrong_names(self, objects: list[Object]) -> list[str]:
        journals = [each for each in targets_of(objects) if each.is_journal and not each.is_service]
        if not journals:
            return []
        wanted = wanted_names(objects)
        self.names = await self.load.look_up(journals[0], wanted)
        return [
            f"DNS answers {', '.join(each.addresses) or each.error or 'nothing'} for {each.name}"
            for each in self.names
            if each.addresses != wanted[each.name]
        ]

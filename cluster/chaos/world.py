"""What faults are done to: the running cluster as the process sees it that keeps its actors alive.

`actors/fault_world.py` implements `World` over the supervisor's actors; the API server is no part of it, so that a
cluster whose API server is frozen or stopped can still be healed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from petset.cluster.api.cri import SandboxStatus
from petset.cluster.chaos.wiring import Wiring
from petset.cluster.network.addresses import AddressPlan


class Component(Protocol):
    """A part of the cluster that is made again when it dies, unless it is held down; most are a process of their own.

    `reason` is the fault's id. Methods raise CannotHere while it is not up, where nothing else is said.
    """

    @property
    def name(self) -> str: ...

    @property
    def process_id(self) -> int:
        """The living process, 0 between two lives."""

    @property
    def has_process(self) -> bool:
        """Whether the process is its own."""

    async def kill(self) -> None:
        """End it now (SIGKILL)."""

    async def freeze(self, reason: str) -> None:
        """Stop it where it stands (SIGSTOP). Raises CannotHere also when it is frozen already."""

    async def thaw(self, reason: str) -> None:
        """Let it go on, if it still lives; no error otherwise."""

    async def hold_down(self, reason: str) -> None:
        """End it, if it is up, and do not make it again while any reason holds."""

    async def let_up(self, reason: str) -> None:
        """Take a reason back; without any it is made again. Unknown reasons are no error."""

    async def order(self, key: str, method: str, *arguments: Any) -> Any:
        """Call a method of it now, if it is up, and at the start of each later life, before it serves; its answer."""

    async def recall(self, key: str, method: str, *arguments: Any) -> None:
        """End a standing order, and call a method that undoes it."""

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of it. Raises CannotHere when it does not answer in time."""


class World(Protocol):
    """One running cluster."""

    @property
    def addresses(self) -> AddressPlan: ...

    @property
    def has_namespaces(self) -> bool: ...

    @property
    def components(self) -> Mapping[str, Component]:
        """By name: api-server, controller, dns, node-1, kubelet-1, …, and ray-node-2, … where there are any."""

    @property
    def node_names(self) -> Sequence[str]: ...

    def machines(self, component: str) -> Sequence[str]:
        """The nodes whose machine a component is, or holds: node-1 is its own, a Ray node may hold several."""

    async def sandboxes(self, node: str) -> Sequence[SandboxStatus]:
        """What is on a machine, by its own word; of one that does not answer (frozen), what it said last."""

    async def volume_of(self, namespace: str, claim: str) -> str:
        """The unique name of the volume behind a claim, as the API server knows it: the one question it is asked.

        Raises NoSuchTarget when there is none, CannotHere when nobody answers.
        """

    @property
    def wiring(self) -> Wiring:
        """The cluster's cables and packet rules."""

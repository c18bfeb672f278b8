"""What a run speaks to, beside a cluster in virtual time: a gate that keeps what was asked of it, and proxied pods."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from petset.cluster.api.times import format_micro_time
from petset.cluster.chaos.gate import GateError
from petset.cluster.clock import LoopClock
from petset.cluster.errors import ApiError, Unavailable
from tests.local import Local


@dataclass
class Gate:
    """Answers like an idle cluster's gate. `refusal` is its answer to everything, `lost` to injections that act."""

    active: list[dict[str, Any]] = field(default_factory=list)
    injected: list[Any] = field(default_factory=list)
    refusal: GateError | None = None
    lost: GateError | None = None
    heal_seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    left: dict[str, list[Any]] = field(default_factory=dict)
    healed: int = 0

    async def faults(self) -> list[dict[str, Any]]:
        self._answer()
        return self.active

    async def processes(self) -> list[dict[str, Any]]:
        self._answer()
        return self.rows

    async def leftovers(self) -> dict[str, list[Any]]:
        self._answer()
        return self.left

    async def inject(self, fault: Any) -> dict[str, Any]:
        self._answer()
        self.injected.append(fault)
        number, now = len(self.active) + 1, format_micro_time(LoopClock().now())
        entry = {"id": f"f{number}", "fault": fault, "injected_at": now, "healed_at": None, "state": "active"}
        self.active.append(entry)
        if self.lost:
            raise self.lost
        return entry

    async def heal_all(self) -> list[dict[str, Any]]:
        self._answer()
        await asyncio.sleep(self.heal_seconds)
        self.healed += 1
        healed = [entry for entry in self.active if entry["state"] == "active"]
        for entry in healed:
            entry |= {"healed_at": format_micro_time(LoopClock().now()), "state": "healed"}
        return healed

    def _answer(self) -> None:
        if self.refusal:
            raise self.refusal


class Client:
    """The cluster's client. `answers`: whether anybody does behind the proxies; `error` answers every patch."""

    def __init__(self, local: Local, *, answers: bool = False) -> None:
        self._client = local.client
        self._answers = answers
        self.error: ApiError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def patch(self, kind: str, name: str, namespace: str = "", *, body: Any) -> Any:
        if self.error:
            raise self.error
        return await self._client.patch(kind, name, namespace, body=body)

    async def request_raw(self, method: str, path: str, *, body: bytes | None = None) -> bytes:
        if not self._answers:
            raise Unavailable(f"{method} {path}: nobody is there")
        return b""

"""The fault gate of a real cluster, for tests that are no coroutines; and processes as they look from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from petset.cluster.chaos.gate import GateClient
from tests.on_ray.driver import RealCluster

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Gate:
    """Faults of one cluster. Fields whose names are Python's words get an underscore: `from_`."""

    cluster: RealCluster

    def inject(self, fault: str, **fields: Any) -> str:
        """The fault's id."""
        mapping = {"fault": fault, **{name.rstrip("_"): value for name, value in fields.items()}}
        return str(self.ask(lambda gate: gate.inject(mapping))["id"])

    @contextmanager
    def injected(self, fault: str, **fields: Any) -> Iterator[str]:
        """Healed at the end of the block."""
        fault_id = self.inject(fault, **fields)
        try:
            yield fault_id
        finally:
            self.ask(lambda gate: gate.heal(fault_id))

    def containers(self, pod: str) -> list[dict[str, Any]]:
        """The rows of a pod's containers, by the word of the machines."""
        return [row for row in self.ask(lambda gate: gate.processes()) if row.get("pod") == pod]

    def component(self, name: str) -> dict[str, Any]:
        [row] = [row for row in self.ask(lambda gate: gate.processes()) if row.get("component") == name]
        return row

    def ask(self, question: Callable[[GateClient], Awaitable[_Answer]]) -> _Answer:
        async def run() -> _Answer:
            async with GateClient(self.cluster.folder.read_settings()) as gate:
                return await question(gate)

        return asyncio.run(run())

    def outside(self, row: dict[str, Any]) -> psutil.Process:
        """The process of a row, which the cluster may know by another number: that of its own PID namespace."""
        level = 1 if self.cluster.folder.read_settings().has_namespaces else 0
        for process in self.cluster.processes():
            numbers = _numbers(process.pid)
            if len(numbers) > level and numbers[level] == row["pid"]:
                return process
        raise AssertionError(f"no process of {row}")


def _numbers(pid: int) -> list[int]:
    """A process's ids, from the outermost PID namespace to its own."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return []
    return next([int(each) for each in line.split()[1:]] for line in lines if line.startswith("NSpid:"))

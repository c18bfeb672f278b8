"""The client of a running cluster's fault gate: what `petset chaos` and experiments speak through.

    async with GateClient(settings) as gate:
        entry = await gate.inject({"fault": "freeze-pod", "pod": "kubia-1"})
        ...
        await gate.heal(entry["id"])

The gate is HTTP on a Unix socket that only the cluster's owner reaches, served by the supervisor (gate_server.py has
the routes); it needs no API server, so that a cluster can be healed whatever state that is in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from petset.cluster.chaos.faults import Fault
from petset.cluster.settings import ClusterSettings

SOCKET_NAME = "control.sock"
ANSWER_SECONDS = 60.0

Entry = dict[str, Any]
"""{"id", "fault": {…}, "injected_at", "healed_at": time or None, "state": "active" | "done" | "healed"}"""


class GateError(Exception):
    """The gate refused or did not answer. `status` is the HTTP status: 400 a bad fault, 404 no such target,
    409 cannot be done here or now, 500 a heal that failed, 504 no answer in time, 0 nobody is there."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.status = status

    @property
    def is_gone(self) -> bool:
        """Whether the cluster is not there, or not any more."""
        return self.status == 0


def gate_socket(settings: ClusterSettings) -> Path:
    """Where the gate is, in the run folder: a socket's path must be short."""
    return Path(settings.run_folder) / SOCKET_NAME


class GateClient:
    """`async with`; every method raises GateError."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._name = settings.name
        self._socket = gate_socket(settings)
        self._open: list[aiohttp.ClientSession] = []

    async def __aenter__(self) -> Self:
        connector = aiohttp.UnixConnector(str(self._socket))
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        self._open.append(aiohttp.ClientSession("http://gate", connector=connector, timeout=timeout))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            await self._open.pop().close()

    async def inject(self, fault: Fault | Mapping[str, Any]) -> Entry:
        """Inject a fault; answers when it acts."""
        body = fault.as_json() if isinstance(fault, Fault) else dict(fault)
        entry: Entry = await self._ask("POST", "/faults", body)
        return entry

    async def heal(self, fault_id: str) -> Entry:
        """Heal one fault; one that is healed already is answered as it is."""
        entry: Entry = await self._ask("DELETE", f"/faults/{fault_id}")
        return entry

    async def heal_all(self) -> list[Entry]:
        """Heal every active fault, newest first; those that were healed."""
        entries: list[Entry] = await self._ask("DELETE", "/faults")
        return entries

    async def faults(self) -> list[Entry]:
        """Every fault of this run of the cluster, oldest first."""
        entries: list[Entry] = await self._ask("GET", "/faults")
        return entries

    async def processes(self) -> list[dict[str, Any]]:
        """The first process of every container that runs, by the word of the machines, and of every component.

        {"pid", "namespace", "pod", "uid", "node", "container", "container_id", "started_at", "state"} and
        {"component", "pid", "state"}; state is "running" or "frozen", of components also "down" (pid 0).
        """
        rows: list[dict[str, Any]] = await self._ask("GET", "/processes")
        return rows

    async def leftovers(self) -> dict[str, list[Any]]:
        """What is on the machines and belongs to no pod that they know: "processes", "namespaces", "folders"."""
        found: dict[str, list[Any]] = await self._ask("GET", "/leftovers")
        return found

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            async with self._open[-1].request(method, path, json=body) as response:
                answer = await response.json()
        except TimeoutError as error:
            raise GateError(f"cluster {self._name} did not answer within {ANSWER_SECONDS:g} s", 504) from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise GateError(f"cluster {self._name} does not answer; is it running? (`petset ls` says)") from error
        except (aiohttp.ClientError, ValueError) as error:
            what = " ".join(str(error).split()) or type(error).__name__
            raise GateError(f"cluster {self._name} did not answer this: {what}", 500) from error
        if response.status >= 400:
            raise GateError(str(answer.get("message", response.reason)), response.status)
        return answer

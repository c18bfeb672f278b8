"""The load of an experiment: writers and probes, through each pod and through the services, and the readers at the end.

    writer  ── POST /entries ──▶ pods/journal-0:8080/proxy        one entry after the other, each waiting for its answer
            ── POST /entries ──▶ services/journal-public:80/proxy
    probe   ── GET / ──────────▶ the same targets                  did it answer within PROBE_SECONDS?

Everything goes through the API server, as any client outside of the cluster would: while it is away, nobody is served,
and the availability says so. Writers and readers speak to pods of the image petset/journal (petapp/journal.py); other
workloads are probed only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Literal
from urllib.parse import quote

import orjson

from petset.cluster.api.objects import Object, name_of
from petset.cluster.chaos.observations import Journal, NameAnswer, Observations, Probe, Write
from petset.cluster.chaos.oracles.services import ready_pods
from petset.cluster.clock import Clock
from petset.cluster.control.http_client import HttpClient
from petset.cluster.errors import ApiError

JOURNAL_IMAGE = "petset/journal"
WRITE_SECONDS = 5.0
PROBE_SECONDS = 1.0
READ_SECONDS = 10.0
READ_TRIES = 4


@dataclass(frozen=True)
class Target:
    """Somebody who answers HTTP: a pod by its name, or `service/NAME`."""

    name: str
    path: str
    is_journal: bool

    @property
    def is_service(self) -> bool:
        return self.name.startswith("service/")


def targets_of(objects: list[Object]) -> list[Target]:
    """Every pod with a port, and every service with an address of its own that has pods."""
    pods = [obj for obj in objects if obj["kind"] == "Pod" and _port(obj)]
    found = [Target(name_of(pod), _path(pod, "pods", _port(pod)), _is_journal(pod)) for pod in pods]
    for service in objects:
        if service["kind"] != "Service" or service["spec"].get("clusterIP") == "None":
            continue
        behind = ready_pods(service, objects)
        if behind and service["spec"].get("ports"):
            path = _path(service, "services", service["spec"]["ports"][0]["port"])
            found.append(Target(f"service/{name_of(service)}", path, all(map(_is_journal, behind))))
    return found


def _path(obj: Object, plural: str, port: int) -> str:
    return f"/api/v1/namespaces/{obj['metadata']['namespace']}/{plural}/{name_of(obj)}:{port}/proxy"


def _port(pod: Object) -> int:
    ports = pod["spec"]["containers"][0].get("ports") or ()
    return int(ports[0]["containerPort"]) if ports else 0


def _is_journal(pod: Object) -> bool:
    image = str(pod["spec"]["containers"][0]["image"])
    return image.partition(":")[0] == JOURNAL_IMAGE


@dataclass(frozen=True)
class Load:
    """Drives the targets and keeps what came of it."""

    client: HttpClient
    clock: Clock
    seen: Observations

    async def write(self, target: Target, per_second: float) -> None:
        """Send entries, until cancelled."""
        for number in count(1):
            began_at = self.clock.now()
            await self._write(target, f"{target.name}:{number}")
            await asyncio.sleep(max(0.0, began_at + 1 / per_second - self.clock.now()))

    async def _write(self, target: Target, entry: str) -> None:
        began_at, outcome, by = self.clock.now(), _UNKNOWN, ""
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                answer = await self.client.request_raw("POST", f"{target.path}/entries", body=entry.encode())
            by = str(orjson.loads(answer)["pod"])
            outcome = _ACKNOWLEDGED
        except ApiError as error:
            outcome = _REFUSED if error.definite else _UNKNOWN
        except (TimeoutError, ValueError, LookupError, TypeError):
            outcome = _UNKNOWN  # also an answer that is not a journal's
        finally:  # a write that is cancelled has happened or not, like any other without an answer
            self.seen.writes.append(Write(entry, target.name, began_at, self.clock.now(), outcome, by))

    async def probe(self, target: Target, per_second: float) -> None:
        """Ask whether it is there, until cancelled."""
        while True:
            began_at = self.clock.now()
            answered = await self.answers(target)
            now = self.clock.now()
            self.seen.probes.append(Probe(began_at, target.name, answered, now - began_at))
            await asyncio.sleep(max(0.0, began_at + 1 / per_second - now))

    async def answers(self, target: Target) -> bool:
        """Whether it does, within PROBE_SECONDS."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self.client.request_raw("GET", f"{target.path}/")
        except (ApiError, TimeoutError):
            return False
        return True

    async def read(self, targets: Iterable[Target]) -> list[Journal]:
        """Every journal as it is now."""
        pods = [target for target in targets if target.is_journal and not target.is_service]
        return [await self._journal(target) for target in pods]

    async def _journal(self, target: Target) -> Journal:
        """Asked again if need be: one lost answer is no lost write."""
        journal = await self._read(target)
        for _ in range(READ_TRIES - 1):
            if journal.error:
                await asyncio.sleep(1.0)
                journal = await self._read(target)
        return journal

    async def _read(self, target: Target) -> Journal:
        try:
            async with asyncio.timeout(READ_SECONDS):
                answer = await self.client.request_raw("GET", f"{target.path}/entries")
        except (ApiError, TimeoutError) as error:
            return Journal(target.name, self.clock.now(), error=str(error) or "no answer")
        return Journal(target.name, self.clock.now(), tuple(answer.decode(errors="replace").split("\n")[:-1]))

    async def look_up(self, target: Target, names: Iterable[str]) -> list[NameAnswer]:
        """What the DNS answers to this pod now."""
        return [await self._name(target, name) for name in names]

    async def _name(self, target: Target, name: str) -> NameAnswer:
        try:
            async with asyncio.timeout(READ_SECONDS):
                answer = await self.client.request_raw("GET", f"{target.path}/lookup?name={quote(name)}")
        except (ApiError, TimeoutError) as error:
            return NameAnswer(name, (), error=str(error).strip() or "no answer")
        try:
            return NameAnswer(name, tuple(map(str, orjson.loads(answer))))
        except (ValueError, TypeError):
            return NameAnswer(name, (), error=f"something else: {answer[:80]!r}")


_Outcome = Literal["acknowledged", "refused", "unknown"]
_ACKNOWLEDGED: _Outcome = "acknowledged"
_REFUSED: _Outcome = "refused"
_UNKNOWN: _Outcome = "unknown"

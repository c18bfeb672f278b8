"""Asks all members of a headless service for their data: SRV lookup, then HTTP to each target.

    SRV kubia.default.svc.cluster.local ──► targets + addresses ──► GET http://target:port/data, all at once
                                                                        │
           - kubia-0.kubia.default.svc.cluster.local: nice!  ◄──────────┤
           - kubia-1.kubia.default.svc.cluster.local: Error: no answer within 1 s

Each peer has PEER_SECONDS for connecting and answering, PEERS_AT_ONCE are asked at a time, a peer's data is at most
MAX_BYTES; a peer that fails costs its own line only. The lookup has LOOKUP_SECONDS as a whole. The number of peers is
bounded by what one DNS answer holds (64 KiB, about 800), the answer by that many times MAX_BYTES. Every request looks
up and connects anew: a replaced pod is never asked by its predecessor's address or connection.

Connections go to the addresses of the SRV answer, the Host header carries the target's name. The peers are expected on
one port, their own well-known one, as the book's application does; the port in the SRV record (a headless service's
targetPort) plays no part.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from petset.petapp.resolver import ServiceRecord
from petset.petapp.storage import MAX_BYTES

LOOKUP_SECONDS = 5.0
PEER_SECONDS = 1.0
PEERS_AT_ONCE = 256
"""More than the peers of any usual cluster, so that all slow ones together cost one timeout."""

Fetch = Callable[[str], Awaitable[bytes]]
"""From a peer's host name to its data. Raises PeerFailure, OSError, TimeoutError or aiohttp.ClientError."""


class PeerFailure(Exception):
    """A peer that answered, but not with its data; the message says what it did."""


class NameService(Protocol):
    """What this module needs of a resolver; both raise LookupFailure (an OSError)."""

    async def services(self, name: str) -> list[ServiceRecord]: ...

    async def addresses(self, name: str) -> list[str]: ...


async def cluster_lines(
    name_service: NameService, service: str, port: int, *, timeout_seconds: float = PEER_SECONDS
) -> list[bytes]:
    """One line per member of the service, sorted by host name. Raises OSError when the members are not to be found."""
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            records = await name_service.services(service)
    except TimeoutError as error:
        raise OSError(f"no answer from the cluster DNS within {LOOKUP_SECONDS:g} s") from error
    known = _addresses_by_target(records)
    async with peer_fetcher(_PeerAddresses(known, name_service), port) as fetch:
        return await ask_peers(known, fetch, timeout_seconds=timeout_seconds)


async def ask_peers(
    hosts: Iterable[str],
    fetch: Fetch,
    *,
    timeout_seconds: float = PEER_SECONDS,
    at_once: int = PEERS_AT_ONCE,
) -> list[bytes]:
    """Fetch from all hosts concurrently; one line each, sorted by host name. A peer's failure is its line."""
    slots = asyncio.Semaphore(at_once)

    async def line(host: str) -> bytes:
        async with slots:
            return f"- {host}: ".encode() + await _data_or_error(host, fetch, timeout_seconds) + b"\n"

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(line(host), name=f"ask {host}") for host in sorted(hosts)]
    return [task.result() for task in tasks]


async def _data_or_error(host: str, fetch: Fetch, timeout_seconds: float) -> bytes:
    try:
        async with asyncio.timeout(timeout_seconds):
            return await fetch(host)
    except TimeoutError:
        words = f"no answer within {timeout_seconds:g} s"
    except aiohttp.ClientConnectorError as error:
        words = _in_words(error.os_error)
    except OSError as error:
        words = _in_words(error)
    except (aiohttp.ClientError, PeerFailure) as error:
        words = str(error) or type(error).__name__
    return f"Error: {words}".encode()


def _in_words(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


@asynccontextmanager
async def peer_fetcher(resolver: AbstractResolver, port: int) -> AsyncIterator[Fetch]:
    """A function that gets `/data` from a host, for one round: its connections end with the block."""
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def fetch(host: str) -> bytes:
            async with session.get(f"http://{host}:{port}/data", allow_redirects=False) as response:
                if response.status != 200:
                    raise PeerFailure(f"answered {response.status} {response.reason}")
                return await _bounded_body(response)

        yield fetch


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            raise PeerFailure(f"answered more than {MAX_BYTES} bytes")
    return bytes(body)


def _addresses_by_target(records: Iterable[ServiceRecord]) -> dict[str, tuple[str, ...]]:
    """Each target once, though it has a record per port."""
    return {record.target: record.addresses for record in records}


class _PeerAddresses(AbstractResolver):
    """aiohttp's view of the SRV answer; a target whose address did not come along is looked up when it is asked."""

    def __init__(self, known: Mapping[str, tuple[str, ...]], name_service: NameService) -> None:
        self._known = known
        self._name_service = name_service

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = self._known.get(host) or await self._name_service.addresses(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""

"""A guest's resolver: resolv.conf, the search list, and SRV lookups, as resolv.conf(5) and glibc do them.

    nameserver 10.96.0.10                      at most 3, asked in this order
    search default.svc.cluster.local svc.cluster.local cluster.local
    options ndots:5 timeout:5 attempts:2
    port 5353                                  not in Linux' resolv.conf (BSD has it): for a DNS that cannot own port 53

A name with fewer dots than `ndots` and no final dot runs through the search list before it is tried as it is; one with
enough dots is tried as it is first. The next candidate is tried after "no such name", "no such record" and SERVFAIL;
silence or a refused connection ends the lookup, since the next candidate would meet the same. Within one candidate,
each server is asked in turn, `attempts` times round.

What it leaves out: caches (each lookup asks the cluster, so a guest sees its peers as they are), /etc/hosts, and
IPv6 lookups (IPv6 addresses in an SRV answer's ADDITIONAL section are used).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

from dnslib import QTYPE, RCODE, DNSLabel, DNSRecord

from petset.petapp.dns_exchange import LookupFailure, Question, Server, exchange

MAX_NAMESERVERS = 3
MAX_SEARCH_DOMAINS = 32
MAX_ALIASES = 8
_LARGEST = {"ndots": 15, "timeout": 30, "attempts": 5}
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")


@dataclass(frozen=True)
class ResolvConf:
    """A resolver's configuration, with resolv.conf(5)'s defaults."""

    nameservers: tuple[str, ...] = ("127.0.0.1",)
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout_seconds: float = 5
    attempts: int = 2
    port: int = 53

    def candidates(self, name: str) -> list[str]:
        """The absolute names to try for `name`, in order."""
        if name.endswith("."):
            return [name]
        searched = [f"{name}.{domain}." for domain in self.search]
        if name.count(".") >= self.ndots:
            return [f"{name}.", *searched]
        return [*searched, f"{name}."]


@dataclass(frozen=True)
class ServiceRecord:
    """One SRV record: `target` without its final dot, `addresses` as far as the answer brought them along."""

    target: str
    port: int
    priority: int
    weight: int
    addresses: tuple[str, ...]


def parse_resolv_conf(text: str) -> ResolvConf:
    """The configuration in a resolv.conf; what cannot be understood is skipped, as glibc does."""
    nameservers: list[str] = []
    search: list[str] = []
    options: dict[str, int] = {}
    port = 53
    for line in text.splitlines():
        keyword, *values = line.split() or [""]
        if keyword == "nameserver" and values and _is_address(values[0]):
            nameservers.append(values[0])
        elif keyword in ("search", "domain"):
            search = [domain.strip(".") for domain in values if domain.strip(".")]
        elif keyword == "options":
            options |= _parse_options(values)
        elif keyword == "port" and values and values[0].isdecimal() and 0 < int(values[0]) <= 65535:
            port = int(values[0])
    return ResolvConf(
        nameservers=tuple(nameservers[:MAX_NAMESERVERS]) or ("127.0.0.1",),
        search=tuple(search[:MAX_SEARCH_DOMAINS]),
        ndots=options.get("ndots", 1),
        timeout_seconds=max(1, options.get("timeout", 5)),
        attempts=max(1, options.get("attempts", 2)),
        port=port,
    )


def read_resolv_conf(path: Path) -> ResolvConf:
    """Raises LookupFailure when there is no readable file."""
    try:
        return parse_resolv_conf(path.read_text(errors="replace"))
    except OSError as error:
        raise LookupFailure(f"cannot read {path}: {error.strerror or error}") from error


def _parse_options(values: list[str]) -> dict[str, int]:
    pairs = (value.partition(":") for value in values)
    return {
        name: min(int(number), _LARGEST[name]) for name, _, number in pairs if name in _LARGEST and number.isdecimal()
    }


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class Resolver:
    """Lookups by one configuration; `chance` draws the ids, which should be hard to guess (random.SystemRandom)."""

    def __init__(self, conf: ResolvConf, chance: Random) -> None:
        self._conf = conf
        self._chance = chance

    async def services(self, name: str) -> list[ServiceRecord]:
        """The SRV records of a name, at least one, in the answer's order.

        Targets that are no host names are left out, "." (no such service, RFC 2782) among them. Raises LookupFailure.
        """
        failures: list[LookupFailure] = []
        for candidate in self._conf.candidates(name):
            try:
                return _service_records(await self._ask(candidate, "SRV"), candidate)
            except (_NoSuchRecord, _NoSuchName, _ServerFailure) as failure:
                failures.append(failure)
        raise _worst(failures, name)

    async def addresses(self, name: str) -> list[str]:
        """The IPv4 addresses of an absolute name (with or without its final dot). Raises LookupFailure."""
        absolute = name.rstrip(".") + "."
        rows = _rows(await self._ask(absolute, "A"), DNSLabel(absolute), "A")
        if not rows:
            raise _NoSuchRecord(f"{name} has no addresses")
        return [str(row) for row in rows]

    async def _ask(self, name: str, kind: str) -> DNSRecord:
        """The answer for an absolute name. Raises LookupFailure: _NoSuchName, _ServerFailure, or nobody answered."""
        failure = LookupFailure("there is no server to ask")
        for _ in range(self._conf.attempts):
            for address in self._conf.nameservers:
                server = Server(address, self._conf.port, self._conf.timeout_seconds)
                try:
                    answer = await exchange(Question(name, kind, self._chance.randrange(65536)), server)
                except LookupFailure as unanswered:
                    failure = unanswered
                    continue
                if answer.header.rcode == RCODE.NOERROR:
                    return answer
                if answer.header.rcode == RCODE.NXDOMAIN:
                    raise _NoSuchName(f"{name.rstrip('.')}: no such name")
                failure = _ServerFailure(f"{address} answered {RCODE.get(answer.header.rcode)} for {name.rstrip('.')}")
        raise failure


class _NoSuchRecord(LookupFailure):
    """The name exists, without a record of the wanted type."""


class _NoSuchName(LookupFailure):
    """NXDOMAIN."""


class _ServerFailure(LookupFailure):
    """SERVFAIL, REFUSED and the like from every server: the answer may exist."""


def _worst(failures: list[LookupFailure], name: str) -> LookupFailure:
    """What to tell of several failed candidates: a name without the record, then a failing server, then no name."""
    for kind in (_NoSuchRecord, _ServerFailure):
        if found := next((failure for failure in failures if isinstance(failure, kind)), None):
            return found
    return _NoSuchName(f"{name.rstrip('.')}: no such name")


def _service_records(answer: DNSRecord, name: str) -> list[ServiceRecord]:
    records = [
        ServiceRecord(
            target=_plain(row.target),
            port=row.port,
            priority=row.priority,
            weight=row.weight,
            addresses=tuple(str(rr.rdata) for rr in answer.ar if rr.rname == row.target and _is_address_type(rr.rtype)),
        )
        for row in _rows(answer, DNSLabel(name), "SRV")
        if _HOST_NAME.fullmatch(_plain(row.target))
    ]
    if not records:
        raise _NoSuchRecord(f"{_plain(DNSLabel(name))} has no SRV records")
    return records


def _rows(answer: DNSRecord, owner: DNSLabel, kind: str) -> list[Any]:
    """The data of the records of a type that `owner` has in the ANSWER section, followed through its aliases."""
    for _ in range(MAX_ALIASES):
        mine = [rr for rr in answer.rr if rr.rname == owner]
        found = [rr.rdata for rr in mine if QTYPE.get(rr.rtype) == kind]
        alias = next((rr.rdata.label for rr in mine if rr.rtype == QTYPE.CNAME), None)
        if found or alias is None:
            return found
        owner = alias
    return []


def _is_address_type(number: int) -> bool:
    return number in (QTYPE.A, QTYPE.AAAA)


def _plain(label: DNSLabel) -> str:
    return str(label).rstrip(".")
